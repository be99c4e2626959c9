//! What must be sent so that the API server has the true status of a pod (CONTRACT 4.5): a strategic merge patch of the status
//! sub-resource, or nothing.
//!
//! Conditions of others stay as they are, and so do the fields that only others write. The patch names the UID, so that it cannot
//! reach a pod that has taken the name.

use core_types::api::{Pod, PodCondition, PodStatus};
use serde_json::{Map, Value, json};

use crate::conditions::is_own;
use crate::phase::is_terminal;

/// Whether something of the pod may still run. A terminal phase is told only when nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containers {
    /// It may.
    MayRun,
    /// All have ended.
    Ended,
}

/// Fields that others write and that a status of this node only passes on.
const FOREIGN: [&str; 4] = [
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
    "nominatedNodeName",
    "resourceClaimStatuses",
];

/// A condition that others write too. It is told together with the terminal phase that it explains.
const SHARED: &str = "DisruptionTarget";

/// The patch that turns what the API server has of a pod into `status`; `None` when it has that already.
pub fn status_patch(server: &Pod, status: &PodStatus, containers: Containers) -> Option<Value> {
    let known = server.status.clone().unwrap_or_default();
    let wanted = presentable(&known, status, containers);
    let (old, new) = (object(&known), object(&wanted));
    let mut changes = Map::new();
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
        let (before, after) = (old.get(key), new.get(key));
        if before == after || FOREIGN.contains(&key.as_str()) {
            continue;
        }
        match key.as_str() {
            "conditions" => {}
            // Lists that the API server merges by address.
            "podIPs" | "hostIPs" => merge_addresses(key, before, after, &mut changes),
            _ => drop(changes.insert(key.clone(), after.cloned().unwrap_or(Value::Null))),
        }
    }
    merge_conditions(&known, &wanted, &mut changes);
    (!changes.is_empty()).then(|| json!({ "metadata": { "uid": server.metadata.uid }, "status": changes }))
}

/// The status as it may be shown now.
fn presentable(known: &PodStatus, status: &PodStatus, containers: Containers) -> PodStatus {
    let mut wanted = status.clone();
    let ends = is_terminal(status) && !is_terminal(known);
    if ends && containers == Containers::MayRun {
        wanted.phase.clone_from(&known.phase);
        wanted.reason.clone_from(&known.reason);
        wanted.message.clone_from(&known.message);
    }
    let tells_disruption = ends && containers == Containers::Ended;
    if let Some(conditions) = &mut wanted.conditions {
        conditions
            .retain(|condition| is_own(&condition.type_) || (condition.type_ == SHARED && tells_disruption));
    }
    if is_terminal(&wanted) {
        unready(&mut wanted);
    }
    wanted
}

/// A pod that has ended is not ready, whatever its last probe said.
fn unready(status: &mut PodStatus) {
    let reason = match status.phase.as_deref() {
        Some("Succeeded") => "PodCompleted",
        _ => "PodFailed",
    };
    for condition in status.conditions.iter_mut().flatten() {
        if matches!(condition.type_.as_str(), "Ready" | "ContainersReady") && condition.status == "True" {
            condition.status = "False".to_owned();
            condition.reason = Some(reason.to_owned());
            condition.message = None;
        }
    }
}

/// The status as JSON, empty lists left out: the API server leaves them out too.
fn object(status: &PodStatus) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(status) else { return Map::new() };
    fields.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
    fields
}

fn merge_addresses(
    key: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Map<String, Value>,
) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let mut items: Vec<Value> = after.clone();
    let gone = before.iter().filter(|item| !after.contains(item));
    items.extend(gone.map(|item| json!({ "$patch": "delete", "ip": item["ip"] })));
    changes.insert(format!("$setElementOrder/{key}"), Value::Array(after));
    changes.insert(key.to_owned(), Value::Array(items));
}

fn merge_conditions(known: &PodStatus, wanted: &PodStatus, changes: &mut Map<String, Value>) {
    let find = |status: &PodStatus, name: &str| -> Option<PodCondition> {
        status.conditions.iter().flatten().find(|condition| condition.type_ == name).cloned()
    };
    let mut items = Vec::new();
    for condition in wanted.conditions.iter().flatten() {
        match find(known, &condition.type_) {
            Some(before) if before == *condition => {}
            before => items.push(changed_condition(before.as_ref(), condition)),
        }
    }
    for before in known.conditions.iter().flatten().filter(|condition| is_own(&condition.type_)) {
        if find(wanted, &before.type_).is_none() {
            items.push(json!({ "$patch": "delete", "type": before.type_ }));
        }
    }
    if items.is_empty() {
        return;
    }
    let stays = known
        .conditions
        .iter()
        .flatten()
        .filter(|condition| !is_own(&condition.type_) && find(wanted, &condition.type_).is_none());
    let order = stays.chain(wanted.conditions.iter().flatten());
    let order = order.map(|condition| json!({ "type": condition.type_ })).collect();
    changes.insert("$setElementOrder/conditions".to_owned(), Value::Array(order));
    changes.insert("conditions".to_owned(), Value::Array(items));
}

/// The whole condition, with `null` for what it had and has no more.
fn changed_condition(before: Option<&PodCondition>, after: &PodCondition) -> Value {
    let mut value = json!(after);
    let before = before.map(|condition| json!(condition));
    if let (Some(fields), Some(before)) = (value.as_object_mut(), before.as_ref().and_then(Value::as_object))
    {
        for key in before.keys() {
            fields.entry(key.clone()).or_insert(Value::Null);
        }
    }
    value
}
