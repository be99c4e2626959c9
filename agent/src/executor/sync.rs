//! Brings a running pod to what its spec says (CONTRACT 3.7, 3.9): cgroup, directories, volumes, then the plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use core_cm::PodResources;
use core_cm::cgroup::CgroupPath;
use core_cm::resize::{ResizeNeeds, resize_needs};
use core_pods::unsupported::unsupported_fields;
use core_pods::worker::Touched;
use core_runtime::backoff::CrashBackoff;
use core_runtime::plan::{Action, PlanInput, PodPlan, Progress, SandboxChange};
use core_runtime::text::pod_text;
use core_runtime::{RuntimeEventText, plan};
use core_types::api::Pod;
use core_types::{ContainerKind, PodExt, SandboxId};

use super::Executor;
use super::containers::PodSetup;
use super::context::{Op, StepError, StepResult};
use super::user_namespaces::wants_own_users;
use crate::events::Happening;

/// How soon a pod is tried again that waits for the runtime's network (CONTRACT 3.6).
const NETWORK_RETRY: Duration = Duration::from_secs(1);

/// What a failed start of a container means for the rest of the plan.
enum AfterStart {
    GoOn,
    Stop,
}

impl Executor {
    /// Syncs the pod once.
    pub(super) async fn sync(&self, op: &mut Op, pod: &Pod) -> StepResult<()> {
        check_supported(op, pod).await?;
        self.check_network(op, pod).await?;
        if op.actuated == PodResources::default() {
            // Nothing was noted of it: it is new, or runs since before notes were taken, with what it asks for.
            op.put_in_force(PodResources::of(pod)).await;
        }
        let needs = resize_needs(pod, &op.observed, &op.actuated, &self.settings.node_facts);
        self.ensure_cgroups(op, pod, &needs).await?;
        let volumes = self.set_up_volumes(op, pod).await?;
        let plan = self.plan(op, pod, &needs);
        for wait in &plan.waiting {
            op.container_waits(&wait.name, wait.reason.as_str(), &wait.message);
            let event = RuntimeEventText::BackOffRestart { container: wait.name.clone(), pod: pod_text(pod) };
            op.tell(event, &pod.field_path_of(&wait.name)).await;
        }
        if let Some(at) = plan.next_deadline {
            op.again_at(at);
        }
        self.take_turn(op, &plan).await?;
        let result = self.carry_out(op, pod, (&plan, &needs), volumes).await;
        op.turn = None;
        let starts_sandbox = plan.actions.iter().any(|action| matches!(action, Action::CreateSandbox { .. }));
        if starts_sandbox && wants_own_users(pod) {
            let failed = matches!(result, Err(StepError::Failed { .. }));
            op.notes.metrics.user_namespaced_pod_started(failed);
        }
        result
    }

    /// Waits for a turn, if the plan starts something.
    async fn take_turn(&self, op: &mut Op, plan: &PodPlan) -> StepResult<()> {
        let starts =
            |action: &Action| matches!(action, Action::CreateSandbox { .. } | Action::StartContainer { .. });
        if !plan.actions.iter().any(starts) {
            return Ok(());
        }
        op.turn = self.turns.try_take();
        if op.turn.is_none() {
            op.notes.doing("", "waiting while other pods are started").await;
            let cancel = op.cancel.clone();
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                turn = self.turns.take() => op.turn = turn,
            }
        }
        op.check_cancelled()
    }

    async fn check_network(&self, op: &Op, pod: &Pod) -> StepResult<()> {
        let Some(problem) = op.runtime.network_problem().filter(|_| !pod.is_host_network()) else {
            return Ok(());
        };
        let message = format!("network is not ready: {problem}");
        op.happened(Happening::warning("NetworkNotReady", message.clone())).await;
        let retry_at = Some(op.now().mono + NETWORK_RETRY);
        Err(StepError::Failed { reason: "NetworkNotReady", message, retry_at })
    }

    async fn ensure_cgroups(&self, op: &Op, pod: &Pod, needs: &ResizeNeeds) -> StepResult<()> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let path = CgroupPath::pod(core_cm::qos_class(pod), &op.uid);
        self.size_classes(op).await.map_err(|error| StepError::failed("FailedCreatePodContainer", error))?;
        // The order of a resize is its plan's.
        if !needs.is_empty() && cgroups.exists(&path).await.unwrap_or(false) {
            return Ok(());
        }
        self.ensure_pod_cgroup(op, pod, &path).await
    }

    async fn ensure_pod_cgroup(&self, op: &Op, pod: &Pod, path: &CgroupPath) -> StepResult<()> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let values = core_cm::pod_values(pod, &self.settings.node_facts);
        if let Err(error) = cgroups.ensure(path, &values).await {
            let message = format!("unable to ensure pod container exists: {error}");
            op.happened(Happening::warning("FailedCreatePodContainer", message.clone())).await;
            return Err(StepError::failed("FailedCreatePodContainer", message));
        }
        Ok(())
    }

    fn plan(&self, op: &mut Op, pod: &Pod, needs: &ResizeNeeds) -> PodPlan {
        let now = op.now();
        let growth = self.settings.crash_backoff;
        let backoff = op.memory.crash.get_or_insert_with(|| CrashBackoff::new(growth));
        let rules = self.settings.resources.gates.restart_rules;
        backoff.observe(pod, &op.observed, rules, now);
        let (unstarted, failed) = (&op.probes.unstarted, &op.probes.failed);
        let resized = &needs.restarts;
        plan(&PlanInput { pod, observed: &op.observed, backoff, unstarted, failed, resized, rules, now })
    }

    async fn carry_out(
        &self,
        op: &mut Op,
        pod: &Pod,
        (plan, needs): (&PodPlan, &ResizeNeeds),
        volumes: BTreeMap<String, PathBuf>,
    ) -> StepResult<()> {
        let begun_at = op.now().mono;
        let mut setup = PodSetup::new(pod, volumes, &op.observed);
        let mut failure = None;
        let mut to_resize =
            Some(needs).filter(|needs| !needs.is_empty() && plan.progress == Progress::Running);
        let mut actions = plan.actions.iter().peekable();
        while let Some(action) = actions.next() {
            if matches!(action, Action::StartContainer { .. })
                && let Some(needs) = to_resize.take()
            {
                failure = self.resize(op, pod, needs).await.err();
            }
            op.check_cancelled()?;
            op.touched = Touched::Runtime;
            match action {
                Action::StopContainers(first) => {
                    let mut stages = vec![first.as_slice()];
                    while let Some(Action::StopContainers(next)) = actions.peek() {
                        stages.push(next);
                        actions.next();
                    }
                    self.stop_stages(op, Some(pod), &stages, begun_at).await?;
                }
                Action::StopSandbox(id) => self.stop_sandbox(op, id).await?,
                Action::CreateSandbox { attempt, change } => {
                    self.note_sandbox_change(op, *change).await;
                    if to_resize.take().is_some() {
                        self.resize_stopped(op, pod).await?;
                    }
                    self.create_sandbox(op, &mut setup, *attempt).await?;
                }
                Action::StartContainer { name, kind, restart_count } => {
                    if let Err(error) = self.start_container(op, &mut setup, name, *restart_count).await {
                        if let (AfterStart::Stop, _) | (_, StepError::Cancelled) =
                            (after_start(*kind), &error)
                        {
                            return Err(error);
                        }
                        failure.get_or_insert(error);
                    }
                }
                Action::RemoveContainer(id) => {
                    let removed = self.outside.runtime.remove_container(id).await;
                    removed.map_err(|error| StepError::failed("FailedRemove", error))?;
                }
            }
        }
        if let Some(needs) = to_resize {
            op.touched = Touched::Runtime;
            failure = failure.or(self.resize(op, pod, needs).await.err());
        }
        failure.map_or(Ok(()), Err)
    }

    /// Nothing of the pod runs: its containers are made with their new sizes, only its cgroup must follow.
    async fn resize_stopped(&self, op: &mut Op, pod: &Pod) -> StepResult<()> {
        let path = CgroupPath::pod(core_cm::qos_class(pod), &op.uid);
        self.ensure_pod_cgroup(op, pod, &path).await?;
        op.put_in_force(PodResources::of(pod)).await;
        Ok(())
    }

    async fn stop_sandbox(&self, op: &Op, id: &SandboxId) -> StepResult<()> {
        op.notes.doing("", "stopping the sandbox").await;
        let stopped = self.outside.runtime.stop_sandbox(id).await;
        stopped
            .map_err(|error| StepError::failed("FailedKillPod", format!("cannot stop the sandbox: {error}")))
    }

    async fn note_sandbox_change(&self, op: &Op, change: SandboxChange) {
        if change.is_replacement() {
            op.tell(RuntimeEventText::SandboxChanged, "").await;
        }
    }
}

/// A pod of the API server may ask for what this agent does not do yet: it must not run as if it had not.
async fn check_supported(op: &Op, pod: &Pod) -> StepResult<()> {
    let refused = pod.spec_ref().map(unsupported_fields).unwrap_or_default();
    let Some(error) = refused.first() else { return Ok(()) };
    op.happened(Happening::warning("Unsupported", error.to_string())).await;
    Err(StepError::failed("Unsupported", error))
}

/// An init container that cannot start holds back the rest; the others do not hold back each other.
fn after_start(kind: ContainerKind) -> AfterStart {
    match kind {
        ContainerKind::Init => AfterStart::Stop,
        ContainerKind::Sidecar | ContainerKind::Regular | ContainerKind::Ephemeral => AfterStart::GoOn,
    }
}
