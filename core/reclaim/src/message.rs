//! What an evicted pod's status, condition and event say, word for word as upstream's (CONTRACT 5.10).

use core_cm::resources::amount;
use core_types::Quantity;
use core_types::api::{Container, Pod};
use core_types::pressure::Pressures;
use core_types::{ContainerRef, PodExt};

use crate::signal::Resource;
use crate::threshold::Threshold;
use crate::usage::{ContainerUse, Observations, PodUse, bytes};

/// Text and annotations of an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictionText {
    /// Message of the pod's status, of its condition `DisruptionTarget`, and of the event `Evicted`.
    pub message: String,
    /// Annotations of the event.
    pub annotations: Vec<(&'static str, String)>,
}

/// What is said of a pod that goes because `resource` is short. `starved` are the limits that ask for it.
pub fn eviction_text(
    resource: Resource,
    pod: &Pod,
    usage: Option<&PodUse>,
    starved: &[Threshold],
    measured: &Observations,
) -> EvictionText {
    let mut text = EvictionText {
        message: format!("The node was low on resource: {resource}. "),
        ..EvictionText::default()
    };
    let limit = starved.iter().find(|threshold| threshold.signal.resource() == resource);
    if let Some((limit, look)) = limit.and_then(|limit| Some((limit, measured.get(&limit.signal)?))) {
        let (bound, left) = (limit.below.of(look.capacity), look.available);
        text.message += &format!("Threshold quantity: {bound}, available: {left}. ");
    }
    let Some(usage) = usage else { return text };
    blame_pod(resource, pod, usage, &mut text);
    let mut blamed = Vec::new();
    for of_container in &usage.containers {
        let containers = pod.container_refs();
        let Some(ContainerRef { spec, .. }) = containers.iter().find(|c| c.spec.name == of_container.name)
        else {
            continue;
        };
        if let Some(used) = used_more(resource, spec, of_container) {
            let asked = requested(spec, resource);
            text.message += &consumption("Container", &spec.name, used, asked, resource);
            blamed.push((spec.name.clone(), used.to_string()));
        }
    }
    let (names, uses): (Vec<_>, Vec<_>) = blamed.into_iter().unzip();
    text.annotations.push(("offending_containers", names.join(",")));
    text.annotations.push(("offending_containers_usage", uses.join(",")));
    text.annotations.push(("starved_resource", resource.name().to_owned()));
    text
}

/// Why a pod is not admitted while the node shows these conditions.
pub fn refusal_text(shown: Pressures) -> String {
    format!("The node had condition: [{}]. ", shown.conditions().join(" "))
}

/// A pod with a memory request of its own as a whole is named with it.
fn blame_pod(resource: Resource, pod: &Pod, usage: &PodUse, text: &mut EvictionText) {
    let whole = pod.spec_ref().and_then(core_cm::resources::pod_level);
    let asked = whole.map(|whole| amount(&whole.requests, resource.name())).filter(|asked| !asked.is_zero());
    let (Resource::Memory, Some(asked), Some(used)) = (resource, asked, usage.working_set_bytes) else {
        return;
    };
    let (name, used) = (pod.key().name, bytes(used));
    text.message += &consumption("Pod", &name, used, asked, resource);
    text.annotations.push(("offending_pod", name.to_string()));
    text.annotations.push(("offending_pod_usage", used.to_string()));
}

fn consumption(what: &str, name: &str, used: Quantity, asked: Quantity, resource: Resource) -> String {
    format!("{what} {name} was using {used}, request is {asked}, has larger consumption of {resource}. ")
}

/// What the container uses, if that is more than it asked for.
fn used_more(resource: Resource, spec: &Container, usage: &ContainerUse) -> Option<Quantity> {
    let used = match resource {
        Resource::Memory => usage.working_set_bytes?,
        Resource::EphemeralStorage => usage.rootfs.bytes?.saturating_add(usage.logs.bytes?),
        Resource::Inodes | Resource::Pids => return None,
    };
    Some(bytes(used)).filter(|used| *used > requested(spec, resource))
}

fn requested(spec: &Container, resource: Resource) -> Quantity {
    let resources = spec.resources.as_ref();
    resources.map(|resources| amount(&resources.requests, resource.name())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use core_types::MonoTime;

    use super::*;
    use crate::signal::Signal;
    use crate::testing::{Use, pod};
    use crate::threshold::Amount;
    use crate::usage::Observation;

    fn starved(signal: Signal) -> ([Threshold; 1], Observations) {
        let below = Amount::Part(0.1);
        let threshold = Threshold { signal, below, grace: Duration::ZERO, min_reclaim: None };
        let look = Observation {
            available: Quantity::from_bytes(50 << 20),
            capacity: Quantity::from_bytes(1000 << 20),
            measured_at: MonoTime::ZERO,
        };
        ([threshold], [(signal, look)].into())
    }

    #[test]
    fn memory_names_the_containers_that_use_more_than_they_asked_for() {
        let (limits, measured) = starved(Signal::MemoryAvailable);
        let pod = pod("hog", 0, &[("memory", "100Mi")]);
        let usage = Use::memory(300);
        let text = eviction_text(Resource::Memory, &pod, Some(&usage), &limits, &measured);
        assert_eq!(
            text.message,
            "The node was low on resource: memory. Threshold quantity: 104857601, available: 50Mi. \
             Container main was using 300Mi, request is 100Mi, has larger consumption of memory. "
        );
        assert_eq!(
            text.annotations,
            [
                ("offending_containers", "main".to_owned()),
                ("offending_containers_usage", "300Mi".to_owned()),
                ("starved_resource", "memory".to_owned()),
            ]
        );
    }

    #[test]
    fn a_pod_that_was_not_measured_is_blamed_for_nothing() {
        let (limits, measured) = starved(Signal::NodeFsInodesFree);
        let text = eviction_text(Resource::Inodes, &pod("quiet", 0, &[]), None, &limits, &measured);
        assert_eq!(
            text.message,
            "The node was low on resource: inodes. Threshold quantity: 104857601, available: 50Mi. "
        );
        assert_eq!(text.annotations, []);
    }

    #[test]
    fn conditions_are_written_as_a_list() {
        let both = Pressures { memory: true, disk: true, pid: false };
        assert_eq!(refusal_text(both), "The node had condition: [MemoryPressure DiskPressure]. ");
    }
}
