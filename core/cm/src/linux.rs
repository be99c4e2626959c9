//! CRI resources of containers and sandboxes (CONTRACT 3.24, 3.27).

use core_types::api::{Container, Pod, ResourceRequirements};
use core_types::runtime::{HugepageLimit, LinuxResources};
use core_types::{PodExt, QosClass, Quantity};

use crate::convert::{hugepage_size_name, shares_from_milli_cpu};
use crate::memory_qos;
use crate::oom::oom_score_adj;
use crate::qos::{is_critical, qos_class};
use crate::resources::{
    Overhead, amount, hugepage_bytes, pod_level, pod_limits, pod_requests, resource_list,
};
use crate::values::{CgroupVersion, NodeFacts, SwapBehavior};

/// What the runtime sets for one container.
pub fn container_resources(pod: &Pod, container: &Container, node: &NodeFacts) -> LinuxResources {
    let own = container.resources.clone().unwrap_or_default();
    let whole = pod.spec_ref().and_then(pod_level);
    // A limit of the pod as a whole holds for containers without one.
    let limit = |name: &str| {
        let own = amount(&own.limits, name);
        if own.is_zero() { whole.map_or(own, |whole| amount(&whole.limits, name)) } else { own }
    };
    let has_cpu_request = own.requests.iter().flatten().any(|(name, _)| name == "cpu");
    let cpu_request = if has_cpu_request { amount(&own.requests, "cpu") } else { limit("cpu") };
    let mut resources = basic(cpu_request, limit("cpu"), limit("memory"), node);
    resources.oom_score_adj = oom_score_adj(pod, container, node.memory_bytes);
    resources.hugepage_limits = node
        .hugepage_sizes
        .iter()
        .map(|size| {
            let of = |limits: &Option<_>| {
                resource_list(limits)
                    .into_iter()
                    .find(|(name, _)| {
                        hugepage_bytes(name).and_then(hugepage_size_name).as_deref() == Some(size.as_str())
                    })
                    .map(|(_, amount)| amount.value())
            };
            let limit = of(&own.limits).or_else(|| whole.and_then(|whole| of(&whole.limits))).unwrap_or(0);
            HugepageLimit { page_size: size.clone(), limit_bytes: u64::try_from(limit).unwrap_or(0) }
        })
        .collect();
    set_swap(&mut resources, pod, container, node);
    resources.unified.extend(memory_qos::of_container(pod, container, node));
    resources
}

/// Sum of a pod's containers for the sandbox, without overhead.
pub fn sandbox_resources(pod: &Pod, node: &NodeFacts) -> LinuxResources {
    let requests = pod_requests(pod, Overhead::Excluded);
    let limits = pod_limits(pod, Overhead::Excluded);
    let limit = |name: &str| limits.get(name).copied().unwrap_or_default();
    basic(requests.get("cpu").copied().unwrap_or(limit("cpu")), limit("cpu"), limit("memory"), node)
}

/// `spec.overhead` as resources; all zero without overhead, as upstream sends it.
pub fn sandbox_overhead(pod: &Pod, node: &NodeFacts) -> LinuxResources {
    match pod.spec_ref().map(|spec| &spec.overhead) {
        Some(overhead @ Some(_)) => {
            let cpu = amount(overhead, "cpu");
            basic(cpu, cpu, amount(overhead, "memory"), node)
        }
        _ => LinuxResources::default(),
    }
}

fn basic(
    cpu_request: Quantity,
    cpu_limit: Quantity,
    memory_limit: Quantity,
    node: &NodeFacts,
) -> LinuxResources {
    let mut resources = LinuxResources {
        cpu_shares: i64::try_from(shares_from_milli_cpu(cpu_request.milli_value())).unwrap_or(i64::MAX),
        memory_limit_bytes: memory_limit.value(),
        ..LinuxResources::default()
    };
    if let Some((quota_us, period_us)) = node.quota_us(cpu_limit.milli_value()) {
        resources.cpu_quota_us = quota_us;
        resources.cpu_period_us = i64::try_from(period_us).unwrap_or(i64::MAX);
    }
    if node.cgroup_version == CgroupVersion::V2 && !node.single_process_oom_kill {
        resources.unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    resources
}

fn set_swap(resources: &mut LinuxResources, pod: &Pod, container: &Container, node: &NodeFacts) {
    match (node.swap, node.cgroup_version) {
        (SwapBehavior::Unavailable, _) => {}
        // Memory and swap together limited to the memory limit leaves no swap.
        (_, CgroupVersion::V1) => resources.memory_swap_limit_bytes = resources.memory_limit_bytes,
        (behavior, CgroupVersion::V2) => {
            let bytes = if behavior == SwapBehavior::Limited { swap_share(pod, container, node) } else { 0 };
            resources.unified.insert("memory.swap.max".to_owned(), bytes.to_string());
        }
    }
}

/// Whether a container may swap at all: under `LimitedSwap` on cgroup v2, in a Burstable pod that is not critical, with a
/// memory request other than its limit.
pub fn may_swap(pod: &Pod, container: &Container, node: &NodeFacts) -> bool {
    let none = ResourceRequirements::default();
    let own = container.resources.as_ref().unwrap_or(&none);
    node.swap == SwapBehavior::Limited
        && node.cgroup_version == CgroupVersion::V2
        && !is_critical(pod)
        && qos_class(pod) == QosClass::Burstable
        && amount(&own.requests, "memory") != amount(&own.limits, "memory")
}

/// Swap of a container under `LimitedSwap`: its request's share of the node's memory, in bytes. Critical pods, other QoS
/// classes and containers without a request below their limit get none.
fn swap_share(pod: &Pod, container: &Container, node: &NodeFacts) -> i64 {
    let own = container.resources.clone().unwrap_or_default();
    let bytes = amount(&own.requests, "memory").value();
    if !may_swap(pod, container, node) || node.memory_bytes <= 0 || bytes > node.memory_bytes {
        return 0;
    }
    // The same floating-point steps as upstream, so that the byte counts agree.
    (bytes as f64 / node.memory_bytes as f64 * node.swap_bytes as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::{node, pod};
    use crate::values::{CpuQuota, NodeFacts};

    fn first(pod: &Pod, node: &NodeFacts) -> LinuxResources {
        container_resources(pod, &pod.spec.as_ref().unwrap().containers[0], node)
    }

    #[test]
    fn a_request_defaults_to_the_limit() {
        let resources = first(&pod(&[r#"{"limits":{"cpu":"500m","memory":"64Mi"}}"#], &[], "{}"), &node());
        assert_eq!(
            (resources.cpu_shares, resources.cpu_quota_us, resources.cpu_period_us),
            (512, 50_000, 100_000)
        );
        assert_eq!(resources.memory_limit_bytes, 64 << 20);
        let resources =
            first(&pod(&[r#"{"requests":{"cpu":"0"},"limits":{"cpu":"500m"}}"#], &[], "{}"), &node());
        assert_eq!(resources.cpu_shares, 2);
    }

    #[test]
    fn a_container_without_limits_has_no_quota_and_no_memory_limit() {
        let resources = first(&pod(&["{}"], &[], "{}"), &node());
        assert_eq!((resources.cpu_shares, resources.cpu_quota_us, resources.cpu_period_us), (2, 0, 100_000));
        assert_eq!((resources.memory_limit_bytes, resources.oom_score_adj), (0, 1000));
        assert_eq!(resources.unified["memory.oom.group"], "1");
        assert_eq!(resources.unified["memory.min"], "0");
        assert_eq!(resources.hugepage_limits.len(), 2);
        let facts = NodeFacts { cgroup_version: CgroupVersion::V1, cpu_quota: CpuQuota::Off, ..node() };
        let resources = first(&pod(&[r#"{"limits":{"cpu":"1"}}"#], &[], "{}"), &facts);
        assert_eq!((resources.cpu_quota_us, resources.cpu_period_us), (0, 0));
        assert!(resources.unified.is_empty());
    }

    #[test]
    fn pod_level_limits_reach_containers_without_their_own() {
        let spec = r#"{"resources":{"limits":{"cpu":"1","memory":"1Gi","hugepages-2Mi":"8Mi"}}}"#;
        let resources = first(&pod(&[r#"{"limits":{"memory":"64Mi"}}"#], &[], spec), &node());
        assert_eq!((resources.cpu_quota_us, resources.memory_limit_bytes), (100_000, 64 << 20));
        let pages: Vec<u64> = resources.hugepage_limits.iter().map(|limit| limit.limit_bytes).collect();
        assert_eq!(pages, [0, 8 << 20]);
    }

    #[test]
    fn a_container_has_a_limit_for_every_page_size_of_the_node() {
        let own = r#"{"limits":{"hugepages-2Mi":"4Mi","hugepages-64Ki":"1Mi","memory":"1Mi","cpu":"1"}}"#;
        let resources = first(&pod(&[own, "{}"], &[], "{}"), &node());
        let pages: Vec<(&str, u64)> = resources
            .hugepage_limits
            .iter()
            .map(|limit| (limit.page_size.as_str(), limit.limit_bytes))
            .collect();
        assert_eq!(pages, [("1GB", 0), ("2MB", 4 << 20)], "64 KiB pages are not the node's");
    }

    #[test]
    fn swap_follows_behavior_version_and_class() {
        let request = r#"{"requests":{"memory":"1G"}}"#;
        let of = |swap, cgroup_version| {
            first(&pod(&[request], &[], "{}"), &NodeFacts { swap, cgroup_version, ..node() })
        };
        let max = |resources: LinuxResources| resources.unified.get("memory.swap.max").cloned();
        assert_eq!(max(of(SwapBehavior::Unavailable, CgroupVersion::V2)), None);
        assert_eq!(max(of(SwapBehavior::NoSwap, CgroupVersion::V2)).as_deref(), Some("0"));
        assert_eq!(max(of(SwapBehavior::Limited, CgroupVersion::V2)).as_deref(), Some("100000000"));
        let limited = NodeFacts { swap: SwapBehavior::Limited, ..node() };
        assert_eq!(max(first(&pod(&["{}"], &[], "{}"), &limited)).as_deref(), Some("0"));
        let v1 = NodeFacts { swap: SwapBehavior::NoSwap, cgroup_version: CgroupVersion::V1, ..node() };
        let resources = first(&pod(&[r#"{"limits":{"memory":"64Mi"}}"#], &[], "{}"), &v1);
        assert_eq!(resources.memory_swap_limit_bytes, 64 << 20);
    }

    #[test]
    fn the_sandbox_gets_sums_and_overhead_apart() {
        let both = r#"{"requests":{"cpu":"100m"},"limits":{"cpu":"200m","memory":"100Mi"}}"#;
        let pod = pod(&[both, both], &[], r#"{"overhead":{"cpu":"250m","memory":"120Mi"}}"#);
        let sum = sandbox_resources(&pod, &node());
        assert_eq!((sum.cpu_shares, sum.cpu_quota_us, sum.memory_limit_bytes), (204, 40_000, 200 << 20));
        let overhead = sandbox_overhead(&pod, &node());
        assert_eq!((overhead.cpu_shares, overhead.cpu_quota_us), (256, 25_000));
        assert_eq!(overhead.memory_limit_bytes, 120 << 20);
    }
}
