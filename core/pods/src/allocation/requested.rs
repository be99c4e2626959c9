//! What a changed spec asks for, as upstream counts it.

use core_cm::resources::amount;
use core_types::api::{Pod, ResourceRequirements};
use core_types::{PodExt, Quantity};

/// One number of one container that changed: labels of `container_requested_resizes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedResize {
    /// `memory` or `cpu`.
    pub resource: &'static str,
    /// `requests` or `limits`.
    pub requirement: &'static str,
    /// `add`, `remove`, `increase` or `decrease`.
    pub operation: &'static str,
}

/// Everything that differs between two specs of one pod.
pub fn requested_resizes(old: &Pod, new: &Pod) -> Vec<RequestedResize> {
    let none = ResourceRequirements::default();
    let mut found = Vec::new();
    let new_containers = new.container_refs();
    for old in old.container_refs() {
        let Some(new) = new_containers.iter().find(|new| new.spec.name == old.spec.name) else { continue };
        let (a, b) =
            (old.spec.resources.as_ref().unwrap_or(&none), new.spec.resources.as_ref().unwrap_or(&none));
        for resource in ["memory", "cpu"] {
            for (requirement, a, b) in
                [("requests", &a.requests, &b.requests), ("limits", &a.limits, &b.limits)]
            {
                if let Some(operation) = operation(amount(a, resource), amount(b, resource)) {
                    found.push(RequestedResize { resource, requirement, operation });
                }
            }
        }
    }
    found
}

fn operation(old: Quantity, new: Quantity) -> Option<&'static str> {
    match (old.is_zero(), new.is_zero()) {
        (false, true) => Some("remove"),
        (true, false) => Some("add"),
        _ if new < old => Some("decrease"),
        _ if new > old => Some("increase"),
        _ => None,
    }
}
