//! Whether this node takes a pod: the checks of CONTRACT 3.4 that need nothing but the pod, the node's facts and the
//! other pods on the node. They hold for pods of every source.
//!
//! Reads the pod with its defaults. Gives the first reason to refuse it, in upstream's order and words: sysctls, operating
//! system, resources, node affinity, node name, host ports, AppArmor, resources of the pod as a whole.
//!
//! Left out, because they need managers or an API server: eviction pressure, topology and devices, taints,
//! declared features, node shutdown, and making room for critical pods.

mod app_armor;
mod fit;
mod node_affinity;
mod ports;
mod sysctl;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::PodExt;
use core_types::api::{Pod, PodSpec};

pub use app_armor::AppArmor;
pub use fit::NodeAllocatable;
pub use sysctl::{KernelVersion, SysctlAllowList, SysctlPatternError};

/// The label that names an operating system.
const OS_LABEL: &str = "kubernetes.io/os";

/// Why a pod is refused; its text is the pod's `status.reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// A sysctl is not allowed on this node.
    SysctlForbidden,
    /// The pod's label names another operating system.
    PodOsSelectorNodeLabelDoesNotMatch,
    /// `spec.os` names another operating system.
    PodOsNotSupported,
    /// Too little of a resource is left; the resource's name.
    OutOf(String),
    /// `spec.nodeSelector` or the required node affinity excludes this node.
    NodeAffinity,
    /// `spec.nodeName` is another node.
    NodeName,
    /// Another pod has a host port.
    NodePorts,
    /// The pod asks for an AppArmor profile that cannot be enforced.
    AppArmor,
    /// The pod has resources as a whole, and the feature gate `PodLevelResources` is off.
    PodLevelResourcesNotSupported,
}

impl RejectReason {
    /// Upstream's reason text.
    pub fn as_str(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::SysctlForbidden => "SysctlForbidden",
            Self::PodOsSelectorNodeLabelDoesNotMatch => "PodOSSelectorNodeLabelDoesNotMatch",
            Self::PodOsNotSupported => "PodOSNotSupported",
            Self::OutOf(resource) => return Cow::Owned(format!("OutOf{resource}")),
            Self::NodeAffinity => "NodeAffinity",
            Self::NodeName => "NodeName",
            Self::NodePorts => "NodePorts",
            Self::AppArmor => "AppArmor",
            Self::PodLevelResourcesNotSupported => "PodLevelResourcesNotSupported",
        })
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The pod may run here.
    Admit,
    /// It may not. It becomes Failed with `status.reason` and the message "Pod was rejected: ..." (CONTRACT 3.3).
    Reject {
        /// Why.
        reason: RejectReason,
        /// Why, for people.
        message: String,
    },
}

/// What the checks need to know of the node.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// Name of the node.
    pub name: &'a str,
    /// Its labels. The operating system is taken for Linux whatever they say.
    pub labels: &'a BTreeMap<String, String>,
    /// What pods may use together.
    pub allocatable: &'a NodeAllocatable,
    /// Sysctls that pods may set.
    pub sysctls: &'a SysctlAllowList,
    /// Whether AppArmor profiles are enforced.
    pub app_armor: AppArmor,
    /// Whether pods may have resources as a whole.
    pub pod_level_resources: PodLevelResources,
}

/// The feature gate `PodLevelResources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodLevelResources {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// Judges a pod. `others` are the pods that hold resources of the node now: admitted and not terminal; the pod itself
/// may be among them and does not count.
pub fn admit(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts<'_>) -> Admission {
    let Some(spec) = &pod.spec else { return Admission::Admit };
    let uid = pod.uid();
    let others: Vec<&Pod> = others.iter().map(Arc::as_ref).filter(|other| other.uid() != uid).collect();
    let checks: [&dyn Fn() -> Option<(RejectReason, String)>; 8] = [
        &|| node.sysctls.forbidden(spec).map(|text| (RejectReason::SysctlForbidden, text)),
        &|| other_operating_system(pod, spec),
        &|| fit::insufficient(pod, &others, node.allocatable),
        &|| {
            let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
            (!node_affinity::matches(spec, node)).then(|| (RejectReason::NodeAffinity, message.to_owned()))
        },
        &|| {
            let wanted = spec.node_name.as_deref().unwrap_or_default();
            let message = "Predicate NodeName failed: node(s) didn't match the requested node name";
            (!wanted.is_empty() && wanted != node.name).then(|| (RejectReason::NodeName, message.to_owned()))
        },
        &|| ports::conflict(spec, &others).map(|text| (RejectReason::NodePorts, text)),
        &|| {
            let problem = app_armor::unenforceable(pod, spec, node.app_armor);
            problem.map(|text| (RejectReason::AppArmor, text))
        },
        &|| {
            let is_off = node.pod_level_resources == PodLevelResources::Disabled;
            let message = "PodLevelResources feature gate is disabled".to_owned();
            (is_off && core_cm::resources::pod_level(spec).is_some())
                .then_some((RejectReason::PodLevelResourcesNotSupported, message))
        },
    ];
    match checks.into_iter().find_map(|check| check()) {
        Some((reason, message)) => Admission::Reject { reason, message },
        None => Admission::Admit,
    }
}

fn other_operating_system(pod: &Pod, spec: &PodSpec) -> Option<(RejectReason, String)> {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL));
    if label.is_some_and(|name| name != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some((RejectReason::PodOsSelectorNodeLabelDoesNotMatch, message.to_owned()));
    }
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return Some((RejectReason::PodOsNotSupported, message.to_owned()));
    }
    None
}
