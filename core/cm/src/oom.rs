//! `oom_score_adj` of containers (CONTRACT 5.4): the kernel should kill first what uses most beyond its request.

use core_types::api::{Container, Pod, PodSpec};
use core_types::{PodExt, QosClass};

use crate::qos::{is_node_critical, qos_class};
use crate::resources::{amount, container_requests, pod_level_requests};

/// Score of containers that must die last.
const GUARANTEED: i64 = -997;
/// Score of containers that may die first.
const BEST_EFFORT: i64 = 1000;
/// Lowest score of a burstable container: above a guaranteed one that uses all memory.
const BURSTABLE_MIN: i64 = 1000 + GUARANTEED;

/// The score of one container of a pod on a node with `node_memory_bytes` of memory.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i64 {
    if is_node_critical(pod) {
        return GUARANTEED;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => return GUARANTEED,
        QosClass::BestEffort => return BEST_EFFORT,
        QosClass::Burstable => {}
    }
    let Some(spec) = pod.spec_ref() else { return BEST_EFFORT };
    let spread = unassigned_share(pod, spec);
    let mut score = score_of(memory_request(container) + spread, node_memory_bytes);
    if is_sidecar(spec, container)
        && let Some(smallest) = spec.containers.iter().map(memory_request).min()
    {
        score = score.min(score_of(smallest + spread, node_memory_bytes));
    }
    score.clamp(BURSTABLE_MIN, BEST_EFFORT - 1)
}

fn score_of(request_bytes: i64, node_memory_bytes: i64) -> i64 {
    if node_memory_bytes <= 0 {
        return BEST_EFFORT;
    }
    let thousandths = i128::from(request_bytes) * 1000 / i128::from(node_memory_bytes);
    BEST_EFFORT - i64::try_from(thousandths).unwrap_or(i64::MAX / 2)
}

fn memory_request(container: &Container) -> i64 {
    container.resources.as_ref().map_or(0, |resources| amount(&resources.requests, "memory").value())
}

/// What the pod requests as a whole beyond its containers' requests, shared evenly, in bytes.
fn unassigned_share(pod: &Pod, spec: &PodSpec) -> i64 {
    let Some(resources) = pod_level_requests(spec) else { return 0 };
    let whole = amount(&resources.requests, "memory").value();
    if whole == 0 {
        return 0;
    }
    let assigned = container_requests(pod).get("memory").map_or(0, |memory| memory.value());
    let count = spec.containers.len() + spec.init_containers.iter().flatten().count();
    (whole - assigned).max(0) / i64::try_from(count.max(1)).unwrap_or(i64::MAX)
}

fn is_sidecar(spec: &PodSpec, container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
        && spec.init_containers.iter().flatten().any(|init| init.name == container.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::pod;

    const NODE: i64 = 10_000_000_000;

    fn score(pod: &Pod) -> i64 {
        oom_score_adj(pod, &pod.spec.as_ref().unwrap().containers[0], NODE)
    }

    #[test]
    fn the_score_follows_class_and_request() {
        let full = r#"{"requests":{"cpu":"1","memory":"1G"},"limits":{"cpu":"1","memory":"1G"}}"#;
        for (resources, extra, want) in [
            ("{}", "{}", 1000),
            (full, "{}", -997),
            (r#"{"requests":{"memory":"1G"}}"#, "{}", 900),
            (r#"{"requests":{"cpu":"1"}}"#, "{}", 999),
            (r#"{"requests":{"memory":"10G"}}"#, "{}", 3),
            (r#"{"requests":{"memory":"99G"}}"#, "{}", 3),
            ("{}", r#"{"priority":2000001000,"priorityClassName":"system-node-critical"}"#, -997),
            ("{}", r#"{"resources":{"requests":{"memory":"2G"}}}"#, 800),
        ] {
            assert_eq!(score(&pod(&[resources], &[], extra)), want, "{resources} {extra}");
        }
    }

    #[test]
    fn a_sidecar_is_never_above_the_smallest_regular_container() {
        let pod = pod(
            &[r#"{"requests":{"memory":"2G"}}"#, r#"{"requests":{"memory":"5G"}}"#],
            &[r#"sidecar{"requests":{"memory":"1G"}}"#],
            "{}",
        );
        let sidecar = &pod.spec.as_ref().unwrap().init_containers.as_ref().unwrap()[0];
        assert_eq!(oom_score_adj(&pod, sidecar, NODE), 800);
    }

    #[test]
    fn a_node_of_unknown_size_gives_a_score_in_range() {
        let pod = pod(&[r#"{"requests":{"memory":"1G"}}"#], &[], "{}");
        assert_eq!(oom_score_adj(&pod, &pod.spec.as_ref().unwrap().containers[0], 0), 999);
    }
}
