//! The object of a new node, and what an object that is already there must take over from it (CONTRACT 4.6).

use std::collections::BTreeMap;
use std::time::Duration;

use core_pods::validation::is_extended_resource;
use core_types::Quantity;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::capacity::is_hugepages;
use crate::settings::{AttachDetach, CloudProvider, ExtendedResources, Machine, NodeSettings};

/// Annotation of a node whose volumes the controller manager attaches.
const ATTACH_DETACH: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// Taint of a node that the cloud's controller has not looked at yet.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Labels that an existing object takes over; others are its own.
const DEFAULT_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Wait before the first attempt; doubles up to the longest one.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait before an attempt.
const RETRY_MAX: Duration = Duration::from_secs(7);

/// How long to wait before the attempt with this number, the first being 0.
pub fn wait_before(attempt: u32) -> Duration {
    RETRY_MIN.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(RETRY_MAX)
}

/// The object of a new node, without status.
pub fn new_node(settings: &NodeSettings, machine: &Machine) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(settings.name.clone());
    node.metadata.labels = Some(labels(settings, &machine.architecture));
    if settings.attach_detach == AttachDetach::Controller {
        node.metadata.annotations = Some(BTreeMap::from([(ATTACH_DETACH.to_owned(), "true".to_owned())]));
    }
    let mut taints = settings.taints.clone();
    if settings.cloud == CloudProvider::External {
        taints.push(Taint {
            key: UNINITIALIZED.to_owned(),
            value: Some("true".to_owned()),
            effect: "NoSchedule".to_owned(),
            time_added: None,
        });
    }
    let spec = node.spec.get_or_insert_default();
    spec.taints = Some(taints).filter(|taints| !taints.is_empty());
    spec.provider_id = Some(settings.provider_id.clone()).filter(|id| !id.is_empty());
    node
}

/// The labels every node has, and those of `--node-labels` over them.
pub fn labels(settings: &NodeSettings, architecture: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), settings.name.clone())]);
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/os"), "linux".to_owned());
        labels.insert(format!("{prefix}/arch"), architecture.to_owned());
    }
    labels.extend(settings.labels.clone());
    labels
}

/// The existing object as it should be: with the default labels, the attach-detach annotation and the huge pages of `new`.
pub fn reconcile(new: &Node, existing: &Node, settings: &NodeSettings) -> Node {
    let mut node = existing.clone();
    reconcile_labels(new, &mut node);
    match settings.attach_detach {
        AttachDetach::Controller => {
            let annotations = node.metadata.annotations.get_or_insert_default();
            annotations.insert(ATTACH_DETACH.to_owned(), "true".to_owned());
        }
        AttachDetach::Kubelet => {
            node.metadata.annotations.as_mut().map(|annotations| annotations.remove(ATTACH_DETACH));
        }
    }
    reconcile_resources(new, &mut node, settings.extended_resources);
    node
}

fn reconcile_labels(new: &Node, node: &mut Node) {
    let wanted = new.metadata.labels.iter().flatten();
    let labels = node.metadata.labels.get_or_insert_default();
    for (name, value) in wanted.filter(|(name, _)| DEFAULT_LABELS.contains(&name.as_str())) {
        match value.is_empty() {
            true => labels.remove(name),
            false => labels.insert(name.clone(), value.clone()),
        };
    }
}

fn reconcile_resources(new: &Node, node: &mut Node, extended: ExtendedResources) {
    let fresh = new.status.clone().unwrap_or_default();
    let status = node.status.get_or_insert_default();
    for (own, fresh) in [(&mut status.capacity, fresh.capacity), (&mut status.allocatable, fresh.allocatable)]
    {
        let fresh = fresh.unwrap_or_default();
        let own = own.get_or_insert_with(|| fresh.clone());
        own.retain(|name, _| !is_hugepages(name) || fresh.contains_key(name));
        own.extend(fresh.into_iter().filter(|(name, _)| is_hugepages(name)));
        if extended == ExtendedResources::Zero {
            let amounts = own.iter_mut().filter(|(name, _)| is_extended_resource(name));
            amounts.for_each(|(_, amount)| *amount = Quantity::ZERO.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use core_types::api::QuantityText;
    use serde_json::json;

    use crate::settings::tests::{machine, settings};

    use super::*;

    fn node(value: serde_json::Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_new_node_is_labelled_and_tainted_as_configured() {
        let settings = NodeSettings {
            labels: BTreeMap::from([
                ("kubernetes.io/arch".to_owned(), "own".to_owned()),
                ("a".to_owned(), "b".to_owned()),
            ]),
            taints: vec![Taint { key: "k".to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() }],
            provider_id: "cloud://1".to_owned(),
            cloud: CloudProvider::External,
            ..settings()
        };
        let want = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": "n1",
                "labels": {
                    "a": "b", "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "own", "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux",
                },
                "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
            },
            "spec": {
                "providerID": "cloud://1",
                "taints": [
                    { "key": "k", "effect": "NoExecute" },
                    { "key": UNINITIALIZED, "value": "true", "effect": "NoSchedule" },
                ],
            },
        });
        assert_eq!(serde_json::to_value(new_node(&settings, &machine())).unwrap(), want);
    }

    #[test]
    fn an_existing_node_takes_over_defaults_only() {
        let settings = NodeSettings {
            labels: BTreeMap::from([
                ("own".to_owned(), "new".to_owned()),
                ("topology.kubernetes.io/zone".to_owned(), "z1".to_owned()),
            ]),
            ..settings()
        };
        let existing = node(json!({
            "metadata": { "name": "n1", "labels": { "own": "old", "kubernetes.io/os": "odd" } },
            "spec": { "unschedulable": true },
        }));
        let reconciled = reconcile(&new_node(&settings, &machine()), &existing, &settings);
        let labels = reconciled.metadata.labels.unwrap();
        assert_eq!((labels["own"].as_str(), labels["kubernetes.io/os"].as_str()), ("old", "linux"));
        assert_eq!(labels["topology.kubernetes.io/zone"], "z1");
        assert_eq!(reconciled.metadata.annotations.unwrap()[ATTACH_DETACH], "true");
        assert_eq!(reconciled.spec, existing.spec);
    }

    #[test]
    fn the_annotation_goes_when_the_kubelet_attaches() {
        let settings = NodeSettings { attach_detach: AttachDetach::Kubelet, ..settings() };
        let existing = node(json!({ "metadata": { "annotations": { ATTACH_DETACH: "true", "b": "c" } } }));
        let reconciled = reconcile(&new_node(&settings, &machine()), &existing, &settings);
        assert_eq!(reconciled.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn huge_pages_follow_the_machine_and_extended_resources_the_setting() {
        let amounts =
            |pairs: serde_json::Value| json!({ "status": { "capacity": pairs, "allocatable": pairs } });
        let new = node(amounts(json!({ "cpu": "4", "hugepages-2Mi": "1Gi" })));
        let existing = node(amounts(
            json!({ "cpu": "2", "hugepages-1Gi": "4Gi", "example.com/gpu": "2", "hugepages-2Mi": "0" }),
        ));
        for (extended_resources, gpus) in [(ExtendedResources::Keep, "2"), (ExtendedResources::Zero, "0")] {
            let settings = NodeSettings { extended_resources, ..settings() };
            let status = reconcile(&new, &existing, &settings).status.unwrap();
            let want: BTreeMap<String, QuantityText> =
                [("cpu", "2"), ("hugepages-2Mi", "1Gi"), ("example.com/gpu", gpus)]
                    .map(|(name, text)| (name.to_owned(), QuantityText(text.to_owned())))
                    .into();
            assert_eq!((status.capacity, status.allocatable), (Some(want.clone()), Some(want)));
        }
    }

    #[test]
    fn attempts_are_spaced_wider_and_wider() {
        let waits: Vec<u128> = [0, 1, 2, 5, 6, 7, 40].map(|attempt| wait_before(attempt).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 3200, 6400, 7000, 7000]);
    }
}
