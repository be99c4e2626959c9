//! The pods of this node: the adapter of [`PodApi`].

use async_trait::async_trait;
use core_types::api::Pod;
use core_types::{PodExt, PodKey, PodUid};
use futures_core::stream::BoxStream;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use ports::{ApiResult, ObjectEvent, PodApi};
use serde_json::Value;

use crate::client::{ApiClient, Patch, Selector};
use crate::follow::Follower;
use crate::path::ObjectPath;

/// The pods of one node.
#[derive(Clone, Debug)]
pub struct NodePods {
    client: ApiClient,
    node_name: String,
}

impl NodePods {
    /// The pods that are bound to `node_name`.
    pub fn new(client: ApiClient, node_name: impl Into<String>) -> Self {
        Self { client, node_name: node_name.into() }
    }
}

fn path_of(key: &PodKey) -> ObjectPath {
    ObjectPath::namespaced::<Pod>(&key.namespace, &key.name)
}

#[async_trait]
impl PodApi for NodePods {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<Pod>> {
        let selector =
            Selector { fields: format!("spec.nodeName={}", self.node_name), labels: String::new() };
        Follower::new(self.client.clone(), ObjectPath::all::<Pod>(), selector).into_stream()
    }

    async fn patch_status(&self, key: &PodKey, patch: &Value) -> ApiResult<Pod> {
        self.client.patch(&path_of(key).subresource("status"), Patch::StrategicMerge(patch)).await
    }

    async fn create(&self, pod: &Pod) -> ApiResult<Pod> {
        self.client.create(&ObjectPath::collection::<Pod>(&pod.key().namespace), pod).await
    }

    async fn delete_now(&self, key: &PodKey, uid: &PodUid) -> ApiResult<()> {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
            ..DeleteOptions::default()
        };
        self.client.delete(&path_of(key), &options).await
    }

    async fn node_uid(&self) -> ApiResult<String> {
        let node: Node = self.client.get(&ObjectPath::cluster::<Node>(&self.node_name)).await?;
        Ok(node.metadata.uid.unwrap_or_default())
    }
}
