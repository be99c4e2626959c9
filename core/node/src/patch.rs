//! The strategic merge patch of the status sub-resource that makes one Node object of another. Labels and annotations ride along;
//! the spec is never touched.
//!
//! Lists are replaced as a whole, but for conditions, which are merged by type because others add their own, and addresses, which
//! may hold one type twice and so cannot be merged by it.

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use serde_json::{Map, Value, json};

/// The patch; `None` when there is nothing to change.
pub fn status_patch(old: &Node, new: &Node) -> Option<Value> {
    let mut patch = Map::new();
    if let Some(metadata) = metadata(old, new) {
        patch.insert("metadata".to_owned(), metadata);
    }
    if let Some(status) = status(old, new) {
        patch.insert("status".to_owned(), status);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn metadata(old: &Node, new: &Node) -> Option<Value> {
    let parts = [
        ("labels", json!(old.metadata.labels), json!(new.metadata.labels)),
        ("annotations", json!(old.metadata.annotations), json!(new.metadata.annotations)),
    ];
    let changed =
        parts.into_iter().filter_map(|(name, old, new)| Some((name.to_owned(), difference(&old, &new)?)));
    let changed: Map<String, Value> = changed.collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}

fn status(old: &Node, new: &Node) -> Option<Value> {
    let (old, new) = (old.status.clone().unwrap_or_default(), new.status.clone().unwrap_or_default());
    let conditions = conditions(old.conditions.as_deref(), new.conditions.as_deref());
    let addresses = (old.addresses != new.addresses).then_some(&new.addresses);
    let without_lists = |status: &k8s_openapi::api::core::v1::NodeStatus| {
        let mut status = status.clone();
        (status.conditions, status.addresses) = (None, None);
        json!(status)
    };
    let mut patch = match difference(&without_lists(&old), &without_lists(&new)) {
        Some(Value::Object(patch)) => patch,
        _ => Map::new(),
    };
    if let Some(conditions) = conditions {
        patch.insert("conditions".to_owned(), conditions);
    }
    if let Some(addresses) = addresses {
        let mut list: Vec<Value> = addresses.iter().flatten().map(|address| json!(address)).collect();
        list.push(json!({ "$patch": "replace" }));
        patch.insert("addresses".to_owned(), Value::Array(list));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The conditions that are new or differ, whole, since their type finds them.
fn conditions(old: Option<&[NodeCondition]>, new: Option<&[NodeCondition]>) -> Option<Value> {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let changed: Vec<&NodeCondition> = new.iter().filter(|condition| !old.contains(condition)).collect();
    (!changed.is_empty()).then(|| json!(changed))
}

/// What turns `old` into `new`: objects member by member, with null for what goes, and anything else as a whole.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        _ if old == new => None,
        (Value::Object(old), Value::Object(new)) => {
            let gone = old.keys().filter(|name| !new.contains_key(*name));
            let mut patch: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
            for (name, value) in new {
                let change = old.get(name).map_or_else(|| Some(value.clone()), |old| difference(old, value));
                patch.extend(change.map(|change| (name.clone(), change)));
            }
            Some(Value::Object(patch))
        }
        _ => Some(new.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = node(json!({
            "metadata": { "name": "n", "labels": { "a": "1", "b": "2", "c": "3" }, "annotations": { "x": "y" } },
            "status": {
                "capacity": { "cpu": "1", "memory": "1Gi" },
                "conditions": [{ "type": "A", "status": "True" }, { "type": "B", "status": "True" }],
                "addresses": [{ "type": "InternalIP", "address": "1" }],
                "images": [{ "names": ["a"] }],
                "nodeInfo": { "bootID": "1", "machineID": "m", "kernelVersion": "", "osImage": "", "systemUUID": "",
                    "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
                    "architecture": "" },
            },
        }));
        let mut new = old.clone();
        assert_eq!(status_patch(&old, &new), None);
        let labels = new.metadata.labels.as_mut().unwrap();
        labels.insert("b".to_owned(), "4".to_owned());
        labels.remove("c");
        new.metadata.annotations = None;
        new.spec.get_or_insert_default().unschedulable = Some(true);
        let status = new.status.as_mut().unwrap();
        status.capacity.as_mut().unwrap().remove("memory");
        status.conditions.as_mut().unwrap()[1].status = "False".to_owned();
        status.addresses.as_mut().unwrap()[0].address = "2".to_owned();
        status.images.as_mut().unwrap().clear();
        status.node_info.as_mut().unwrap().boot_id = "2".to_owned();
        let want = json!({
            "metadata": { "labels": { "b": "4", "c": null }, "annotations": null },
            "status": {
                "capacity": { "memory": null },
                "conditions": [{ "type": "B", "status": "False" }],
                "addresses": [{ "type": "InternalIP", "address": "2" }, { "$patch": "replace" }],
                "images": [],
                "nodeInfo": { "bootID": "2" },
            },
        });
        assert_eq!(status_patch(&old, &new), Some(want));
    }

    #[test]
    fn the_first_status_is_sent_whole() {
        let new = node(
            json!({ "status": { "capacity": { "cpu": "1" }, "conditions": [{ "type": "A", "status": "T" }] } }),
        );
        let want = json!({ "status": {
            "capacity": { "cpu": "1" }, "conditions": [{ "type": "A", "status": "T" }],
        } });
        assert_eq!(status_patch(&Node::default(), &new), Some(want));
    }
}
