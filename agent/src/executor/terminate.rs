//! Stops a pod: its containers stage by stage within the grace, then its sandboxes (CONTRACT 3.14).

use std::time::Duration;

use core_runtime::plan::{Grace, StopContainer};
use core_runtime::termination_plan;
use core_types::api::Pod;
use core_types::{ContainerKind, ContainerRef, MonoTime, PodExt};
use futures_util::future::join_all;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use crate::events::Happening;

/// Least time a container gets to end by itself, in seconds: what is left of the grace is never less.
const LEAST_STOP_SECS: u64 = 1;

impl Executor {
    /// Stops everything that the runtime shows of the pod.
    pub(super) async fn terminate(&self, op: &mut Op, pod: Option<&Pod>, grace_secs: i64) -> StepResult<()> {
        op.notes.doing("", format!("stopping, {grace_secs} s of grace left")).await;
        let plan = termination_plan(pod, &op.observed, Grace::Secs(grace_secs));
        let begun_at = op.now().mono;
        for stage in &plan.stages {
            self.stop_containers(op, pod, stage, begun_at).await?;
        }
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

    /// Stops containers side by side and waits for all. Grace runs from `begun_at`.
    pub(super) async fn stop_containers(
        &self,
        op: &Op,
        pod: Option<&Pod>,
        stops: &[StopContainer],
        begun_at: MonoTime,
    ) -> StepResult<()> {
        op.check_cancelled()?;
        for stop in stops {
            op.happened(Happening::normal("Killing", stop.message.clone()).of(field_path(pod, stop))).await;
        }
        let elapsed = op.now().mono.since(begun_at);
        let all = join_all(stops.iter().map(|stop| async move {
            let grace = Duration::from_secs(u64::try_from(stop.grace_secs).unwrap_or(0));
            let left = grace.saturating_sub(elapsed).max(Duration::from_secs(LEAST_STOP_SECS));
            self.outside.runtime.stop_container(&stop.id, left).await
        }));
        let results = tokio::select! {
            biased;
            () = op.cancel.cancelled() => return Err(StepError::Cancelled),
            results = all => results,
        };
        for (stop, result) in stops.iter().zip(results) {
            if let Err(error) = result {
                let message = format!("error killing pod: cannot stop container {}: {error}", stop.name);
                op.happened(Happening::warning("FailedKillPod", message.clone())).await;
                return Err(StepError::failed("FailedKillPod", message));
            }
        }
        Ok(())
    }
}

/// Where the container stands in the spec; what its kind tells when there is no spec.
fn field_path(pod: Option<&Pod>, stop: &StopContainer) -> String {
    let found = pod.and_then(|pod| pod.container_refs().into_iter().find(|c| c.spec.name == stop.name));
    match found {
        Some(container) => ContainerRef::field_path(&container),
        None => match stop.kind {
            ContainerKind::Init | ContainerKind::Sidecar => format!("spec.initContainers{{{}}}", stop.name),
            ContainerKind::Regular => format!("spec.containers{{{}}}", stop.name),
            ContainerKind::Ephemeral => format!("spec.ephemeralContainers{{{}}}", stop.name),
        },
    }
}
