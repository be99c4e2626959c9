//! What to set in the cgroups of the node, of its QoS classes and of its pods (CONTRACT 5.2, 5.3, 5.5).

use std::collections::BTreeMap;

use core_types::api::Pod;
use core_types::{PodExt, QosClass};

use crate::cgroup::CgroupValues;
use crate::convert::{MIN_SHARES, hugepage_size_name, quota_from_milli_cpu, shares_from_milli_cpu};
use crate::memory_qos::{self, MemoryQos};
use crate::qos::qos_class;
use crate::requests::ClassRequests;
use crate::resources::{
    Overhead, ResourceList, all_containers, amount, hugepage_bytes, pod_level, pod_limits, pod_requests,
};

/// "No limit" for huge pages, as upstream writes it on QoS classes.
const HUGEPAGES_UNBOUNDED: u64 = 1 << 62;

/// Layout of the kernel's cgroup hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// `cpuCFSQuota` and `cpuCFSQuotaPeriod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuQuota {
    /// CPU limits are enforced.
    Enforced {
        /// CFS period in microseconds.
        period_us: u64,
    },
    /// CPU limits have no effect.
    Off,
}

/// `memorySwap.swapBehavior`, as far as the node can honour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapBehavior {
    /// The kernel has no swap controller: nothing is set.
    Unavailable,
    /// No container may swap.
    NoSwap,
    /// Burstable containers may swap in proportion to their request (cgroup v2 only).
    Limited,
}

/// What the node has and how it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Hierarchy in use.
    pub cgroup_version: CgroupVersion,
    /// Memory of the machine in bytes.
    pub memory_bytes: i64,
    /// Swap of the machine in bytes.
    pub swap_bytes: i64,
    /// Huge page sizes of the kernel, as it names them (`2MB`).
    pub hugepage_sizes: Vec<String>,
    /// CPU quota.
    pub cpu_quota: CpuQuota,
    /// Swap.
    pub swap: SwapBehavior,
    /// `podPidsLimit`; not positive for none.
    pub pod_pids_limit: i64,
    /// Protection and throttling of memory.
    pub memory_qos: MemoryQos,
    /// `singleProcessOOMKill`: the kernel kills one process of a container, not all.
    pub single_process_oom_kill: bool,
}

impl NodeFacts {
    pub(crate) fn quota_us(&self, milli_cpu: i64) -> Option<(i64, u64)> {
        match self.cpu_quota {
            CpuQuota::Enforced { period_us } => Some((quota_from_milli_cpu(milli_cpu, period_us), period_us)),
            CpuQuota::Off => None,
        }
    }
}

/// Values of the cgroup `kubepods` for what pods may use of the node: memory, CPU, huge pages, and `pids` when limited.
pub fn node_values(allocatable: &ResourceList, node: &NodeFacts) -> CgroupValues {
    let mut values = CgroupValues {
        cpu_shares: allocatable.get("cpu").map(|cpu| shares_from_milli_cpu(cpu.milli_value())),
        memory_limit_bytes: allocatable.get("memory").map(|memory| memory.value()),
        pids_limit: allocatable.get("pids").map(|pids| pids.value()),
        hugepage_limits: hugepage_limits(allocatable, node),
        ..CgroupValues::default()
    };
    if node.cgroup_version == CgroupVersion::V2 {
        values.unified = reset_protection();
    }
    values
}

/// Values of a cgroup of daemons that is held to what is reserved for them; with memory QoS their memory is protected too.
pub fn reserved_values(reserved: &ResourceList, node: &NodeFacts) -> CgroupValues {
    let memory_limit_bytes = reserved.get("memory").map(|memory| memory.value());
    let is_protected = node.cgroup_version == CgroupVersion::V2 && node.memory_qos != MemoryQos::Off;
    let protection = memory_limit_bytes.filter(|_| is_protected);
    // Daemons keep the huge pages that nothing is said of.
    let named = |size: &String| {
        reserved.keys().any(|name| hugepage_bytes(name).and_then(hugepage_size_name).as_ref() == Some(size))
    };
    let mut hugepage_limits = hugepage_limits(reserved, node);
    hugepage_limits.retain(|size, _| named(size));
    CgroupValues {
        cpu_shares: reserved.get("cpu").map(|cpu| shares_from_milli_cpu(cpu.milli_value())),
        memory_limit_bytes,
        pids_limit: reserved.get("pid").map(|pids| pids.value()),
        hugepage_limits,
        unified: protection.map(|bytes| ("memory.min".to_owned(), bytes.to_string())).into_iter().collect(),
        ..CgroupValues::default()
    }
}

/// Values of the cgroup of a QoS class, given what the active pods of the node request. Guaranteed pods stand directly below
/// `kubepods`, so their class has no values of its own but the protection that `kubepods` gives to all.
pub fn qos_values(class: QosClass, active: &ClassRequests, node: &NodeFacts) -> CgroupValues {
    let unified = memory_qos::of_class(class, active, node);
    let cpu_shares = match class {
        QosClass::Guaranteed => return CgroupValues { unified, ..CgroupValues::default() },
        QosClass::BestEffort => MIN_SHARES,
        QosClass::Burstable => {
            shares_from_milli_cpu(i64::try_from(active.burstable_milli_cpu).unwrap_or(i64::MAX))
        }
    };
    CgroupValues {
        cpu_shares: Some(cpu_shares),
        hugepage_limits: node.hugepage_sizes.iter().map(|size| (size.clone(), HUGEPAGES_UNBOUNDED)).collect(),
        unified,
        ..CgroupValues::default()
    }
}

/// Values of a pod's cgroup. A CPU quota or memory limit is set only when every container has one, or the pod as a whole.
pub fn pod_values(pod: &Pod, node: &NodeFacts) -> CgroupValues {
    let requests = pod_requests(pod, Overhead::Included);
    let limits = pod_limits(pod, Overhead::Included);
    let mut values = CgroupValues {
        hugepage_limits: hugepage_limits(&requests, node),
        pids_limit: (node.pod_pids_limit > 0).then_some(node.pod_pids_limit),
        unified: memory_qos::of_pod(pod, node),
        ..CgroupValues::default()
    };
    let class = qos_class(pod);
    if class == QosClass::BestEffort {
        values.cpu_shares = Some(MIN_SHARES);
        return values;
    }
    let milli_cpu = |list: &ResourceList| list.get("cpu").map_or(0, |cpu| cpu.milli_value());
    values.cpu_shares = Some(shares_from_milli_cpu(milli_cpu(&requests)));
    if class == QosClass::Guaranteed || is_limited(pod, "cpu") {
        match node.quota_us(milli_cpu(&limits)) {
            Some((quota_us, period_us)) => {
                values.cpu_quota_us = Some(quota_us);
                values.cpu_period_us = Some(period_us);
            }
            None => values.cpu_quota_us = Some(-1),
        }
    }
    if class == QosClass::Guaranteed || is_limited(pod, "memory") {
        values.memory_limit_bytes = limits.get("memory").map(|memory| memory.value());
    }
    values
}

/// True when every container, or the pod as a whole, has a limit.
pub(crate) fn is_limited(pod: &Pod, name: &str) -> bool {
    let Some(spec) = pod.spec_ref() else { return false };
    let whole = pod_level(spec).is_some_and(|resources| !amount(&resources.limits, name).is_zero());
    whole
        || all_containers(spec).all(|container| {
            container.resources.as_ref().is_some_and(|resources| !amount(&resources.limits, name).is_zero())
        })
}

/// Limits for every page size of the node: what the list says, otherwise nothing.
fn hugepage_limits(list: &ResourceList, node: &NodeFacts) -> BTreeMap<String, u64> {
    let mut limits: BTreeMap<String, u64> =
        node.hugepage_sizes.iter().map(|size| (size.clone(), 0)).collect();
    for (name, amount) in list {
        let size = hugepage_bytes(name).and_then(hugepage_size_name);
        if let Some(limit) = size.and_then(|size| limits.get_mut(&size)) {
            *limit += u64::try_from(amount.value()).unwrap_or(0);
        }
    }
    limits
}

/// Clears memory protection that an earlier configuration may have left.
pub(crate) fn reset_protection() -> BTreeMap<String, String> {
    ["memory.min", "memory.low"].map(|key| (key.to_owned(), "0".to_owned())).into_iter().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use core_types::api::{Container, PodSpec};

    /// A pod whose containers have the given resources; `sidecar{...}` makes an init container a sidecar; `extra` is
    /// merged into the spec.
    pub(crate) fn pod(containers: &[&str], init: &[&str], extra: &str) -> Pod {
        let container = |(index, text): (usize, &&str)| {
            let (is_sidecar, text) = match text.strip_prefix("sidecar") {
                Some(rest) => (true, rest),
                None => (false, *text),
            };
            Container {
                name: format!("c{index}"),
                resources: Some(serde_json::from_str(text).unwrap()),
                restart_policy: is_sidecar.then(|| "Always".to_owned()),
                ..Container::default()
            }
        };
        let mut extra: serde_json::Value = serde_json::from_str(extra).unwrap();
        extra["containers"] = serde_json::json!([]);
        let spec: PodSpec = serde_json::from_value(extra).unwrap();
        let init: Vec<Container> = init
            .iter()
            .enumerate()
            .map(container)
            .map(|c| Container { name: format!("init-{}", c.name), ..c })
            .collect();
        let containers = containers.iter().enumerate().map(container).collect();
        Pod { spec: Some(PodSpec { containers, init_containers: Some(init), ..spec }), ..Pod::default() }
    }

    pub(crate) fn node() -> NodeFacts {
        NodeFacts {
            cgroup_version: CgroupVersion::V2,
            memory_bytes: 10_000_000_000,
            swap_bytes: 1_000_000_000,
            hugepage_sizes: vec!["1GB".to_owned(), "2MB".to_owned()],
            cpu_quota: CpuQuota::Enforced { period_us: 100_000 },
            swap: SwapBehavior::Unavailable,
            pod_pids_limit: -1,
            memory_qos: MemoryQos::On {
                throttling_factor: None,
                reservation: Default::default(),
                allocatable_bytes: 10_000_000_000,
                page_bytes: 4096,
            },
            single_process_oom_kill: false,
        }
    }

    #[test]
    fn a_quota_needs_a_limit_in_every_container() {
        let both = r#"{"requests":{"cpu":"100m","memory":"50Mi"},"limits":{"cpu":"200m","memory":"100Mi"}}"#;
        let values = pod_values(&pod(&[both, both], &[], "{}"), &node());
        assert_eq!(values.cpu_shares, Some(204));
        assert_eq!((values.cpu_quota_us, values.cpu_period_us), (Some(40_000), Some(100_000)));
        assert_eq!(values.memory_limit_bytes, Some(200 << 20));
        let values = pod_values(&pod(&[both, r#"{"limits":{"memory":"1Gi"}}"#], &[], "{}"), &node());
        assert_eq!(values.cpu_quota_us, None);
        assert_eq!(values.memory_limit_bytes, Some((100 << 20) + (1 << 30)));
        let values = pod_values(&pod(&[both], &["{}"], "{}"), &node());
        assert_eq!((values.cpu_quota_us, values.memory_limit_bytes), (None, None));
    }

    #[test]
    fn the_pod_as_a_whole_can_be_limited() {
        let spec = r#"{"resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2","memory":"1Gi"}}}"#;
        let values = pod_values(&pod(&["{}"], &[], spec), &node());
        assert_eq!((values.cpu_shares, values.cpu_quota_us), (Some(1024), Some(200_000)));
        assert_eq!(values.memory_limit_bytes, Some(1 << 30));
    }

    #[test]
    fn best_effort_pods_get_the_least_shares_and_nothing_else() {
        let facts = NodeFacts { pod_pids_limit: 100, ..node() };
        let values = pod_values(&pod(&["{}"], &[], "{}"), &facts);
        assert_eq!(values.cpu_shares, Some(2));
        assert_eq!(
            (values.cpu_quota_us, values.memory_limit_bytes, values.pids_limit),
            (None, None, Some(100))
        );
        assert_eq!(values.hugepage_limits["2MB"], 0);
    }

    #[test]
    fn without_cfs_quota_a_limit_is_lifted() {
        let full = r#"{"requests":{"cpu":"1","memory":"1G"},"limits":{"cpu":"1","memory":"1G"}}"#;
        let facts = NodeFacts { cpu_quota: CpuQuota::Off, ..node() };
        assert_eq!(pod_values(&pod(&[full], &[], "{}"), &facts).cpu_quota_us, Some(-1));
    }

    #[test]
    fn burstable_shares_are_what_burstable_pods_request() {
        let active = ClassRequests { burstable_milli_cpu: 1000, ..ClassRequests::default() };
        let none = ClassRequests::default();
        assert_eq!(qos_values(QosClass::Burstable, &active, &node()).cpu_shares, Some(1024));
        assert_eq!(qos_values(QosClass::BestEffort, &active, &node()).cpu_shares, Some(2));
        assert_eq!(qos_values(QosClass::Burstable, &none, &node()).cpu_shares, Some(2));
        assert_eq!(qos_values(QosClass::Burstable, &none, &node()).hugepage_limits["1GB"], 1 << 62);
        assert_eq!(qos_values(QosClass::Guaranteed, &active, &node()).cpu_shares, None);
        let v1 = NodeFacts { cgroup_version: CgroupVersion::V1, ..node() };
        assert_eq!(qos_values(QosClass::Guaranteed, &active, &v1), CgroupValues::default());
    }

    #[test]
    fn kubepods_gets_what_pods_may_use() {
        let list = ["cpu=3500m", "memory=7Gi", "pids=1000", "hugepages-2Mi=4Mi"]
            .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.parse().unwrap())).unwrap());
        let values = node_values(&list.into_iter().collect(), &node());
        assert_eq!(values.cpu_shares, Some(3584));
        assert_eq!(values.memory_limit_bytes, Some(7 << 30));
        assert_eq!(values.pids_limit, Some(1000));
        assert_eq!(values.hugepage_limits["2MB"], 4 << 20);
        assert_eq!(values.unified["memory.min"], "0");
        assert_eq!(values.cpu_quota_us, None);
    }
}
