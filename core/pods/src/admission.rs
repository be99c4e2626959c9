//! Whether this node takes a pod: the checks of CONTRACT 3.4 that need nothing but the pod, the node's facts and the
//! other pods on the node. They hold for pods of every source.
//!
//! Reads the pod with its defaults. Gives the first reason to refuse it, in upstream's order and words: pressure, sysctls, operating
//! system, groups policy, resources, node affinity, node name, host ports, taints, AppArmor, resources of the
//! pod as a whole, features of the node, shutdown of the machine. Where only resources are missing and the pod is critical, it says which other pods must end for it.
//!
//! Left out, because they need managers: topology and devices.

mod app_armor;
mod fit;
mod node_affinity;
mod ports;
mod preempt;
mod pressure;
mod sysctl;
mod taints;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use core_cm::is_critical;
use core_types::api::{Pod, PodSpec};
use core_types::pressure::Pressures;
use core_types::{PodExt, PodUid, RestartRules, Shutdown};
use k8s_openapi::api::core::v1::Taint;

pub use app_armor::AppArmor;
pub use fit::NodeAllocatable;
pub use sysctl::{KernelVersion, SysctlAllowList, SysctlPatternError};

/// The label that names an operating system.
const OS_LABEL: &str = "kubernetes.io/os";

/// Why a pod is refused; its text is the pod's `status.reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The node is short of something.
    Evicted,
    /// A sysctl is not allowed on this node.
    SysctlForbidden,
    /// The pod's label names another operating system.
    PodOsSelectorNodeLabelDoesNotMatch,
    /// `spec.os` names another operating system.
    PodOsNotSupported,
    /// The pod wants only the groups that it names, and the runtime cannot do that.
    SupplementalGroupsPolicyNotSupported,
    /// Too little of a resource is left; the resource's name.
    OutOf(String),
    /// `spec.nodeSelector` or the required node affinity excludes this node.
    NodeAffinity,
    /// `spec.nodeName` is another node.
    NodeName,
    /// Another pod has a host port.
    NodePorts,
    /// The node has a taint `NoExecute` that the pod does not tolerate.
    TaintToleration,
    /// The pod is critical, and no pods can be ended for it.
    UnexpectedAdmissionError,
    /// The pod has an AppArmor profile, and the host has no AppArmor.
    AppArmor,
    /// The machine goes down.
    NodeShutdown,
    /// The pod asks for a feature that is off on this node.
    PodFeatureUnsupported,
    /// The pod has resources as a whole, and the feature gate `PodLevelResources` is off.
    PodLevelResourcesNotSupported,
}

impl RejectReason {
    /// Upstream's reason text.
    pub fn as_str(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Evicted => "Evicted",
            Self::SysctlForbidden => "SysctlForbidden",
            Self::PodOsSelectorNodeLabelDoesNotMatch => "PodOSSelectorNodeLabelDoesNotMatch",
            Self::PodOsNotSupported => "PodOSNotSupported",
            Self::SupplementalGroupsPolicyNotSupported => "SupplementalGroupsPolicyNotSupported",
            Self::OutOf(resource) => return Cow::Owned(format!("OutOf{resource}")),
            Self::NodeAffinity => "NodeAffinity",
            Self::NodeName => "NodeName",
            Self::NodePorts => "NodePorts",
            Self::TaintToleration => "TaintToleration",
            Self::AppArmor => "AppArmor",
            Self::NodeShutdown => "NodeShutdown",
            Self::UnexpectedAdmissionError => "UnexpectedAdmissionError",
            Self::PodFeatureUnsupported => "PodFeatureUnsupported",
            Self::PodLevelResourcesNotSupported => "PodLevelResourcesNotSupported",
        })
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The pod may run here.
    Admit,
    /// It may, once these pods have ended: it is critical.
    Preempt {
        /// The pods to end.
        victims: Vec<PodUid>,
        /// The first resource that is missing.
        resource: String,
    },
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
    /// Its taints.
    pub taints: &'a [Taint],
    /// What pods may use together.
    pub allocatable: &'a NodeAllocatable,
    /// Sysctls that pods may set.
    pub sysctls: &'a SysctlAllowList,
    /// Whether AppArmor profiles are enforced.
    pub app_armor: AppArmor,
    /// Whether the runtime honours `supplementalGroupsPolicy: Strict`.
    pub strict_groups: StrictGroups,
    /// Whether pods may have resources as a whole.
    pub pod_level_resources: PodLevelResources,
    /// Which restart rules count.
    pub restart_rules: RestartRules,
    /// What the node is short of.
    pub pressures: Pressures,
    /// Whether the machine goes down.
    pub shutdown: Shutdown,
}

/// Whether other pods may be ended for the pod that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For a critical pod they may.
    Make,
    /// They may not: a running pod that asks for more waits.
    AsItIs,
}

/// What the runtime does with `supplementalGroupsPolicy: Strict` (KEP-3619).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrictGroups {
    /// It is not known yet.
    #[default]
    Unknown,
    /// Processes get the groups of the pod alone.
    Honoured,
    /// It gives the groups of the image too.
    Ignored,
}

type Rejection = (RejectReason, String);

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
pub fn admit(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts<'_>, room: Room) -> Admission {
    let Some(spec) = &pod.spec else { return Admission::Admit };
    let uid = pod.uid();
    let others: Vec<&Pod> = others.iter().map(Arc::as_ref).filter(|other| other.uid() != uid).collect();
    let short = fit::insufficient(pod, &others, node.allocatable);
    let makes_room = room == Room::Make && is_critical(pod);
    let first = || {
        let short = pressure::refusal(pod, spec, node.pressures).map(|text| (RejectReason::Evicted, text));
        let forbidden = || node.sysctls.forbidden(spec).map(|text| (RejectReason::SysctlForbidden, text));
        short.or_else(forbidden).or_else(|| other_operating_system(pod, spec)).or_else(|| {
            let message = unsupported_groups_policy(spec, node.strict_groups)?;
            Some((RejectReason::SupplementalGroupsPolicyNotSupported, message))
        })
    };
    let resources = || short.first().filter(|_| !makes_room).map(fit::Insufficient::rejection);
    let early = first().or_else(resources).or_else(|| wrong_place(pod, spec, &others, node));
    // What comes after the resources in upstream's order is looked at before other pods are ended for nothing.
    match early.or_else(|| unable(pod, spec, node)) {
        Some((reason, message)) => Admission::Reject { reason, message },
        None => match short.first() {
            None => Admission::Admit,
            Some(missing) => make_room(pod, &others, &short, &missing.resource),
        },
    }
}

/// Why a pod that wants only the groups that it names cannot have that; `None` when it can, or when that is not known yet.
pub fn unsupported_groups_policy(spec: &PodSpec, runtime: StrictGroups) -> Option<String> {
    let policy = spec.security_context.as_ref()?.supplemental_groups_policy.as_deref()?;
    (policy == "Strict" && runtime == StrictGroups::Ignored)
        .then(|| "SupplementalGroupsPolicy=Strict is not supported in this node".to_owned())
}

fn make_room(pod: &Pod, others: &[&Pod], short: &[fit::Insufficient], resource: &str) -> Admission {
    match preempt::victims(pod, others, short) {
        Ok(victims) => Admission::Preempt { victims, resource: resource.to_owned() },
        Err(error) => Admission::Reject {
            reason: RejectReason::UnexpectedAdmissionError,
            message: format!("Unexpected error while attempting to recover from admission failure: {error}"),
        },
    }
}

/// Why the pod does not belong on this node, or beside its pods.
fn wrong_place(pod: &Pod, spec: &PodSpec, others: &[&Pod], node: &NodeFacts<'_>) -> Option<Rejection> {
    if !node_affinity::matches(spec, node) {
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Some((RejectReason::NodeAffinity, message.to_owned()));
    }
    let wanted = spec.node_name.as_deref().unwrap_or_default();
    if !wanted.is_empty() && wanted != node.name {
        let message = "Predicate NodeName failed: node(s) didn't match the requested node name";
        return Some((RejectReason::NodeName, message.to_owned()));
    }
    let conflict = ports::conflict(spec, others).map(|text| (RejectReason::NodePorts, text));
    // Static pods are the node's own: no taint keeps them off.
    let keeps_off = || !pod.is_static() && taints::keep_off(spec, node.taints);
    conflict.or_else(|| {
        let message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        keeps_off().then(|| (RejectReason::TaintToleration, message.to_owned()))
    })
}

/// What the pod asks for and the node does not do.
fn unable(pod: &Pod, spec: &PodSpec, node: &NodeFacts<'_>) -> Option<Rejection> {
    if let Some(message) = app_armor::unenforceable(pod, spec, node.app_armor) {
        return Some((RejectReason::AppArmor, message));
    }
    let is_off = node.pod_level_resources == PodLevelResources::Disabled;
    if is_off && core_cm::resources::pod_level(spec).is_some() {
        let message = "PodLevelResources feature gate is disabled".to_owned();
        return Some((RejectReason::PodLevelResourcesNotSupported, message));
    }
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut rules = containers.flat_map(|container| container.restart_policy_rules.iter().flatten());
    let restarts_all = rules.any(|rule| rule.action == "RestartAllContainers");
    if restarts_all && node.restart_rules < RestartRules::OfAllContainers {
        let message =
            "Pod requires node features that are not available: RestartAllContainersOnContainerExits";
        return Some((RejectReason::PodFeatureUnsupported, message.to_owned()));
    }
    (node.shutdown == Shutdown::InProgress).then(|| {
        let message = "Pod was rejected as the node is shutting down.".to_owned();
        (RejectReason::NodeShutdown, message)
    })
}

fn other_operating_system(pod: &Pod, spec: &PodSpec) -> Option<Rejection> {
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
