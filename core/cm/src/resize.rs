//! In-place resize of one pod: from what is in force to what the pod was given, without a restart where its
//! `resizePolicy` allows (CONTRACT 3.25).
//!
//! ```text
//! resize_needs: spec as given, runtime, what is in force --> containers to restart, containers to change
//! resize_plan:  needs, limits of the pod's cgroup        --> what to check, then steps in order
//! ```
//!
//! Memory comes before CPU. Where the pod's limit grows its cgroup goes first, where it shrinks it goes last, so that a
//! container's limit never stands above its pod's; containers that shrink come before those that grow. Each step can be
//! repeated, and a plan that was carried out needs nothing more.
//!
//! Left out: sizes of memory volumes (an alpha feature of upstream), removal of limits, which no source lets through.

mod conditions;

use std::collections::BTreeSet;

use core_types::api::{Container, Pod, ResourceRequirements};
use core_types::runtime::{ContainerState, LinuxResources};
use core_types::{ContainerId, ContainerKind, ObservedContainer, ObservedPod, PodExt};

use crate::cgroup::{CgroupLimits, CgroupValues};
use crate::convert::{shares_from_weight, weight_from_shares};
use crate::linux::{container_resources, sandbox_resources};
use crate::pod_resources::{PodResources, Sizes, desired_sizes, with_sizes};
use crate::resources::amount;
use crate::values::{CgroupVersion, NodeFacts, pod_values};

pub use conditions::{ERROR, Novelty, PendingReason, ResizeCondition, ResizeConditions};

/// What a pod needs to have what it was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResizeNeeds {
    /// Running containers that must be restarted: their policy says so for a resource that changes.
    pub restarts: BTreeSet<ContainerId>,
    /// Containers to change while they run; what they have and shall have.
    changes: Vec<Change>,
    /// Something of the pod differs from what is in force.
    differs: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    id: ContainerId,
    container: Container,
    current: Sizes,
    desired: Sizes,
}

impl ResizeNeeds {
    /// True when everything is as it was given.
    pub fn is_empty(&self) -> bool {
        !self.differs
    }
}

/// What has to change. `pod` has the resources that it was given.
pub fn resize_needs(
    pod: &Pod,
    observed: &ObservedPod,
    actuated: &PodResources,
    node: &NodeFacts,
) -> ResizeNeeds {
    let mut needs = ResizeNeeds {
        differs: whole_sizes(actuated) != whole_sizes(&PodResources::of(pod)),
        ..ResizeNeeds::default()
    };
    for container in pod.container_refs() {
        let (current, desired) = (actuated.sizes(&container.spec.name), desired_sizes(pod, container.spec));
        if current == desired {
            continue;
        }
        needs.differs = true;
        let Some(instance) = running(observed, &container.spec.name) else { continue };
        if needs_restart(container.spec, current, desired) && container.kind != ContainerKind::Init {
            // What was noted may be older than the container: then it has been restarted already. The runtime tells so, except
            // of requests for memory, which it does not know.
            let only_memory_request =
                Sizes { memory_request_bytes: desired.memory_request_bytes, ..current } == desired;
            if only_memory_request || !runs_with(instance, &container_resources(pod, container.spec, node)) {
                needs.restarts.insert(instance.id().clone());
            }
        } else {
            let (id, container) = (instance.id().clone(), container.spec.clone());
            needs.changes.push(Change { id, container, current, desired });
        }
    }
    needs
}

/// Whether something that runs does not have what it was given yet (condition `PodResizeInProgress`). Containers that do
/// not run get it when they start.
pub fn is_resizing(pod: &Pod, observed: &ObservedPod, actuated: &PodResources) -> bool {
    let given = PodResources::of(pod);
    let whole = given.whole.is_some() && actuated.whole.is_some();
    let is_late = |container: &Container| {
        running(observed, &container.name).is_some()
            && actuated.sizes(&container.name) != desired_sizes(pod, container)
    };
    (whole && whole_sizes(&given) != whole_sizes(actuated))
        || pod.container_refs().iter().any(|c| c.kind != ContainerKind::Init && is_late(c.spec))
}

fn running<'a>(observed: &'a ObservedPod, name: &str) -> Option<&'a ObservedContainer> {
    observed.latest(name).filter(|instance| instance.state() == ContainerState::Running)
}

fn whole_sizes(resources: &PodResources) -> Sizes {
    let Some(whole) = &resources.whole else { return Sizes::default() };
    Sizes {
        cpu_request_milli: amount(&whole.requests, "cpu").milli_value(),
        cpu_limit_milli: amount(&whole.limits, "cpu").milli_value(),
        memory_request_bytes: amount(&whole.requests, "memory").value(),
        memory_limit_bytes: amount(&whole.limits, "memory").value(),
    }
}

fn needs_restart(container: &Container, current: Sizes, desired: Sizes) -> bool {
    let restarts = |resource: &str| {
        let policies = container.resize_policy.iter().flatten();
        policies
            .filter(|policy| policy.resource_name == resource)
            .any(|p| p.restart_policy == "RestartContainer")
    };
    let changes_cpu = current.cpu_request_milli != desired.cpu_request_milli
        || current.cpu_limit_milli != desired.cpu_limit_milli;
    let changes_memory = current.memory_request_bytes != desired.memory_request_bytes
        || current.memory_limit_bytes != desired.memory_limit_bytes;
    (changes_cpu && restarts("cpu")) || (changes_memory && restarts("memory"))
}

/// Whether the runtime says that a container has these limits and shares already.
fn runs_with(instance: &ObservedContainer, wanted: &LinuxResources) -> bool {
    let of = |resources: &LinuxResources| {
        let quota_us = resources.cpu_quota_us.max(0);
        (resources.cpu_shares, quota_us, resources.memory_limit_bytes)
    };
    instance.status.resources.as_ref().is_some_and(|known| of(known) == of(wanted))
}

/// A resize as checks and steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResizePlan {
    /// Limits that must not be below what is in use; when one is, no step may be taken.
    pub checks: Vec<MemoryCheck>,
    /// Steps, one after another; the first that fails ends the plan until the next sync.
    pub steps: Vec<ResizeStep>,
}

/// A memory limit that shrinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryCheck {
    /// Of what.
    pub of: MemoryUser,
    /// The new limit in bytes.
    pub limit_bytes: i64,
}

/// Who uses memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryUser {
    /// The pod as a whole.
    Pod,
    /// One container.
    Container {
        /// Instance.
        id: ContainerId,
        /// Name in the pod spec.
        name: String,
    },
}

/// One step of a resize.
#[derive(Clone, Debug, PartialEq)]
pub enum ResizeStep {
    /// Tell the runtime of the pod's resources, then set values of the pod's cgroup.
    Pod {
        /// What to set; everything else stays.
        values: CgroupValues,
        /// What the runtime is told: the pod's sum without overhead.
        resources: Box<LinuxResources>,
    },
    /// Have the runtime change a container.
    Container {
        /// Instance.
        id: ContainerId,
        /// Name in the pod spec.
        name: String,
        /// What it gets.
        resources: Box<LinuxResources>,
        /// What is in force afterwards.
        actuated: ResourceRequirements,
    },
}

/// The steps from what is in force to what the pod was given. `current` are the limits of the pod's cgroup; without pod
/// cgroups only containers change.
pub fn resize_plan(
    pod: &Pod,
    needs: &ResizeNeeds,
    current: Option<&CgroupLimits>,
    node: &NodeFacts,
) -> ResizePlan {
    let mut plan = ResizePlan::default();
    let values = pod_values(pod, node);
    let told = || Box::new(sandbox_resources(pod, node));
    let pod_step = |values| ResizeStep::Pod { values, resources: told() };
    let memory = current.and_then(|current| {
        let (old, new) = (current.memory_limit_bytes.unwrap_or(i64::MAX), values.memory_limit_bytes?);
        let set = CgroupValues { memory_limit_bytes: Some(new), ..CgroupValues::default() };
        (old != new).then(|| (Turn::of(old, new), set))
    });
    if let Some((Turn::Shrinks, CgroupValues { memory_limit_bytes: Some(limit_bytes), .. })) = &memory {
        plan.checks.push(MemoryCheck { of: MemoryUser::Pod, limit_bytes: *limit_bytes });
    }
    let mut changes = needs.changes.clone();
    changes.sort_by_key(|change| change.desired.memory_limit_bytes > change.current.memory_limit_bytes);
    for change in &changes {
        let (old, new) = (change.current.memory_limit_bytes, change.desired.memory_limit_bytes);
        if new != 0 && (old == 0 || new < old) {
            let (id, name) = (change.id.clone(), change.container.name.clone());
            plan.checks.push(MemoryCheck { of: MemoryUser::Container { id, name }, limit_bytes: new });
        }
    }
    let steps = changes.iter_mut().filter_map(|change| change.memory_step(pod, node)).collect();
    plan.around(memory.into_iter().map(|(turn, set)| (turn, pod_step(set))).collect(), steps);

    changes.sort_by_key(|change| change.desired.cpu_limit_milli > change.current.cpu_limit_milli);
    let steps = changes.iter_mut().filter_map(|change| change.cpu_step(pod, node)).collect();
    let pod_steps = current.map(|current| cpu_values(current, &values, node)).unwrap_or_default();
    plan.around(pod_steps.into_iter().map(|(turn, set)| (turn, pod_step(set))).collect(), steps);
    plan
}

/// Which way a value of the pod's cgroup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Grows,
    Shrinks,
}

impl Turn {
    fn of(old: i64, new: i64) -> Self {
        if new > old { Self::Grows } else { Self::Shrinks }
    }
}

/// Quota, then shares of the pod's cgroup, where they change: what grows is set in this order, what shrinks the other way
/// round.
fn cpu_values(current: &CgroupLimits, values: &CgroupValues, node: &NodeFacts) -> Vec<(Turn, CgroupValues)> {
    let mut set = Vec::new();
    let unlimited = |quota_us: Option<i64>| quota_us.filter(|quota| *quota > 0).unwrap_or(i64::MAX);
    if values.cpu_quota_us.is_some() {
        let (old, new) = (unlimited(current.cpu_quota_us), unlimited(values.cpu_quota_us));
        if old != new {
            let (cpu_quota_us, cpu_period_us) = (values.cpu_quota_us, values.cpu_period_us);
            let values = CgroupValues { cpu_quota_us, cpu_period_us, ..CgroupValues::default() };
            set.push((Turn::of(old, new), values));
        }
    }
    // The kernel's weights of version 2 are coarser than shares: compare what comes back.
    let seen = |shares: u64| match node.cgroup_version {
        CgroupVersion::V1 => shares,
        CgroupVersion::V2 => shares_from_weight(weight_from_shares(shares)),
    };
    if let Some(shares) = values.cpu_shares.filter(|shares| seen(*shares) != current.cpu_shares) {
        let turn = if seen(shares) > current.cpu_shares { Turn::Grows } else { Turn::Shrinks };
        set.push((turn, CgroupValues { cpu_shares: Some(shares), ..CgroupValues::default() }));
    }
    set
}

impl ResizePlan {
    /// Steps of containers between those of the pod.
    fn around(&mut self, pod_steps: Vec<(Turn, ResizeStep)>, containers: Vec<ResizeStep>) {
        let (grow, mut shrink): (Vec<_>, Vec<_>) =
            pod_steps.into_iter().partition(|(turn, _)| *turn == Turn::Grows);
        shrink.reverse();
        self.steps.extend(grow.into_iter().map(|(_, step)| step));
        self.steps.extend(containers);
        self.steps.extend(shrink.into_iter().map(|(_, step)| step));
    }
}

impl Change {
    fn memory_step(&mut self, pod: &Pod, node: &NodeFacts) -> Option<ResizeStep> {
        let next = Sizes {
            memory_request_bytes: self.desired.memory_request_bytes,
            memory_limit_bytes: self.desired.memory_limit_bytes,
            ..self.current
        };
        self.step_to(next, pod, node)
    }

    fn cpu_step(&mut self, pod: &Pod, node: &NodeFacts) -> Option<ResizeStep> {
        self.step_to(self.desired, pod, node)
    }

    fn step_to(&mut self, next: Sizes, pod: &Pod, node: &NodeFacts) -> Option<ResizeStep> {
        if next == self.current {
            return None;
        }
        self.current = next;
        let container = with_sizes(&self.container, next);
        Some(ResizeStep::Container {
            id: self.id.clone(),
            name: container.name.clone(),
            resources: Box::new(container_resources(pod, &container, node)),
            actuated: container.resources.unwrap_or_default(),
        })
    }
}

/// Judges the checks of a plan by what is in use; `None` where that is not known. Upstream's words.
///
/// # Errors
/// Why the limits cannot shrink now.
pub fn judge_memory(checks: &[(MemoryCheck, Option<u64>)]) -> Result<(), String> {
    let problems: Vec<String> = checks
        .iter()
        .filter_map(|(check, usage)| {
            let limit = check.limit_bytes;
            match (&check.of, usage) {
                (MemoryUser::Pod, None) => Some("missing pod memory usage".to_owned()),
                (MemoryUser::Container { name, .. }, None) => {
                    Some(format!("missing container {name:?} memory usage"))
                }
                (_, Some(used)) if i64::try_from(*used).is_ok_and(|used| used < limit) => None,
                (MemoryUser::Pod, Some(used)) => {
                    Some(format!("attempting to set pod memory limit ({limit}) below current usage ({used})"))
                }
                (MemoryUser::Container { name, .. }, Some(used)) => Some(format!(
                    "attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
                )),
            }
        })
        .collect();
    match problems.as_slice() {
        [] => Ok(()),
        [only] => Err(format!("cannot decrease memory limits: {only}")),
        several => Err(format!("cannot decrease memory limits: [{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests;
