//! The order in which a pod is stopped: regular containers side by side, then sidecars from the last to the first, then
//! the sandboxes (CONTRACT 3.11, 3.14). Works without the pod's spec too, from what its containers' annotations tell.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use core_types::api::Pod;
use core_types::{
    ContainerId, ContainerKind, ContainerRef, ObservedContainer, ObservedPod, PodExt, SandboxId, keys,
};

use super::{Action, FailedProbe, StopContainer, StopReason};
use crate::hooks::{Hook, pre_stop, recorded_pre_stop};

/// Time every container gets at least to end by itself, in seconds.
pub const MIN_GRACE_SECS: i64 = 2;

/// How long a pod has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// As its deletion or its spec says.
    FromPod,
    /// This many seconds, whatever the pod says.
    Secs(i64),
}

/// How to stop a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminationPlan {
    /// Containers of one stage are stopped side by side; a stage starts when the one before has ended or its grace is
    /// over. All grace times run and all preStop hooks start with the first stage.
    pub stages: Vec<Vec<StopContainer>>,
    /// Sandboxes to stop at the end.
    pub sandboxes: Vec<SandboxId>,
}

/// Plans the stop of a pod. `pod` is `None` when only the runtime knows it.
pub fn termination_plan(pod: Option<&Pod>, observed: &ObservedPod, grace: Grace) -> TerminationPlan {
    let stages = match pod {
        Some(pod) => stages(pod, observed, StopReason::PodTerminating, pod_grace_secs(pod, grace)),
        None => recorded_stages(observed, grace),
    };
    let ready = observed.sandboxes.iter().filter(|sandbox| sandbox.is_ready());
    TerminationPlan { stages, sandboxes: ready.map(|sandbox| sandbox.id().clone()).collect() }
}

/// The stop of a container whose postStart hook failed right after its start.
pub fn post_start_failed(
    pod: &Pod,
    container: &ContainerRef<'_>,
    id: ContainerId,
    grace: Grace,
) -> StopContainer {
    StopContainer {
        id,
        name: container.spec.name.clone(),
        kind: container.kind,
        reason: StopReason::PostStartHookFailed,
        message: "FailedPostStartHook".to_owned(),
        grace_secs: pod_grace_secs(pod, grace),
        pre_stop: pre_stop(container.spec),
    }
}

/// Steps that stop every live container of the pod, in order.
pub(super) fn stop_all(pod: &Pod, observed: &ObservedPod, reason: StopReason) -> Vec<Action> {
    let stages = stages(pod, observed, reason, pod_grace_secs(pod, Grace::FromPod));
    stages.into_iter().map(Action::StopContainers).collect()
}

/// Steps that stop the containers of the pod's two lists for a start anew: nobody waits for them (CONTRACT 3.12).
pub(super) fn stop_for_restart(pod: &Pod, observed: &ObservedPod) -> Vec<Action> {
    let refs = pod.container_refs();
    let mut stages = stages(pod, observed, StopReason::AllRestarting, MIN_GRACE_SECS);
    for stage in &mut stages {
        stage.retain(|stop| refs.iter().any(|container| container.spec.name == stop.name));
        for stop in stage {
            "killing".clone_into(&mut stop.message);
            stop.pre_stop = None;
        }
    }
    non_empty(stages).into_iter().map(Action::StopContainers).collect()
}

/// Grace of a pod in seconds: the caller's, else the deletion's, else the spec's; never below the minimum.
pub(super) fn pod_grace_secs(pod: &Pod, grace: Grace) -> i64 {
    let secs = match grace {
        Grace::Secs(secs) => secs,
        Grace::FromPod => {
            pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_period_secs())
        }
    };
    secs.max(MIN_GRACE_SECS)
}

/// Grace of one container of a pod that goes on, in seconds: after a failed probe the probe's own, if it has one.
pub(super) fn container_grace_secs(pod: &Pod, container: &ContainerRef<'_>, reason: StopReason) -> i64 {
    let probe = match reason {
        StopReason::ProbeFailed(FailedProbe::Liveness) => container.spec.liveness_probe.as_ref(),
        StopReason::ProbeFailed(FailedProbe::Startup) => container.spec.startup_probe.as_ref(),
        _ => None,
    };
    match probe.and_then(|probe| probe.termination_grace_period_seconds) {
        Some(secs) if pod.metadata.deletion_grace_period_seconds.is_none() => secs.max(MIN_GRACE_SECS),
        _ => pod_grace_secs(pod, Grace::FromPod),
    }
}

/// Grace that was written on the container when it was created.
fn recorded_grace_secs(container: &ObservedContainer, grace: Grace) -> i64 {
    let recorded = |key: &str| container.status.annotations.get(key).and_then(|text| text.parse().ok());
    let secs = match grace {
        Grace::Secs(secs) => secs,
        Grace::FromPod => recorded(keys::POD_DELETION_GRACE_PERIOD_ANNOTATION)
            .or_else(|| recorded(keys::POD_TERMINATION_GRACE_PERIOD_ANNOTATION))
            .unwrap_or(MIN_GRACE_SECS),
    };
    secs.max(MIN_GRACE_SECS)
}

fn stages(pod: &Pod, observed: &ObservedPod, reason: StopReason, grace_secs: i64) -> Vec<Vec<StopContainer>> {
    let containers = pod.container_refs();
    let ephemeral = pod.ephemeral_names();
    let spec_of = |name: &str| {
        let found = containers.iter().find(|container| container.spec.name == name);
        let kind = if ephemeral.contains(&name) { ContainerKind::Ephemeral } else { ContainerKind::Regular };
        found.map_or((kind, None), |found| (found.kind, pre_stop(found.spec)))
    };
    let live = |name: &str| observed.live_containers().any(|container| container.name() == name);
    let first = observed.live_containers().filter(|c| spec_of(c.name()).0 != ContainerKind::Sidecar);
    let mut stages = vec![first.map(|c| stop(c, spec_of(c.name()), reason, grace_secs)).collect()];
    let sidecars = containers.iter().rev().filter(|c| c.kind == ContainerKind::Sidecar);
    for sidecar in sidecars.filter(|sidecar| live(&sidecar.spec.name)) {
        let instances = observed.live_containers().filter(|c| c.name() == sidecar.spec.name);
        stages.push(instances.map(|c| stop(c, spec_of(c.name()), reason, grace_secs)).collect());
    }
    non_empty(stages)
}

/// The stages of a pod whose spec is gone.
fn recorded_stages(observed: &ObservedPod, grace: Grace) -> Vec<Vec<StopContainer>> {
    let mut stages: BTreeMap<Reverse<Option<u32>>, Vec<StopContainer>> = BTreeMap::new();
    for container in observed.live_containers() {
        let place = container.status.annotations.get(keys::SIDECAR_PLACE_ANNOTATION);
        let place: Option<u32> = place.and_then(|text| text.parse().ok());
        let kind = place.map_or(ContainerKind::Regular, |_| ContainerKind::Sidecar);
        let (hook, secs) = (recorded_pre_stop(container), recorded_grace_secs(container, grace));
        let stop = stop(container, (kind, hook), StopReason::PodTerminating, secs);
        stages.entry(Reverse(place)).or_default().push(stop);
    }
    // The last sidecar comes first here, and what is no sidecar at the end, yet that stops before all.
    let regular = stages.remove(&Reverse(None)).unwrap_or_default();
    non_empty(std::iter::once(regular).chain(stages.into_values()).collect())
}

fn non_empty(mut stages: Vec<Vec<StopContainer>>) -> Vec<Vec<StopContainer>> {
    stages.retain(|stage| !stage.is_empty());
    stages
}

fn stop(
    container: &ObservedContainer,
    (kind, pre_stop): (ContainerKind, Option<Hook>),
    reason: StopReason,
    grace_secs: i64,
) -> StopContainer {
    StopContainer {
        id: container.id().clone(),
        name: container.name().to_owned(),
        kind,
        reason,
        message: format!("Stopping container {}", container.name()),
        grace_secs,
        pre_stop,
    }
}
