//! Stops a pod: its containers stage by stage within the grace, each after its preStop hook, then its sandboxes
//! (CONTRACT 3.14).

use std::time::Duration;

use core_runtime::plan::{Grace, MIN_GRACE_SECS, StopContainer};
use core_runtime::termination_plan;
use core_types::MonoTime;
use core_types::api::Pod;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use crate::events::Happening;

/// Least time a container gets to end by itself: what is left of the grace is never less.
const LEAST_STOP: Duration = Duration::from_secs(MIN_GRACE_SECS.unsigned_abs());

impl Executor {
    /// Stops everything that the runtime shows of the pod.
    pub(super) async fn terminate(&self, op: &mut Op, pod: Option<&Pod>, grace_secs: i64) -> StepResult<()> {
        op.notes.doing("", format!("stopping, {grace_secs} s of grace left")).await;
        let plan = termination_plan(pod, &op.observed, Grace::Secs(grace_secs));
        let begun_at = op.now().mono;
        let stages: Vec<&[StopContainer]> = plan.stages.iter().map(Vec::as_slice).collect();
        self.stop_stages(op, pod, &stages, begun_at).await?;
        for sandbox in &plan.sandboxes {
            op.check_cancelled()?;
            self.outside.runtime.stop_sandbox(sandbox).await.map_err(|error| {
                StepError::failed(
                    "FailedKillPod",
                    format!("error killing pod: cannot stop its sandbox: {error}"),
                )
            })?;
        }
        Ok(())
    }

    /// Stops the containers of each stage side by side, stage after stage, and waits for all. All preStop hooks start at
    /// once. Grace runs from `begun_at`.
    pub(super) async fn stop_stages(
        &self,
        op: &Op,
        pod: Option<&Pod>,
        stages: &[&[StopContainer]],
        begun_at: MonoTime,
    ) -> StepResult<()> {
        op.check_cancelled()?;
        // How many stages have ended.
        let (ended, _) = watch::channel(0_usize);
        let ended = &ended;
        let all = try_join_all(stages.iter().enumerate().map(|(index, stage)| async move {
            let stops = stage.iter().map(|stop| async move {
                let mut turn = ended.subscribe();
                // It cannot be closed: its sender lives as long as the stages.
                let turn = async move { turn.wait_for(|ended| *ended == index).await.map_or((), |_| ()) };
                self.stop_container(op, pod, stop, begun_at, turn).await
            });
            let result = join_all(stops).await.into_iter().collect::<StepResult<()>>();
            ended.send_replace(index + 1);
            result
        }));
        tokio::select! {
            biased;
            () = op.cancel.cancelled() => Err(StepError::Cancelled),
            result = all => result.map(|_| ()),
        }
    }

    /// Runs a container's preStop hook, waits for its turn and stops it.
    async fn stop_container(
        &self,
        op: &Op,
        pod: Option<&Pod>,
        stop: &StopContainer,
        begun_at: MonoTime,
        turn: impl Future<Output = ()>,
    ) -> StepResult<()> {
        let field_path = stop.kind.field_path(&stop.name);
        op.happened(Happening::normal("Killing", stop.message.clone()).of(field_path.as_str())).await;
        let grace = Duration::from_secs(u64::try_from(stop.grace_secs).unwrap_or(0));
        let left = || grace.saturating_sub(op.now().mono.since(begun_at)).max(LEAST_STOP);
        self.pre_stop(op, pod, (stop, &field_path), left()).await;
        turn.await;
        let stopped = self.outside.runtime.stop_container(&stop.id, left()).await;
        let Err(error) = stopped else { return Ok(()) };
        let message = format!("error killing pod: cannot stop container {}: {error}", stop.name);
        op.happened(Happening::warning("FailedKillPod", message.clone())).await;
        Err(StepError::failed("FailedKillPod", message))
    }
}
