//! The plan of a pod: which sandbox and containers to stop, create, start and remove, in order (CONTRACT 3.9, 3.11, 3.12).
//!
//! ```text
//! all containers to be restarted?  yes --> stop and remove them all
//!       | no
//! sandbox usable?  no --> may the pod still run?  no --> stop everything: Finished
//!       |                        | yes
//!       | yes                    +--> stop all, remove old init containers, create a sandbox, start the first containers
//!       v
//! init containers --> failed for good: Finished; still running: wait; done: regular containers
//! ```
//!
//! The plan is data; the same picture gives the same plan, and a plan that was carried out leaves nothing to do. It never
//! starts a container whose older instance may still run without stopping that one first, and never without a usable
//! sandbox (kept, or created earlier in the same plan).
//!
//! An ephemeral container is started once, as soon as there is a sandbox, and never again.
//!
//! Left out: sizes of containers that change while they run (`core_cm::resize`), and dead instances that nobody needs any more
//! (`core_reclaim`).

use std::collections::{BTreeMap, BTreeSet};

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::{
    ContainerId, ContainerKind, ContainerRef, MonoTime, ObservedContainer, ObservedPod, PodExt, RestartRules,
    SandboxId,
};

use crate::backoff::{CrashBackoff, CrashWait, Now};
use crate::hooks::{Hook, pre_stop};
use crate::reasons::WaitingReason;
use crate::restart::all_restart;
use crate::text::{go_duration, pod_text};

mod init;
mod regular;
mod reset;
mod sandbox;
mod terminate;
#[cfg(test)]
mod tests;

pub use sandbox::SandboxChange;
pub use terminate::{Grace, MIN_GRACE_SECS, TerminationPlan, post_start_failed, termination_plan};

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The pod as it should be.
    pub pod: &'a Pod,
    /// The pod as the runtime shows it.
    pub observed: &'a ObservedPod,
    /// Crash back-off that has seen this picture ([`CrashBackoff::observe`]).
    pub backoff: &'a CrashBackoff,
    /// Running containers whose startup probe has not succeeded yet. A sidecar among them holds back what follows it.
    pub unstarted: &'a BTreeSet<ContainerId>,
    /// Running containers that must be restarted because of a probe.
    pub failed: &'a BTreeMap<ContainerId, FailedProbe>,
    /// Running containers that must be restarted for their new size (`resizePolicy`).
    pub resized: &'a BTreeSet<ContainerId>,
    /// Which restart rules count.
    pub rules: RestartRules,
    /// The time.
    pub now: Now,
}

/// The probe that a container failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailedProbe {
    /// Its liveness probe.
    Liveness,
    /// Its startup probe.
    Startup,
}

impl FailedProbe {
    /// The end of the `Killing` event.
    const fn text(self) -> &'static str {
        match self {
            Self::Liveness => "failed liveness probe",
            Self::Startup => "failed startup probe",
        }
    }
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Steps, one after another. When one fails the rest waits for the next plan, except that a failed start of a sidecar
    /// or regular container does not hold back the other starts.
    pub actions: Vec<Action>,
    /// Containers that would start but must wait.
    pub waiting: Vec<WaitingContainer>,
    /// When to plan again even if nothing happens.
    pub next_deadline: Option<MonoTime>,
    /// Whether the pod has anything left to run.
    pub progress: Progress,
}

/// Whether a pod has anything left to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something runs, starts or waits.
    Running,
    /// Every container has ended for good; the plan only stops what is left.
    Finished,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop these containers side by side and wait for all of them. Of several such steps in a row, the grace times run and
    /// the preStop hooks start with the first one.
    StopContainers(Vec<StopContainer>),
    /// Stop a sandbox: its network goes.
    StopSandbox(SandboxId),
    /// Create a sandbox.
    CreateSandbox {
        /// Attempt, 0 for the pod's first sandbox.
        attempt: u32,
        /// Why.
        change: SandboxChange,
    },
    /// Create and start a container.
    StartContainer {
        /// Name in the pod spec.
        name: String,
        /// Kind.
        kind: ContainerKind,
        /// Restart count of the new instance.
        restart_count: RestartCount,
    },
    /// Remove a dead container. Its log stays until the pod goes: the restart count of the next instance is read from it.
    RemoveContainer(ContainerId),
}

/// A container to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopContainer {
    /// Instance.
    pub id: ContainerId,
    /// Name in the pod spec.
    pub name: String,
    /// Kind; `Regular` where the spec is not known.
    pub kind: ContainerKind,
    /// Why.
    pub reason: StopReason,
    /// Text of the `Killing` event.
    pub message: String,
    /// Time it has to end by itself, in seconds, preStop hook included.
    pub grace_secs: i64,
    /// Hook to run first; its time limit is the grace.
    pub pre_stop: Option<Hook>,
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Its spec changed.
    SpecChanged,
    /// It gets another size, and its resize policy asks for a restart.
    Resized,
    /// It failed a probe.
    ProbeFailed(FailedProbe),
    /// The runtime does not know its state.
    UnknownState,
    /// A newer instance of it exists.
    Superseded,
    /// Its postStart hook failed.
    PostStartHookFailed,
    /// Its sandbox is replaced.
    SandboxChanged,
    /// A rule of a container asks for a restart of all containers.
    AllRestarting,
    /// The pod has nothing left to run.
    PodFinished,
    /// The pod is being stopped.
    PodTerminating,
}

/// The restart count of a new instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCount {
    /// One more than the newest instance's.
    Known(u32),
    /// The runtime shows no instance: one more than the highest `N.log` of the container, 0 without logs (CONTRACT 3.10).
    FromLogs,
}

/// A container that must wait for its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingContainer {
    /// Name in the pod spec.
    pub name: String,
    /// Kind.
    pub kind: ContainerKind,
    /// Why.
    pub reason: WaitingReason,
    /// Text for `state.waiting.message`.
    pub message: String,
    /// When it may start.
    pub retry_at: MonoTime,
}

/// Makes the plan.
pub fn plan(input: &PlanInput<'_>) -> PodPlan {
    let mut draft = Draft::new(input);
    let is_deleted = input.pod.metadata.deletion_timestamp.is_some();
    if !is_deleted && all_restart(input.pod, input.observed, input.rules) {
        reset::all(&mut draft);
        return draft.finish();
    }
    match sandbox::check(input.pod, input.observed) {
        sandbox::Verdict::Usable(id) => keep(&mut draft, id),
        sandbox::Verdict::Replace { attempt, change } => sandbox::replace(&mut draft, attempt, change),
    }
    draft.finish()
}

/// Plans the containers of a usable sandbox.
fn keep(draft: &mut Draft<'_>, sandbox: &SandboxId) {
    regular::stop_superseded(draft);
    draft.start_ephemeral();
    match init::step(draft, sandbox) {
        init::Outcome::Failed => draft.finish_pod(),
        init::Outcome::InProgress => {}
        init::Outcome::Initialized => {
            if regular::step(draft) == regular::Outcome::NothingLeft {
                draft.finish_pod();
            }
        }
    }
}

/// A plan in the making.
struct Draft<'a> {
    input: PlanInput<'a>,
    containers: Vec<ContainerRef<'a>>,
    stops: Vec<StopContainer>,
    /// Whatever must happen between the stops and the starts.
    sandbox_actions: Vec<Action>,
    starts: Vec<ContainerRef<'a>>,
    /// Ephemeral containers to start. They are held back by nobody.
    ephemeral: Vec<&'a str>,
    progress: Progress,
}

impl<'a> Draft<'a> {
    fn new(input: &PlanInput<'a>) -> Self {
        Self {
            input: *input,
            containers: input.pod.container_refs(),
            stops: Vec::new(),
            sandbox_actions: Vec::new(),
            starts: Vec::new(),
            ephemeral: Vec::new(),
            progress: Progress::Running,
        }
    }

    /// The newest instance of a container.
    fn latest(&self, container: &ContainerRef<'_>) -> Option<&'a ObservedContainer> {
        self.input.observed.latest(&container.spec.name)
    }

    fn start(&mut self, container: ContainerRef<'a>) {
        let is_deleted = self.input.pod.metadata.deletion_timestamp.is_some();
        if !is_deleted && !self.starts.iter().any(|other| other.spec.name == container.spec.name) {
            self.starts.push(container);
        }
    }

    fn start_ephemeral(&mut self) {
        let pod = self.input.pod;
        if pod.metadata.deletion_timestamp.is_none() {
            let never_made = |name: &&str| self.input.observed.latest(name).is_none();
            self.ephemeral = pod.ephemeral_names().into_iter().filter(never_made).collect();
        }
    }

    fn stop(&mut self, container: ContainerRef<'_>, id: &ContainerId, reason: StopReason, message: String) {
        self.stops.push(StopContainer {
            id: id.clone(),
            name: container.spec.name.clone(),
            kind: container.kind,
            reason,
            message,
            grace_secs: terminate::container_grace_secs(self.input.pod, &container, reason),
            pre_stop: pre_stop(container.spec),
        });
    }

    /// The probe that this instance failed, if any.
    fn failed_probe(&self, instance: &ObservedContainer) -> Option<FailedProbe> {
        self.input.failed.get(instance.id()).copied()
    }

    /// Nothing is left to run: only stop what still is.
    fn finish_pod(&mut self) {
        self.progress = Progress::Finished;
        self.stops.clear();
        self.starts.clear();
        self.ephemeral.clear();
        self.sandbox_actions =
            terminate::stop_all(self.input.pod, self.input.observed, StopReason::PodFinished);
        let ready = self.input.observed.sandboxes.iter().filter(|sandbox| sandbox.is_ready());
        self.sandbox_actions.extend(ready.map(|sandbox| Action::StopSandbox(sandbox.id().clone())));
    }

    fn finish(mut self) -> PodPlan {
        let mut actions = Vec::new();
        if !self.stops.is_empty() {
            actions.push(Action::StopContainers(std::mem::take(&mut self.stops)));
        }
        actions.append(&mut self.sandbox_actions);
        actions.extend(self.ephemeral.iter().map(|name| Action::StartContainer {
            name: (*name).to_owned(),
            kind: ContainerKind::Ephemeral,
            restart_count: RestartCount::FromLogs,
        }));
        let mut waiting = Vec::new();
        for container in &self.starts {
            if let Some(wait) = self.back_off(container) {
                waiting.push(WaitingContainer {
                    name: container.spec.name.clone(),
                    kind: container.kind,
                    reason: WaitingReason::CrashLoopBackOff,
                    message: crash_message(self.input.pod, &container.spec.name, wait.delay),
                    retry_at: wait.retry_at,
                });
                if container.kind == ContainerKind::Init {
                    break;
                }
                continue;
            }
            actions.push(Action::StartContainer {
                name: container.spec.name.clone(),
                kind: container.kind,
                restart_count: self.restart_count(container),
            });
        }
        let next_deadline = waiting.iter().map(|container| container.retry_at).min();
        PodPlan { actions, waiting, next_deadline, progress: self.progress }
    }

    /// The wait of a container that has ended. One of which nothing is left starts at once, like a new one.
    fn back_off(&self, container: &ContainerRef<'_>) -> Option<CrashWait> {
        let input = &self.input;
        let mut instances = input.observed.instances(&container.spec.name);
        instances.find(|instance| instance.state() == ContainerState::Exited)?;
        input.backoff.wait(input.pod, container.spec, input.now.mono)
    }

    fn restart_count(&self, container: &ContainerRef<'_>) -> RestartCount {
        self.latest(container).map_or(RestartCount::FromLogs, |latest| {
            RestartCount::Known(latest.restart_count().saturating_add(1))
        })
    }
}

/// Waiting message of a container in crash back-off.
fn crash_message(pod: &Pod, name: &str, delay: std::time::Duration) -> String {
    format!("back-off {} restarting failed container={name} pod={}", go_duration(delay), pod_text(pod))
}
