//! The phase of a pod, with its reason and message.

use core_runtime::restart::restarts_from;
use core_types::api::{Container, ContainerStatus, PodStatus};
use core_types::view::Lifecycle;
use core_types::{ContainerKind, PodExt, keys};

use crate::containers::{ended, last_end, running, waiting};
use crate::{StatusInput, Verdict};

/// True for Succeeded and Failed.
pub(crate) fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// True for a pod that the API server does not own.
pub(crate) fn is_static(input: &StatusInput<'_>) -> bool {
    input.pod.annotation(keys::CONFIG_SOURCE_ANNOTATION).is_some_and(|source| source != "api")
}

/// Sets phase, reason and message. A terminal phase that was ever shown stays (ST-1), with its reason and message.
pub(crate) fn decide(input: &StatusInput<'_>, old: &PodStatus, reported: &PodStatus, status: &mut PodStatus) {
    if let Some(terminal) = [old, reported].into_iter().find(|known| is_terminal(known)) {
        status.phase.clone_from(&terminal.phase);
        status.reason.clone_from(&terminal.reason);
        status.message.clone_from(&terminal.message);
        return;
    }
    if let Verdict::Evicted { reason, message, .. } = input.verdict {
        status.phase = Some("Failed".to_owned());
        status.reason = Some(reason.to_owned());
        status.message = Some(message.to_owned());
        return;
    }
    let by_containers = from_containers(input, status);
    let phase = match by_containers {
        "Pending" | "Running" if input.lifecycle == Lifecycle::Finished && !is_static(input) => "Failed",
        other => other,
    };
    status.phase = Some(phase.to_owned());
    if old.phase.as_deref() == Some(phase) {
        status.reason = old.reason.clone().or_else(|| reported.reason.clone());
        status.message = old.message.clone().or_else(|| reported.message.clone());
    }
}

/// How many containers are in which situation.
#[derive(Default)]
struct Tally {
    pending_init: usize,
    pending_sidecars: usize,
    failed_for_good: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// The phase that the containers make (CONTRACT 3.29, upstream's `getPhase`).
fn from_containers(input: &StatusInput<'_>, status: &PodStatus) -> &'static str {
    let tally = count(input, status);
    let is_waiting = tally.pending_init > 0
        || tally.waiting > 0
        || (tally.pending_sidecars > 0 && !regular_container_in_current_sandbox(input));
    if tally.failed_for_good > 0 {
        return "Failed";
    }
    if is_waiting || tally.unknown > 0 || (tally.running == 0 && tally.stopped == 0) {
        return "Pending";
    }
    if tally.running > 0 {
        return "Running";
    }
    let is_stopped = matches!(input.lifecycle, Lifecycle::Terminated | Lifecycle::Finished);
    let is_over = (is_stopped && !is_static(input)) || tally.stopped == tally.stopped_for_good;
    match (is_over, tally.stopped == tally.succeeded) {
        (false, _) => "Running",
        (true, true) => "Succeeded",
        (true, false) => "Failed",
    }
}

fn count(input: &StatusInput<'_>, status: &PodStatus) -> Tally {
    let mut tally = Tally::default();
    for container in input.pod.container_refs() {
        let name = container.spec.name.as_str();
        let list = match container.kind {
            ContainerKind::Regular => &status.container_statuses,
            _ => &status.init_container_statuses,
        };
        let found = list.iter().flatten().find(|status| status.name == name);
        match container.kind {
            ContainerKind::Init => count_init(input, container.spec, found, &mut tally),
            ContainerKind::Sidecar => count_sidecar(found, &mut tally),
            ContainerKind::Regular | ContainerKind::Ephemeral => {
                count_regular(input, container.spec, found, &mut tally);
            }
        }
    }
    tally
}

fn count_init(
    input: &StatusInput<'_>,
    spec: &Container,
    status: Option<&ContainerStatus>,
    tally: &mut Tally,
) {
    let end = status.and_then(|status| ended(status).or_else(|| waiting(status).and(last_end(status))));
    match end {
        Some(end) if end.exit_code == 0 => {}
        Some(end) if restarts_from(input.pod, spec, end, input.rules()) => {}
        Some(_) => tally.failed_for_good += 1,
        None => tally.pending_init += 1,
    }
}

fn count_sidecar(status: Option<&ContainerStatus>, tally: &mut Tally) {
    let Some(status) = status else {
        tally.unknown += 1;
        return;
    };
    if running(status).is_some() {
        tally.running += 1;
        tally.pending_sidecars += usize::from(status.started != Some(true));
    } else if waiting(status).is_some() && last_end(status).is_none() {
        tally.pending_sidecars += 1;
        tally.waiting += 1;
    }
}

fn count_regular(
    input: &StatusInput<'_>,
    spec: &Container,
    status: Option<&ContainerStatus>,
    tally: &mut Tally,
) {
    let Some(status) = status else {
        tally.unknown += 1;
        return;
    };
    let end = ended(status).or_else(|| waiting(status).and(last_end(status)));
    if running(status).is_some() {
        tally.running += 1;
    } else if let Some(end) = end {
        tally.stopped += 1;
        tally.stopped_for_good += usize::from(!restarts_from(input.pod, spec, end, input.rules()));
        tally.succeeded += usize::from(ended(status).is_some_and(|end| end.exit_code == 0));
    } else {
        tally.waiting += 1;
    }
}

/// True when a regular container of the running sandbox exists: then the init containers of this sandbox are done.
fn regular_container_in_current_sandbox(input: &StatusInput<'_>) -> bool {
    let Some(observed) = input.observed else { return false };
    let Some(sandbox) = observed.latest_sandbox().filter(|sandbox| sandbox.is_ready()) else { return false };
    let refs = input.pod.container_refs();
    observed.containers.iter().any(|container| {
        container.sandbox_id == *sandbox.id()
            && refs.iter().any(|c| c.kind == ContainerKind::Regular && c.spec.name == container.name())
    })
}
