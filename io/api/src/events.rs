//! Events as objects of the API server, the way client-go's recorder writes them (CONTRACT 4.10).

use async_trait::async_trait;
use core_types::EventRecord;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::{ApiError, ApiResult, EventSink, EventSinkError};
use serde_json::{Value, json};

use crate::client::{ApiClient, Patch};
use crate::path::ObjectPath;

/// Who reports.
const COMPONENT: &str = "kubelet";
/// Namespace of events of what has none.
const DEFAULT_NAMESPACE: &str = "default";

/// The events of one node. What it is given has passed a budget: give it a client without a rate of its own.
#[derive(Clone, Debug)]
pub struct NodeEvents {
    client: ApiClient,
    node_name: String,
}

impl NodeEvents {
    /// Reports as the kubelet of this node.
    pub fn new(client: ApiClient, node_name: impl Into<String>) -> Self {
        Self { client, node_name: node_name.into() }
    }

    async fn create(&self, record: &EventRecord) -> ApiResult<()> {
        let event = event(record, &self.node_name);
        let path = ObjectPath::collection::<Event>(namespace_of(record));
        match self.client.create_only(&path, &event).await {
            // The answer to an earlier try was lost.
            Err(error) if error.is_already_exists() => Ok(()),
            result => result,
        }
    }

    async fn update(&self, record: &EventRecord) -> ApiResult<()> {
        let path = ObjectPath::namespaced::<Event>(namespace_of(record), &record.name);
        match self.client.patch_only(&path, Patch::StrategicMerge(&sighting(record))).await {
            Err(error) if error.is_not_found() => self.create(record).await,
            result => result,
        }
    }
}

#[async_trait]
impl EventSink for NodeEvents {
    async fn send(&self, record: &EventRecord) -> Result<(), EventSinkError> {
        let sent = match record.count {
            0 | 1 => self.create(record).await,
            _ => self.update(record).await,
        };
        sent.map_err(|error| match is_final(&error) {
            true => EventSinkError::Refused(error.to_string()),
            false => EventSinkError::Unavailable(error.to_string()),
        })
    }
}

/// Whether another try gets the same answer.
fn is_final(error: &ApiError) -> bool {
    let is_refusal = |code: u16| (400..500).contains(&code) && !matches!(code, 401 | 408 | 429);
    match error {
        ApiError::Refused { status, .. } => is_refusal(status.code),
        ApiError::Malformed { .. } => true,
        ApiError::Unreachable { .. } | ApiError::Timeout { .. } => false,
    }
}

fn namespace_of(record: &EventRecord) -> &str {
    match record.object.namespace.as_str() {
        "" => DEFAULT_NAMESPACE,
        namespace => namespace,
    }
}

fn event(record: &EventRecord, node_name: &str) -> Event {
    let object = &record.object;
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Event {
        metadata: ObjectMeta {
            name: text(&record.name),
            namespace: text(namespace_of(record)),
            annotations: Some(record.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: text("v1"),
            kind: text(object.kind.as_str()),
            namespace: text(&object.namespace),
            name: text(&object.name),
            uid: text(&object.uid),
            field_path: text(&object.field_path),
            resource_version: None,
        },
        type_: text(record.event_type.as_str()),
        reason: text(&record.reason),
        message: text(&record.message),
        first_timestamp: Some(record.first_seen.to_api_secs()),
        last_timestamp: Some(record.last_seen.to_api_secs()),
        count: Some(count(record)),
        source: Some(EventSource { component: text(COMPONENT), host: text(node_name) }),
        reporting_component: text(COMPONENT),
        reporting_instance: text(node_name),
        ..Event::default()
    }
}

/// What another sighting changes.
fn sighting(record: &EventRecord) -> Value {
    json!({
        "count": count(record),
        "lastTimestamp": record.last_seen.to_api_secs(),
        "message": record.message,
    })
}

fn count(record: &EventRecord) -> i32 {
    i32::try_from(record.count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
