//! The status of a pod as the API shows it, and why the pod is in that state.
//!
//! [`generate`] is a planner without memory: what the pod should be, what the runtime shows, what the executor and the
//! probes know, and the last status go in; the new status comes out (CONTRACT 3.13, 3.17, 3.29). [`explain`] turns a
//! published pod into the content of `podwright why POD`.
//!
//! Guarantees:
//! - The same input gives the same status, and a status that is fed back as the last one comes out unchanged, except that
//!   the last sign of a restart of all containers is shown once.
//! - ST-1: a terminal phase never changes. ST-2: `restartCount` never falls.
//! - SP-2: with the last status at hand, nothing changes because the agent was restarted.
//! - ST-3: a status sent is never older than one acknowledged ([`StatusManager`]).
//!
//! Left out: DRA and device health, which own parts of the status that do not exist yet.

mod addresses;
mod conditions;
mod containers;
mod explain;
mod finish;
mod manager;
mod patch;
mod phase;
mod resources;
mod restart;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use core_cm::PodResources;
use core_cm::resize::ResizeConditions;
use core_types::api::{Pod, PodStatus};
use core_types::view::Lifecycle;
use core_types::{ContainerId, ObservedPod, PodGates, QosClass, RestartRules, WallTime};

pub use core_types::runtime::RecursiveReadOnly;
pub use explain::{Cause, ContainerRow, Explanation, LastError, ProbeWord, State, explain};
pub use manager::{Answer, Job, Removal, StatusManager, Target, Work};
pub use patch::{Containers, status_patch};
pub use start::{Creation, PodStart, StartTimes};

/// Everything that a pod's status depends on.
#[derive(Clone, Debug)]
pub struct StatusInput<'a> {
    /// Desired pod. Its own `status` is what the API server has, where there is one.
    pub pod: &'a Pod,
    /// What the runtime shows; `None` when it has not been asked or holds nothing.
    pub observed: Option<&'a ObservedPod>,
    /// Life of this incarnation.
    pub lifecycle: Lifecycle,
    /// Status generated last; `None` for the first one, then the API server's counts.
    pub previous: Option<&'a PodStatus>,
    /// Why containers do not start, by container name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// What probes say, by container. A container with a probe and without an entry has not been probed.
    pub probes: &'a BTreeMap<ContainerId, ProbeResults>,
    /// What the kernel said of processes that it killed for lack of memory, by container.
    pub oom_kills: &'a BTreeMap<ContainerId, String>,
    /// A decision against the pod as a whole.
    pub verdict: Verdict<'a>,
    /// Facts of the node.
    pub node: &'a NodeFacts,
    /// What is known of its resources and their change. The pod itself has the resources that it was given.
    pub resources: ResourceFacts<'a>,
    /// QoS class (`core/cm` computes it).
    pub qos: QosClass,
    /// The time.
    pub now: WallTime,
}

/// What is known of a pod's resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceFacts<'a> {
    /// Conditions of its resize.
    pub conditions: Option<&'a ResizeConditions>,
    /// What is in force.
    pub actuated: Option<&'a PodResources>,
    /// Whether the sums of the pod as a whole are shown.
    pub whole: WholeResources,
}

/// Whether a status shows the resources of the pod as a whole (`InPlacePodLevelResourcesVerticalScaling`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WholeResources {
    /// They are shown.
    Shown,
    /// They are not.
    #[default]
    Hidden,
}

/// Facts of the node that show in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Addresses of the node: the primary one, and at most one of the other family. The family of the first one is
    /// preferred for pods too.
    pub node_ips: Vec<String>,
    /// Name of the runtime: the prefix of container IDs.
    pub runtime_name: String,
    /// What the pod's runtime handler can do.
    pub recursive_read_only: RecursiveReadOnly,
    /// What pods may use.
    pub gates: PodGates,
}

/// Why a container does not run (CONTRACT 3.13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase reason, e.g. `CrashLoopBackOff`.
    pub reason: String,
    /// Text for people.
    pub message: String,
}

/// Latest result of one probe of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeResult {
    /// None yet.
    #[default]
    Unknown,
    /// It passed.
    Success,
    /// It failed.
    Failure,
}

/// Results that decide about `started` and `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeResults {
    /// Startup probe.
    pub startup: ProbeResult,
    /// Readiness probe.
    pub readiness: ProbeResult,
}

/// A decision against a pod as a whole, which makes it Failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// None: the containers decide.
    None,
    /// The node did not take it (CONTRACT 3.4).
    Rejected {
        /// CamelCase reason, e.g. `NodeAffinity`.
        reason: &'a str,
        /// Text for people.
        message: &'a str,
    },
    /// It was evicted, or ran longer than `activeDeadlineSeconds`.
    Evicted {
        /// CamelCase reason, e.g. `Evicted`.
        reason: &'a str,
        /// Text for people.
        message: &'a str,
        /// Message of the condition `DisruptionTarget`; empty when the pod's own terms ended it.
        disruption: &'a str,
    },
}

/// The pod's status now. See the crate's documentation for what holds of it.
pub fn generate(input: &StatusInput<'_>) -> PodStatus {
    let reported = input.pod.status.clone().unwrap_or_default();
    let old = input.previous.unwrap_or(&reported);
    let mut status = match input.verdict {
        Verdict::Rejected { reason, message } => rejected(old, reason, message),
        Verdict::None | Verdict::Evicted { .. } => {
            let mut status = PodStatus {
                container_statuses: Some(containers::regular(input, old)),
                init_container_statuses: Some(containers::init(input, old)),
                ephemeral_container_statuses: Some(containers::ephemeral(input, old)),
                ..PodStatus::default()
            };
            if input.lifecycle == Lifecycle::Finished {
                finish::end_containers(input.pod, old, &mut status);
            }
            phase::decide(input, old, &reported, &mut status);
            conditions::set(input, old, &reported, &mut status);
            resources::set(input, &mut status);
            addresses::set(input, old, &mut status);
            status
        }
    };
    status.qos_class = Some(input.qos.as_str().to_owned());
    status.observed_generation = input.pod.metadata.generation.max(old.observed_generation);
    status.start_time = old.start_time.clone().or_else(|| Some(first_seen(input).to_api()));
    status.volume_health.clone_from(&old.volume_health);
    status.resource_claim_statuses.clone_from(&reported.resource_claim_statuses);
    status.extended_resource_claim_status.clone_from(&reported.extended_resource_claim_status);
    status.nominated_node_name.clone_from(&reported.nominated_node_name);
    finish::normalize(input.pod, &mut status);
    status
}

/// Status of a pod that the node did not take: nothing of it ever ran here (upstream's `rejectPod`).
fn rejected(old: &PodStatus, reason: &str, message: &str) -> PodStatus {
    if phase::is_terminal(old) {
        return old.clone();
    }
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(format!("Pod was rejected: {message}")),
        ..PodStatus::default()
    }
}

impl StatusInput<'_> {
    /// Which restart rules count.
    fn rules(&self) -> RestartRules {
        self.node.gates.restart_rules
    }
}

/// When the pod was first seen: now, or when its first sandbox was made by an agent that ran before this one.
fn first_seen(input: &StatusInput<'_>) -> WallTime {
    let sandboxes = input.observed.into_iter().flat_map(|observed| &observed.sandboxes);
    let created = sandboxes.map(|sandbox| sandbox.0.summary.created_at).filter(|time| !time.is_unset());
    created.chain([input.now]).min().unwrap_or(input.now)
}
