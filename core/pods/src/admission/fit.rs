//! Resources: what a pod requests, and whether the node has that much left.

use std::collections::BTreeMap;

use core_types::Quantity;
use core_types::api::{Container, Pod, PodSpec};

use super::RejectReason;
use crate::validation::is_extended_resource;

/// What all pods of a node may request together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAllocatable {
    /// CPU, in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory, in bytes.
    pub memory_bytes: i64,
    /// Local storage, in bytes.
    pub ephemeral_storage_bytes: i64,
    /// Number of pods.
    pub pods: i64,
    /// Everything else by name: huge pages in bytes, extended resources in pieces.
    pub others: BTreeMap<String, i64>,
}

type Requests = BTreeMap<String, Quantity>;

fn add(sum: &mut Requests, container: &Container) {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, text) in requests.into_iter().flatten() {
        // A request that is no quantity was refused by validation; from the API it cannot come.
        let value = Quantity::try_from(text).unwrap_or_default();
        *sum.entry(name.clone()).or_default() += value;
    }
}

fn raise(highest: &mut Requests, candidate: &Requests) {
    for (name, value) in candidate {
        let entry = highest.entry(name.clone()).or_default();
        *entry = (*entry).max(*value);
    }
}

/// What a pod requests: its containers and sidecars together, or more where an init container and the sidecars started
/// before it need more (KEP-753), plus its overhead.
pub fn pod_requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut sum = Requests::new();
    spec.containers.iter().for_each(|container| add(&mut sum, container));
    let mut sidecars = Requests::new();
    let mut highest = Requests::new();
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sum, container);
            add(&mut sidecars, container);
            raise(&mut highest, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, container);
            raise(&mut highest, &together);
        }
    }
    raise(&mut sum, &highest);
    for (name, text) in spec.overhead.iter().flatten() {
        *sum.entry(name.clone()).or_default() += Quantity::try_from(text).unwrap_or_default();
    }
    sum
}

/// The first resource of which too little is left: pods, CPU, memory, local storage, then the others by name.
pub(super) fn insufficient(
    spec: &PodSpec,
    others: &[&Pod],
    allocatable: &NodeAllocatable,
) -> Option<(RejectReason, String)> {
    let pods = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if pods.saturating_add(1) > allocatable.pods {
        return Some(out_of("pods", 1, pods, allocatable.pods));
    }
    let wanted = pod_requests(spec);
    let mut used = Requests::new();
    for other in others.iter().filter_map(|other| other.spec.as_ref()) {
        for (name, value) in pod_requests(other) {
            *used.entry(name).or_default() += value;
        }
    }
    let amount = |list: &Requests, name: &str| {
        let value = list.get(name).copied().unwrap_or_default();
        if name == "cpu" { value.milli_value() } else { value.value() }
    };
    let fixed = [
        ("cpu", allocatable.cpu_milli),
        ("memory", allocatable.memory_bytes),
        ("ephemeral-storage", allocatable.ephemeral_storage_bytes),
    ];
    let rest = wanted.keys().map(String::as_str).filter(|name| !fixed.iter().any(|(known, _)| known == name));
    // An extended resource that this node does not have is somebody else's: a cluster-level one, or a claim's.
    let rest = rest.filter_map(|name| match allocatable.others.get(name) {
        Some(capacity) => Some((name, *capacity)),
        None => (!is_extended_resource(name)).then_some((name, 0)),
    });
    fixed.into_iter().chain(rest).find_map(|(name, capacity)| {
        let (requested, used) = (amount(&wanted, name), amount(&used, name));
        (requested > 0 && requested > capacity.saturating_sub(used))
            .then(|| out_of(name, requested, used, capacity))
    })
}

fn out_of(resource: &str, requested: i64, used: i64, capacity: i64) -> (RejectReason, String) {
    let message = format!(
        "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    (RejectReason::OutOf(resource.to_owned()), message)
}
