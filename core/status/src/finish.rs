//! Last touches of a status: the ends of containers of which nobody will hear again, and the API's limits.

use core_types::api::{ContainerState, ContainerStatus, Pod, PodStatus, Time};
use core_types::{ContainerKind, PodExt, WallTime};

use crate::containers::{LOST, ended, last_end, lost, running, waiting};

/// Bytes of termination messages in the status of one pod; each container has an equal share (CONTRACT 3.17).
const POD_MESSAGE_BYTES: usize = 12 * 1024;
/// Bytes of the termination message of one container.
const CONTAINER_MESSAGE_BYTES: usize = 4096;

/// Gives every container that may have run an end: the pod is gone from this node, and what has no known end is
/// reported as an error (upstream's `TerminatePod`).
pub(crate) fn end_containers(pod: &Pod, old: &PodStatus, status: &mut PodStatus) {
    if was_initialized(pod, old) || was_initialized(pod, status) {
        status.container_statuses.iter_mut().flatten().for_each(end_container);
    }
    if let Some(init) = &mut status.init_container_statuses {
        let began = |status: &ContainerStatus| waiting(status).is_none() || last_end(status).is_some();
        let count = init.iter().rposition(began).map_or(1, |last| last + 1);
        init.iter_mut().take(count).for_each(end_container);
    }
}

/// Cuts times to whole seconds and messages to the container's share, as the API keeps them. Runtime states are left
/// whole in their own right: only their messages are bounded.
pub(crate) fn normalize(pod: &Pod, status: &mut PodStatus) {
    let ephemeral = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref()).map_or(0, Vec::len);
    let containers = pod.container_refs().len() + ephemeral;
    let share = (POD_MESSAGE_BYTES / containers.max(1)).min(CONTAINER_MESSAGE_BYTES);
    cut_time(&mut status.start_time);
    for condition in status.conditions.iter_mut().flatten() {
        cut_time(&mut condition.last_probe_time);
        cut_time(&mut condition.last_transition_time);
    }
    let lists = [
        &mut status.container_statuses,
        &mut status.init_container_statuses,
        &mut status.ephemeral_container_statuses,
    ];
    for list in lists {
        for container in list.iter_mut().flatten() {
            container.state.iter_mut().chain(&mut container.last_state).for_each(|state| bound(state, share));
        }
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
}

fn end_container(status: &mut ContainerStatus) {
    if ended(status).is_none() {
        status.state = Some(lost(LOST, "The container could not be located when the pod was terminated"));
        status.started = Some(false);
        status.ready = false;
    }
}

/// True when the init containers are known to have done their work.
fn was_initialized(pod: &Pod, status: &PodStatus) -> bool {
    let refs = pod.container_refs();
    let Some(last_init) = refs.iter().rev().find(|container| container.kind != ContainerKind::Regular) else {
        return true;
    };
    let began = |status: &ContainerStatus| waiting(status).is_none() || last_end(status).is_some();
    if status.container_statuses.iter().flatten().any(began) {
        return true;
    }
    let statuses = status.init_container_statuses.iter().flatten();
    let Some(found) = statuses.into_iter().find(|status| status.name == last_init.spec.name) else {
        return false;
    };
    match last_init.kind {
        ContainerKind::Sidecar => running(found).is_some() && found.started == Some(true),
        _ => ended(found).into_iter().chain(last_end(found)).any(|end| end.exit_code == 0),
    }
}

fn bound(state: &mut ContainerState, share: usize) {
    if let Some(running) = &mut state.running {
        cut_time(&mut running.started_at);
    }
    if let Some(end) = &mut state.terminated {
        cut_time(&mut end.started_at);
        cut_time(&mut end.finished_at);
        if let Some(message) = &mut end.message {
            message.truncate(message.floor_char_boundary(share));
        }
    }
}

fn cut_time(time: &mut Option<Time>) {
    if let Some(time) = time {
        *time = WallTime::from_api(time).to_api_secs();
    }
}
