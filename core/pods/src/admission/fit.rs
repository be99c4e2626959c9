//! Resources: what a pod requests, and whether the node has that much left.

use std::collections::BTreeMap;

use core_cm::{Overhead, ResourceList, pod_requests};
use core_types::api::Pod;

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

/// A resource of which too little is left. CPU is in thousandths of a core, everything else in its own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Insufficient {
    pub(super) resource: String,
    requested: i64,
    used: i64,
    capacity: i64,
}

impl Insufficient {
    /// How much is missing.
    pub(super) fn amount(&self) -> i64 {
        self.requested - (self.capacity - self.used)
    }

    /// Upstream's reason and message.
    pub(super) fn rejection(&self) -> (RejectReason, String) {
        let Self { resource, requested, used, capacity } = self;
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        (RejectReason::OutOf(resource.clone()), message)
    }
}

/// The resources of which too little is left: pods, CPU, memory, local storage, then the others by name.
pub(super) fn insufficient(pod: &Pod, others: &[&Pod], allocatable: &NodeAllocatable) -> Vec<Insufficient> {
    let pods = i64::try_from(others.len()).unwrap_or(i64::MAX);
    let of_pods =
        Insufficient { resource: "pods".to_owned(), requested: 1, used: pods, capacity: allocatable.pods };
    let of_pods = (pods.saturating_add(1) > allocatable.pods).then_some(of_pods);
    let wanted = pod_requests(pod, Overhead::Included);
    let mut used = ResourceList::new();
    for other in others {
        for (name, value) in pod_requests(other, Overhead::Included) {
            *used.entry(name).or_default() += value;
        }
    }
    let amount = |list: &ResourceList, name: &str| {
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
    let sized = fixed.into_iter().chain(rest).filter_map(|(name, capacity)| {
        let (requested, used) = (amount(&wanted, name), amount(&used, name));
        let is_short = requested > 0 && requested > capacity.saturating_sub(used);
        is_short.then(|| Insufficient { resource: name.to_owned(), requested, used, capacity })
    });
    of_pods.into_iter().chain(sized).collect()
}
