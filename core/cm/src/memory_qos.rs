//! Memory protection and throttling on cgroup v2 (feature `MemoryQoS`, CONTRACT 3.24).
//!
//! Without settings nothing is protected or throttled, and what earlier settings left is cleared.

use std::collections::BTreeMap;

use core_types::QosClass;
use core_types::api::{Container, Pod, ResourceRequirements};

use crate::qos::qos_class;
use crate::requests::ClassRequests;
use crate::resources::{Overhead, amount, pod_level, pod_limits, pod_requests};
use crate::values::{CgroupVersion, NodeFacts};

const MIN: &str = "memory.min";
const LOW: &str = "memory.low";
const HIGH: &str = "memory.high";

/// `memoryReservationPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryReservation {
    /// Nothing is protected.
    #[default]
    None,
    /// Requests of Guaranteed pods are protected hard, those of Burstable pods softly.
    Tiered,
}

/// The feature and its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryQos {
    /// The feature gate is off.
    Off,
    /// It is on.
    On {
        /// `memoryThrottlingFactor`: where between request and limit throttling begins; `None` for none.
        throttling_factor: Option<f64>,
        /// `memoryReservationPolicy`.
        reservation: MemoryReservation,
        /// What all pods may use together, in bytes: the limit of containers without one.
        allocatable_bytes: i64,
        /// Size of a page in bytes.
        page_bytes: i64,
    },
}

type Unified = BTreeMap<String, String>;

fn set(unified: &mut Unified, key: &str, bytes: i64) {
    unified.insert(key.to_owned(), bytes.to_string());
}

/// Keys of a container's cgroup.
pub(crate) fn of_container(pod: &Pod, container: &Container, node: &NodeFacts) -> Unified {
    let mut unified = Unified::new();
    if node.cgroup_version == CgroupVersion::V1 {
        return unified;
    }
    let MemoryQos::On { throttling_factor, reservation, allocatable_bytes, page_bytes } = node.memory_qos
    else {
        unified.insert(HIGH.to_owned(), "max".to_owned());
        return unified;
    };
    let none = ResourceRequirements::default();
    let own = container.resources.as_ref().unwrap_or(&none);
    let (request, limit) = (amount(&own.requests, "memory").value(), amount(&own.limits, "memory").value());
    match (reservation, request) {
        (MemoryReservation::None, _) | (MemoryReservation::Tiered, 0) => {
            set(&mut unified, MIN, 0);
            set(&mut unified, LOW, 0);
        }
        (MemoryReservation::Tiered, _) => set(&mut unified, protection_of(pod), request),
    }
    // The pod's own cgroup throttles a container that has only the pod's limit.
    let whole = pod.spec.as_ref().and_then(pod_level);
    let is_throttled_above = limit == 0 && whole.is_some_and(|own| !amount(&own.limits, "memory").is_zero());
    if let Some(factor) = throttling_factor
        && !is_throttled_above
        && (request != limit || request == 0)
    {
        let limit = if limit == 0 { allocatable_bytes } else { limit };
        let high = high_bytes(request, limit, factor, page_bytes);
        if limit > 0 && high > request {
            set(&mut unified, HIGH, high);
        }
    }
    unified
}

/// Keys of a pod's cgroup.
pub(crate) fn of_pod(pod: &Pod, node: &NodeFacts) -> Unified {
    let mut unified = Unified::new();
    let MemoryQos::On { throttling_factor, reservation, page_bytes, .. } = node.memory_qos else {
        return unified;
    };
    if node.cgroup_version == CgroupVersion::V1 {
        return unified;
    }
    let of = |list: crate::ResourceList| list.get("memory").map_or(0, |memory| memory.value());
    let request = of(pod_requests(pod, Overhead::Included));
    if reservation == MemoryReservation::Tiered && request > 0 {
        set(&mut unified, protection_of(pod), request);
    }
    let has_whole = pod.spec.as_ref().and_then(pod_level).is_some();
    if let Some(factor) = throttling_factor.filter(|_| has_whole && crate::values::is_limited(pod, "memory"))
    {
        let limit = of(pod_limits(pod, Overhead::Included));
        let high = high_bytes(request, limit, factor, page_bytes);
        if limit != 0 && (request != limit || request == 0) && high > request.max(0) {
            set(&mut unified, HIGH, high);
        }
    }
    unified
}

/// Keys of the cgroup of a QoS class; those of Guaranteed stand for `kubepods`, which is above all pods.
pub(crate) fn of_class(class: QosClass, active: &ClassRequests, node: &NodeFacts) -> Unified {
    let mut unified = Unified::new();
    if node.cgroup_version == CgroupVersion::V1 || class == QosClass::BestEffort {
        return unified;
    }
    let is_tiered = matches!(node.memory_qos, MemoryQos::On { reservation: MemoryReservation::Tiered, .. });
    let protected = |bytes: i128| if is_tiered { i64::try_from(bytes).unwrap_or(i64::MAX) } else { 0 };
    if class == QosClass::Guaranteed {
        set(&mut unified, MIN, protected(active.guaranteed_memory_bytes + active.burstable_memory_bytes));
    }
    set(&mut unified, LOW, protected(active.burstable_memory_bytes));
    unified
}

fn protection_of(pod: &Pod) -> &'static str {
    if qos_class(pod) == QosClass::Guaranteed { MIN } else { LOW }
}

/// Where throttling begins, in whole pages; the same floating-point steps as upstream's.
fn high_bytes(request: i64, limit: i64, factor: f64, page_bytes: i64) -> i64 {
    let at = (request as f64 + (limit as f64 - request as f64) * factor).floor();
    ((at / page_bytes as f64) as i64).saturating_mul(page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_resources;
    use crate::values::tests::{node, pod};

    fn on(throttling_factor: Option<f64>, reservation: MemoryReservation) -> NodeFacts {
        let memory_qos =
            MemoryQos::On { throttling_factor, reservation, allocatable_bytes: 8 << 20, page_bytes: 4096 };
        NodeFacts { memory_qos, ..node() }
    }

    fn memory_of(text: &str, node: &NodeFacts) -> String {
        let pod = pod(&[text], &[], "{}");
        let resources = container_resources(&pod, &pod.spec.as_ref().unwrap().containers[0], node);
        let memory = resources
            .unified
            .iter()
            .filter(|(key, _)| key.starts_with("memory.") && *key != "memory.oom.group");
        memory.map(|(key, value)| format!("{}={value}", &key[7..])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn containers_are_protected_and_throttled_as_the_settings_say() {
        let burstable = r#"{"requests":{"memory":"1Mi"},"limits":{"memory":"2Mi"}}"#;
        let guaranteed = r#"{"requests":{"memory":"1Mi","cpu":"1"},"limits":{"memory":"1Mi","cpu":"1"}}"#;
        let none = MemoryReservation::None;
        let tiered = MemoryReservation::Tiered;
        for (text, node, want) in [
            (burstable, NodeFacts { memory_qos: MemoryQos::Off, ..node() }, "high=max"),
            (burstable, on(None, none), "low=0 min=0"),
            (burstable, on(None, tiered), "low=1048576"),
            (guaranteed, on(Some(0.9), tiered), "min=1048576"),
            (burstable, on(Some(0.5), none), "high=1572864 low=0 min=0"),
            ("{}", on(Some(0.5), none), "high=4194304 low=0 min=0"),
        ] {
            assert_eq!(memory_of(text, &node), want, "{text}");
        }
    }

    #[test]
    fn classes_protect_what_their_pods_request_together() {
        let active = ClassRequests {
            burstable_memory_bytes: 1 << 20,
            guaranteed_memory_bytes: 4 << 20,
            ..ClassRequests::default()
        };
        let node = on(None, MemoryReservation::Tiered);
        let of = |class| of_class(class, &active, &node);
        assert_eq!(of(QosClass::Burstable)[LOW], (1 << 20).to_string());
        assert_eq!(of(QosClass::Guaranteed)[MIN], (5 << 20).to_string());
        assert_eq!(of(QosClass::Guaranteed)[LOW], (1 << 20).to_string());
        assert!(of(QosClass::BestEffort).is_empty());
    }
}
