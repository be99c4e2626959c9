//! Resizes that can never be, whatever else runs on the node (upstream's `podResizesAdmitHandler`).

use core_cm::resources::amount;
use core_cm::{NodeFacts, PodResources, may_swap, qos_class};
use core_types::api::{Container, Pod, ResourceRequirements};
use core_types::{PodExt, QosClass};

/// The feature gate `InPlacePodLevelResourcesVerticalScaling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodLevelResize {
    /// On.
    Allowed,
    /// Off.
    Disabled,
}

/// Whether a resource manager gives pods parts of the node for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticPolicy {
    /// Policy `static` (`Static` for memory).
    InUse,
    /// Policy `none`.
    NotInUse,
}

/// Policies of the resource managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Managers {
    /// `cpuManagerPolicy`.
    pub cpu: StaticPolicy,
    /// `memoryManagerPolicy`.
    pub memory: StaticPolicy,
}

/// What may be resized on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeRules {
    /// Resources of the pod as a whole.
    pub pod_level: PodLevelResize,
    /// Resource managers.
    pub managers: Managers,
}

/// Why a resize can never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Infeasible {
    /// A container's swap would have to change.
    Swap,
    /// Resources of the pod as a whole may not change.
    PodLevelDisabled,
    /// A Guaranteed pod has CPUs for itself.
    CpuManager,
    /// A Guaranteed pod has memory for itself.
    MemoryManager,
}

impl Infeasible {
    /// Label `reason_detail` of upstream's metric.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Swap => "swap_limitation",
            Self::PodLevelDisabled => "plr_feature_gate_off",
            Self::CpuManager => "guaranteed_pod_cpu_manager_static_policy",
            Self::MemoryManager => "guaranteed_pod_memory_manager_static_policy",
        }
    }

    /// Upstream's words.
    pub fn message(self) -> String {
        match self {
            Self::Swap => "In-place resize of containers with swap is not supported.".to_owned(),
            Self::PodLevelDisabled => "InPlacePodLevelResourcesVerticalScaling is disabled".to_owned(),
            Self::CpuManager => {
                "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"".to_owned()
            }
            Self::MemoryManager => {
                "Resize is infeasible for Guaranteed Pods alongside Memory Manager policy \"Static\""
                    .to_owned()
            }
        }
    }
}

/// Why the pod can never get what it asks for instead of what it was given.
pub(super) fn infeasible(
    wanted: &Pod,
    given: &Pod,
    node: &NodeFacts,
    rules: ResizeRules,
) -> Option<Infeasible> {
    let requests = |name: &str| {
        let of = |pod: &Pod| -> Vec<_> {
            pod.container_refs().iter().map(|container| request(container.spec, name)).collect()
        };
        of(wanted) != of(given)
    };
    if changes_swap(wanted, given, node) {
        return Some(Infeasible::Swap);
    }
    let whole = |pod: &Pod| PodResources { whole: PodResources::of(pod).whole, ..PodResources::default() };
    if rules.pod_level == PodLevelResize::Disabled && whole(given).differ_from(wanted) {
        return Some(Infeasible::PodLevelDisabled);
    }
    if qos_class(wanted) != QosClass::Guaranteed {
        return None;
    }
    match rules.managers {
        Managers { cpu: StaticPolicy::InUse, .. } if requests("cpu") => Some(Infeasible::CpuManager),
        Managers { memory: StaticPolicy::InUse, .. } if requests("memory") => Some(Infeasible::MemoryManager),
        _ => None,
    }
}

fn request(container: &Container, name: &str) -> core_types::Quantity {
    let none = ResourceRequirements::default();
    amount(&container.resources.as_ref().unwrap_or(&none).requests, name)
}

/// A container whose memory request changes while it runs, and that may swap before or after.
fn changes_swap(wanted: &Pod, given: &Pod, node: &NodeFacts) -> bool {
    let given_containers = given.container_refs();
    wanted.container_refs().iter().any(|new| {
        let Some(old) = given_containers.iter().find(|old| old.spec.name == new.spec.name) else {
            return false;
        };
        let policies = old.spec.resize_policy.iter().flatten();
        let restarts = policies
            .filter(|policy| policy.resource_name == "memory")
            .any(|policy| policy.restart_policy == "RestartContainer");
        request(new.spec, "memory") != request(old.spec, "memory")
            && !restarts
            && (may_swap(wanted, new.spec, node) || may_swap(given, old.spec, node))
    })
}
