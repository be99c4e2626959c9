//! The QoS class of a pod and whether it is critical (CONTRACT 5.2, 5.4).

use core_types::api::{Pod, ResourceRequirements};
use core_types::{PodExt, QosClass, keys};

use crate::resources::{all_containers, amount, pod_level};

/// Priority from which on a pod is critical (`SystemCriticalPriority`).
const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;
/// Priority class of pods that the node itself needs.
const NODE_CRITICAL_CLASS: &str = "system-node-critical";

/// The QoS class of a pod: what its status says, otherwise what its resources say.
///
/// Guaranteed when CPU and memory have equal, non-zero requests and limits in every container; BestEffort when nothing is
/// set; else Burstable. Pod-level resources decide alone where they are set.
pub fn qos_class(pod: &Pod) -> QosClass {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => return QosClass::Guaranteed,
        Some("Burstable") => return QosClass::Burstable,
        Some("BestEffort") => return QosClass::BestEffort,
        _ => {}
    }
    let Some(spec) = pod.spec_ref() else { return QosClass::BestEffort };
    if let Some(resources) = pod_level(spec) {
        return class_of(resources);
    }
    let none = ResourceRequirements::default();
    let classes =
        all_containers(spec).map(|container| class_of(container.resources.as_ref().unwrap_or(&none)));
    common(classes).unwrap_or(QosClass::BestEffort)
}

/// True for pods that eviction spares and that may push others off the node: static and mirror pods, which nobody would make anew,
/// and those of a system priority. What a person runs on the node beside these is as ordinary as a pod of the API server.
pub fn is_critical(pod: &Pod) -> bool {
    let is_mirror = pod.annotation(keys::CONFIG_MIRROR_ANNOTATION).is_some();
    (pod.is_static() && !pod.is_local()) || is_mirror || has_critical_priority(pod)
}

/// True for pods of a system priority.
fn has_critical_priority(pod: &Pod) -> bool {
    let priority = pod.spec_ref().and_then(|spec| spec.priority);
    priority.is_some_and(|priority| priority >= SYSTEM_CRITICAL_PRIORITY)
}

/// True for critical pods of the priority class `system-node-critical`.
pub fn is_node_critical(pod: &Pod) -> bool {
    let class = pod.spec_ref().and_then(|spec| spec.priority_class_name.as_deref());
    class == Some(NODE_CRITICAL_CLASS) && is_critical(pod)
}

fn class_of(resources: &ResourceRequirements) -> QosClass {
    let classes = ["cpu", "memory"].map(|name| {
        let (request, limit) = (amount(&resources.requests, name), amount(&resources.limits, name));
        match (request == limit, request.is_zero()) {
            (true, true) => QosClass::BestEffort,
            (true, false) => QosClass::Guaranteed,
            (false, _) => QosClass::Burstable,
        }
    });
    common(classes.into_iter()).unwrap_or(QosClass::BestEffort)
}

/// The class that all share, Burstable when they differ.
fn common(mut classes: impl Iterator<Item = QosClass>) -> Option<QosClass> {
    let first = classes.next()?;
    Some(if classes.all(|class| class == first) { first } else { QosClass::Burstable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{Overhead, pod_limits, pod_requests};
    use crate::values::tests::pod;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = r#"{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"1000m","memory":"1024Mi"}}"#;
        for (containers, init, class) in [
            (vec!["{}"], vec![], QosClass::BestEffort),
            (vec![full], vec![], QosClass::Guaranteed),
            (vec![full, full], vec![full], QosClass::Guaranteed),
            (vec![full], vec!["{}"], QosClass::Burstable),
            (vec![full, "{}"], vec![], QosClass::Burstable),
            (vec![r#"{"requests":{"cpu":"0"}}"#], vec![], QosClass::BestEffort),
            (vec![r#"{"requests":{"cpu":"10m"}}"#], vec![], QosClass::Burstable),
            (vec![r#"{"limits":{"memory":"1Gi"}}"#], vec![], QosClass::Burstable),
            (vec![r#"{"requests":{"cpu":"1"},"limits":{"cpu":"1"}}"#], vec![], QosClass::Burstable),
            (vec![r#"{"limits":{"hugepages-2Mi":"4Mi"}}"#], vec![], QosClass::BestEffort),
        ] {
            assert_eq!(qos_class(&pod(&containers, &init, "{}")), class, "{containers:?} {init:?}");
        }
    }

    #[test]
    fn pod_level_resources_decide_alone() {
        let resources =
            r#"{"resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"1","memory":"1Gi"}}}"#;
        assert_eq!(qos_class(&pod(&["{}"], &[], resources)), QosClass::Guaranteed);
        assert_eq!(
            qos_class(&pod(&["{}"], &[], r#"{"resources":{"requests":{"foo":"1"}}}"#)),
            QosClass::BestEffort
        );
    }

    #[test]
    fn node_critical_needs_priority_and_class() {
        let of = |extra: &str| pod(&["{}"], &[], extra);
        assert!(is_node_critical(&of(
            r#"{"priority":2000001000,"priorityClassName":"system-node-critical"}"#
        )));
        assert!(!is_node_critical(&of(
            r#"{"priority":2000000000,"priorityClassName":"system-cluster-critical"}"#
        )));
        assert!(!is_node_critical(&of(r#"{"priority":5,"priorityClassName":"system-node-critical"}"#)));
        assert!(is_critical(&of(r#"{"priority":2000000000}"#)));
        let mut stat = of("{}");
        stat.metadata.annotations =
            Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into_iter().collect());
        assert!(is_critical(&stat));
    }

    #[test]
    fn init_containers_set_a_floor_and_sidecars_add_up() {
        let cpu =
            |milli: i64| format!(r#"{{"requests":{{"cpu":"{milli}m"}},"limits":{{"cpu":"{milli}m"}}}}"#);
        // Regular 100+100; sidecar 50 before an init container of 300: max(250, 350).
        let regular = [cpu(100), cpu(100)];
        let init = [format!("sidecar{}", cpu(50)), cpu(300), format!("sidecar{}", cpu(20))];
        let pod = pod(
            &regular.each_ref().map(String::as_str),
            &init.each_ref().map(String::as_str),
            r#"{"overhead":{"cpu":"10m","memory":"1Mi"}}"#,
        );
        assert_eq!(pod_requests(&pod, Overhead::Excluded)["cpu"].milli_value(), 350);
        assert_eq!(pod_requests(&pod, Overhead::Included)["cpu"].milli_value(), 360);
        assert_eq!(pod_requests(&pod, Overhead::Included)["memory"].value(), 1 << 20);
        assert_eq!(pod_limits(&pod, Overhead::Included)["cpu"].milli_value(), 360);
        assert!(!pod_limits(&pod, Overhead::Included).contains_key("memory"));
    }
}
