//! The statuses of a pod's containers: from the runtime where it holds them, else from what was known before.

use core_runtime::restart::{RESTARTING_ALL, may_restart_all, restarts_from};
use core_types::api::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, PodStatus, ResourceRequirements, Time, VolumeMount,
};
use core_types::runtime::ContainerState as Observed;
use core_types::{ContainerKind, ObservedContainer, PodExt, StopSignals, WallTime};
use k8s_openapi::api::core::v1::{ContainerUser, LinuxContainerUser, VolumeMountStatus};

use crate::restart::{AllContainers, all_containers};
use crate::{ProbeResult, RecursiveReadOnly, StatusInput, resources, restart};

/// Reason of a container that ran and cannot be found any more.
pub(crate) const LOST: &str = "ContainerStatusUnknown";
/// Exit code of such a container: that of a process that was killed.
const LOST_EXIT_CODE: i32 = 137;

/// A container of the spec, whichever list it stands in.
struct Row<'a> {
    name: &'a str,
    image: &'a str,
    mounts: &'a [VolumeMount],
    resources: Option<&'a ResourceRequirements>,
    /// `None` for an ephemeral container.
    spec: Option<&'a Container>,
    kind: ContainerKind,
}

/// Statuses of the regular containers, by name.
pub(crate) fn regular(input: &StatusInput<'_>, old: &PodStatus) -> Vec<ContainerStatus> {
    let rows = rows(input).filter(|row| row.kind == ContainerKind::Regular);
    let all = all_containers(input, old);
    let mut statuses = convert_all(input, rows, old.container_statuses.as_deref(), all);
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

/// Statuses of the init containers and sidecars, in the order of the spec.
pub(crate) fn init(input: &StatusInput<'_>, old: &PodStatus) -> Vec<ContainerStatus> {
    let rows = rows(input).filter(|row| row.kind != ContainerKind::Regular);
    convert_all(input, rows, old.init_container_statuses.as_deref(), all_containers(input, old))
}

/// Statuses of the ephemeral containers, by name.
pub(crate) fn ephemeral(input: &StatusInput<'_>, old: &PodStatus) -> Vec<ContainerStatus> {
    let specs = input.pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let rows = specs.map(|spec| Row {
        name: &spec.name,
        image: spec.image.as_deref().unwrap_or_default(),
        mounts: spec.volume_mounts.as_deref().unwrap_or_default(),
        resources: None,
        spec: None,
        kind: ContainerKind::Ephemeral,
    });
    let known = old.ephemeral_container_statuses.as_deref();
    let mut statuses = convert_all(input, rows, known, AllContainers::Settled);
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

/// Exit code of a process that SIGKILL has ended.
const KILLED: i32 = 137;

/// A terminated state for a container of which only that much is known.
pub(crate) fn lost(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            exit_code: LOST_EXIT_CODE,
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// Terminated part of `lastState`.
pub(crate) fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.last_state.as_ref()?.terminated.as_ref()
}

/// Running part of `state`.
pub(crate) fn running(status: &ContainerStatus) -> Option<&ContainerStateRunning> {
    status.state.as_ref()?.running.as_ref()
}

/// Terminated part of `state`.
pub(crate) fn ended(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// Waiting part of `state`.
pub(crate) fn waiting(status: &ContainerStatus) -> Option<&ContainerStateWaiting> {
    status.state.as_ref()?.waiting.as_ref()
}

fn rows<'a>(input: &'a StatusInput<'_>) -> impl Iterator<Item = Row<'a>> {
    input.pod.container_refs().into_iter().map(|container| Row {
        name: &container.spec.name,
        image: container.spec.image.as_deref().unwrap_or_default(),
        mounts: container.spec.volume_mounts.as_deref().unwrap_or_default(),
        resources: container.spec.resources.as_ref(),
        spec: Some(container.spec),
        kind: container.kind,
    })
}

fn convert_all<'a>(
    input: &StatusInput<'_>,
    rows: impl Iterator<Item = Row<'a>>,
    old: Option<&[ContainerStatus]>,
    all: AllContainers,
) -> Vec<ContainerStatus> {
    rows.map(|row| {
        let old = old.unwrap_or_default().iter().find(|status| status.name == row.name);
        convert(input, &row, old, all)
    })
    .collect()
}

fn convert(
    input: &StatusInput<'_>,
    row: &Row<'_>,
    old: Option<&ContainerStatus>,
    all: AllContainers,
) -> ContainerStatus {
    let mut instances = input.observed.into_iter().flat_map(|observed| observed.instances(row.name));
    let mut status = match instances.next() {
        None => without_instance(input, row, old, all),
        Some(latest) => {
            let mut status = from_instance(input, row, latest, old, all);
            // What was said of an instance that got lost stays said.
            let is_settled = latest.state() == Observed::Unknown
                && old.is_some_and(|old| old.container_id == status.container_id);
            let before = instances.find(|before| before.state() == Observed::Exited);
            if let Some(before) = before.filter(|_| !is_settled) {
                status.last_state = Some(state_of(input, row, before));
            }
            status
        }
    };
    if all == AllContainers::Settled && !init_is_done(input, row, &mut status) {
        explain_waiting(input, row, &mut status);
    }
    if let Some(old) = old.filter(|old| ended(&status).is_none() && ended_for_good(input, row, old)) {
        status = old.clone();
    }
    set_started_and_ready(input, row, old, &mut status);
    status
}

/// True when the container has ended and may not start again: its status stays so, whatever the runtime shows later.
fn ended_for_good(input: &StatusInput<'_>, row: &Row<'_>, old: &ContainerStatus) -> bool {
    let Some((spec, end)) = row.spec.zip(ended(old)) else { return false };
    let rules = input.rules();
    !may_restart_all(input.pod, rules) && !restarts_from(input.pod, spec, end, rules)
}

/// Status of a container that the runtime does not hold: as it was, and if it ran, it is taken to have ended.
fn without_instance(
    input: &StatusInput<'_>,
    row: &Row<'_>,
    old: Option<&ContainerStatus>,
    all: AllContainers,
) -> ContainerStatus {
    let Some(old) = old.filter(|old| old.container_id.is_some() || ended(old).is_some()) else {
        return ContainerStatus {
            name: row.name.to_owned(),
            image: row.image.to_owned(),
            state: Some(default_waiting(input)),
            last_state: old.map_or_else(|| Some(ContainerState::default()), |old| old.last_state.clone()),
            restart_count: old.map_or(0, |old| old.restart_count),
            volume_mounts: volume_mounts(input, row),
            ..ContainerStatus::default()
        };
    };
    let mut status = old.clone();
    if all == AllContainers::Restarting {
        match waiting(old) {
            None => removed_for_restart(&mut status),
            Some(why) if why.reason.as_deref() == Some(RESTARTING_ALL) => {}
            Some(_) => status.state = Some(default_waiting(input)),
        }
        return status;
    }
    if ended(old).is_some() {
        return status;
    }
    status.state = Some(default_waiting(input));
    if running(old).is_some() && last_end(old).is_none() {
        status.last_state = Some(lost(
            LOST,
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ));
        if input.pod.metadata.deletion_timestamp.is_none() {
            status.restart_count += 1;
        }
    }
    status
}

/// Status of a container that was removed because all containers of the pod are restarted.
fn removed_for_restart(status: &mut ContainerStatus) {
    const REMOVED: &str = "The container is removed because RestartAllContainers in place";
    status.state = Some(waiting_state(RESTARTING_ALL, REMOVED));
    status.last_state = Some(lost(RESTARTING_ALL, REMOVED));
    status.restart_count += 1;
}

/// Status of a container from its newest instance in the runtime.
fn from_instance(
    input: &StatusInput<'_>,
    row: &Row<'_>,
    latest: &ObservedContainer,
    old: Option<&ContainerStatus>,
    all: AllContainers,
) -> ContainerStatus {
    let container_id = container_id(input, latest);
    let is_same = old.is_some_and(|old| old.container_id.as_deref() == Some(container_id.as_str()));
    let mut status = ContainerStatus {
        name: row.name.to_owned(),
        image: latest.status.image.clone(),
        image_id: latest.status.image_ref.clone(),
        restart_count: i32::try_from(latest.restart_count()).unwrap_or(i32::MAX),
        state: Some(state_of(input, row, latest)),
        last_state: Some(ContainerState::default()),
        volume_mounts: volume_mounts(input, row),
        resources: row.resources.map(|given| {
            let same = old.filter(|old| is_same && running(old).is_some());
            resources::of_container(input, given, latest, same)
        }),
        allocated_resources: row.resources.and_then(|resources| resources.requests.clone()),
        user: latest.status.process.user.as_ref().map(|(uid, gid, groups)| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: *uid,
                gid: *gid,
                supplemental_groups: (!groups.is_empty()).then(|| groups.clone()),
            }),
        }),
        container_id: Some(container_id.clone()),
        stop_signal: (input.node.gates.stop_signals == StopSignals::OfContainers)
            .then(|| latest.status.process.stop_signal.clone())
            .and_then(|signal| non_empty(&signal)),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return status };
    status.restart_count = status.restart_count.max(old.restart_count);
    let last = ended(old).filter(|_| !is_same).or(last_end(old));
    // An end that is the state is not the last state too.
    let is_state = |end: &&ContainerStateTerminated| {
        latest.state() == Observed::Exited && end.container_id.as_deref() == Some(container_id.as_str())
    };
    let last = last.filter(|end| !is_state(end));
    status.last_state = Some(ContainerState { terminated: last.cloned(), ..ContainerState::default() });
    match latest.state() {
        // Its end was seen and its beginning not: the runtime's count began anew with it.
        Observed::Running if !is_same && ended(old).is_some() => {
            let seen = i32::try_from(latest.restart_count()).unwrap_or(i32::MAX);
            if old.restart_count >= seen {
                status.restart_count = old.restart_count.saturating_add(1);
            }
        }
        Observed::Unknown if running(old).is_some() => {
            let reason = if all == AllContainers::Restarting { RESTARTING_ALL } else { LOST };
            status.state =
                Some(lost(reason, "The container could not be located when the pod was terminated"));
            status.restart_count = status.restart_count.max(old.restart_count.saturating_add(1));
        }
        // Known to be lost already: it stays so.
        Observed::Unknown if is_same && ended(old).is_some() => status.state.clone_from(&old.state),
        _ => {}
    }
    status
}

fn state_of(input: &StatusInput<'_>, row: &Row<'_>, container: &ObservedContainer) -> ContainerState {
    let seen = &container.status;
    match container.state() {
        Observed::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: api_time(seen.started_at) }),
            ..ContainerState::default()
        },
        Observed::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: seen.exit_code,
                reason: non_empty(ended_for(input, container)),
                message: non_empty(&termination_message(input, container)),
                started_at: api_time(seen.started_at),
                finished_at: api_time(seen.finished_at),
                container_id: Some(container_id(input, container)),
                signal: None,
            }),
            ..ContainerState::default()
        },
        Observed::Created | Observed::Unknown if row.kind == ContainerKind::Ephemeral => {
            waiting_state("ContainerCreating", "")
        }
        Observed::Created | Observed::Unknown => default_waiting(input),
    }
}

/// True when an init container needs no further start, so that a reason for not starting is not one for it. One that the
/// runtime has forgotten is taken to have succeeded once a regular container exists.
fn init_is_done(input: &StatusInput<'_>, row: &Row<'_>, status: &mut ContainerStatus) -> bool {
    if row.kind != ContainerKind::Init && row.kind != ContainerKind::Sidecar {
        return false;
    }
    if let Some(latest) = input.observed.and_then(|observed| observed.latest(row.name)) {
        return latest.state() == Observed::Exited && latest.status.exit_code == 0;
    }
    if row.kind == ContainerKind::Sidecar || !any_regular_created(input) {
        return false;
    }
    if ended(status).is_some_and(|end| end.exit_code == 0) {
        return true;
    }
    if ended(status).is_some() {
        status.last_state = status.state.take();
    }
    status.state = Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            reason: Some("Completed".to_owned()),
            message: Some(
                "Unable to get init container status from container runtime and pod has been initialized, treat it \
                 as exited normally"
                    .to_owned(),
            ),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    });
    true
}

/// Shows why the executor has not started a container that it should start.
fn explain_waiting(input: &StatusInput<'_>, row: &Row<'_>, status: &mut ContainerStatus) {
    let Some(why) = input.waiting.get(row.name) else { return };
    if !restart::will_start(input, row.name, row.spec) {
        return;
    }
    if ended(status).is_some() {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting_state(&why.reason, &why.message));
}

/// `started` and `ready`. After a restart of the agent, when no probe has answered yet, what was true of the same
/// container stays true (SP-2).
fn set_started_and_ready(
    input: &StatusInput<'_>,
    row: &Row<'_>,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    if row.kind == ContainerKind::Ephemeral {
        return;
    }
    let has = |probe: fn(&Container) -> bool| row.spec.is_some_and(probe);
    let is_running = running(status).is_some();
    let same =
        old.filter(|old| is_running && old.container_id == status.container_id && running(old).is_some());
    let latest = input.observed.and_then(|observed| observed.latest(row.name));
    let results = latest.and_then(|latest| input.probes.get(latest.id())).copied().unwrap_or_default();

    let started = is_running
        && match results.startup {
            ProbeResult::Success => true,
            ProbeResult::Failure => false,
            ProbeResult::Unknown => {
                !has(|spec| spec.startup_probe.is_some()) || same.is_some_and(|old| old.started == Some(true))
            }
        };
    let ready = started
        && match results.readiness {
            ProbeResult::Success => true,
            ProbeResult::Failure => false,
            ProbeResult::Unknown => {
                !has(|spec| spec.readiness_probe.is_some()) || same.is_some_and(|old| old.ready)
            }
        };
    status.started = Some(started);
    status.ready = match row.kind {
        ContainerKind::Init => ended(status).is_some_and(|end| end.exit_code == 0),
        _ => ready,
    };
}

fn any_regular_created(input: &StatusInput<'_>) -> bool {
    let refs = input.pod.container_refs();
    refs.iter().filter(|container| container.kind == ContainerKind::Regular).any(|container| {
        let latest = input.observed.and_then(|observed| observed.latest(&container.spec.name));
        latest.is_some_and(|latest| latest.state() != Observed::Unknown)
    })
}

fn volume_mounts(input: &StatusInput<'_>, row: &Row<'_>) -> Option<Vec<VolumeMountStatus>> {
    let status = |mount: &VolumeMount| {
        let read_only = mount.read_only.unwrap_or(false);
        let supported = input.node.recursive_read_only == RecursiveReadOnly::Supported;
        let is_private = matches!(mount.mount_propagation.as_deref(), None | Some("None"));
        let recursive = match mount.recursive_read_only.as_deref() {
            Some("Enabled" | "IfPossible") if supported && is_private => "Enabled",
            _ => "Disabled",
        };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| recursive.to_owned()),
            volume_status: None,
        }
    };
    let statuses: Vec<_> = row.mounts.iter().map(status).collect();
    (!statuses.is_empty()).then_some(statuses)
}

/// The runtime's reason. One that does not know of a kill for lack of memory, which the kernel tells, calls it an error.
fn ended_for<'a>(input: &StatusInput<'_>, container: &'a ObservedContainer) -> &'a str {
    let seen = &container.status;
    match seen.exit_code == KILLED && seen.reason == "Error" && input.oom_kills.contains_key(container.id()) {
        true => "OOMKilled",
        false => &seen.reason,
    }
}

/// The runtime's message, then what the application left (CONTRACT 3.17). One that ended badly and left nothing has what the
/// kernel said of a process of it that it killed.
fn termination_message(input: &StatusInput<'_>, container: &ObservedContainer) -> String {
    let killed = || input.oom_kills.get(container.id()).filter(|_| container.status.exit_code != 0);
    match (container.status.message.as_str(), container.termination_message.as_str()) {
        ("", "") => killed().cloned().unwrap_or_default(),
        (runtime, "") => runtime.to_owned(),
        ("", application) => application.to_owned(),
        (runtime, application) => format!("{runtime}: {application}"),
    }
}

fn container_id(input: &StatusInput<'_>, container: &ObservedContainer) -> String {
    format!("{}://{}", input.node.runtime_name, container.id())
}

fn default_waiting(input: &StatusInput<'_>) -> ContainerState {
    let init = input.pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    let has_init = init.is_some_and(|init| !init.is_empty());
    waiting_state(if has_init { "PodInitializing" } else { "ContainerCreating" }, "")
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: non_empty(reason), message: non_empty(message) }),
        ..ContainerState::default()
    }
}

fn api_time(time: WallTime) -> Option<Time> {
    (!time.is_unset()).then(|| time.to_api())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
