//! Which cause explains a pod's state best.

use std::sync::Arc;

use core_runtime::restart::restarts_after;
use core_types::api::{ContainerStateTerminated, ContainerStatus, Time};
use core_types::view::{Lifecycle, NodeView, PodView};
use core_types::{ContainerKind, EventRecord, PodExt, RestartRules, WallTime};

use super::cause::ProbeWord;
use super::{Cause, State, image};
use crate::containers::{ended, last_end, running, waiting};

/// State, cause, and since when.
pub(super) struct Decision {
    pub(super) state: State,
    pub(super) cause: Cause,
    pub(super) since: Option<WallTime>,
}

fn because(state: State, cause: Cause, since: Option<WallTime>) -> Decision {
    Decision { state, cause, since }
}

pub(super) fn decide(view: &PodView, node: &NodeView, now: WallTime) -> Decision {
    over(view, now)
        .or_else(|| ready(view))
        .or_else(|| outside(view, node))
        .or_else(|| busy(view, now))
        .or_else(|| stuck_container(view, now))
        .or_else(|| problem(view))
        .or_else(|| on_the_way(view))
        .unwrap_or_else(|| because(State::Waiting, Cause::NotStartedYet, start_time(view)))
}

/// The pod is ending or has ended.
fn over(view: &PodView, now: WallTime) -> Option<Decision> {
    match view.status.phase.as_deref() {
        Some("Succeeded") => return Some(because(State::Completed, Cause::Completed, last_finish(view))),
        Some("Failed") => {
            let since = last_finish(view).or_else(|| ready_changed(view)).or_else(|| start_time(view));
            return Some(because(State::Failed, failure(view), since));
        }
        _ => {}
    }
    if view.source.is_none() {
        return Some(because(State::Terminating, Cause::Unwanted, None));
    }
    match view.lifecycle {
        Lifecycle::Terminating => {
            let ends_at = view.pod.metadata.deletion_timestamp.as_ref().map(WallTime::from_api);
            let grace_left_secs = ends_at.map(|end| end.since(now).as_secs());
            let since = view.activity.as_ref().map(|activity| activity.since);
            Some(because(State::Terminating, Cause::Terminating { grace_left_secs }, since))
        }
        Lifecycle::Terminated | Lifecycle::Finished => {
            Some(because(State::Stopped, Cause::Stopped, last_finish(view)))
        }
        Lifecycle::Waiting | Lifecycle::Syncing => None,
    }
}

fn failure(view: &PodView) -> Cause {
    if let Some(reason) = &view.status.reason {
        let message = view.status.message.clone().unwrap_or_default();
        return Cause::Refused { reason: reason.clone(), message };
    }
    let bad =
        all_statuses(view).find_map(|status| Some((status, ended(status).filter(|end| end.exit_code != 0)?)));
    match bad {
        Some((status, end)) => Cause::Failed {
            container: status.name.clone(),
            exit_code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
        },
        None => Cause::Failed {
            container: String::new(),
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
        },
    }
}

/// When the pod became ready or stopped to be.
fn ready_changed(view: &PodView) -> Option<WallTime> {
    let condition = view.status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    api(&condition.last_transition_time)
}

fn ready(view: &PodView) -> Option<Decision> {
    let condition = view.status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    let since = condition.last_transition_time.as_ref().map(WallTime::from_api);
    (condition.status == "True").then(|| because(State::Ready, Cause::Ready, since))
}

/// What holds up every pod, or this one, from outside of it.
fn outside(view: &PodView, node: &NodeView) -> Option<Decision> {
    if !node.runtime.error.is_empty() {
        let error = node.runtime.error.clone();
        return Some(because(State::Waiting, Cause::RuntimeDown { error }, None));
    }
    let has_sandbox = view
        .status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "PodReadyToStartContainers" && condition.status == "True");
    if let Some(status) = &node.runtime.status
        && !status.network_ready.ok
        && !view.pod.is_host_network()
        && !has_sandbox
    {
        let message = status.network_ready.message.clone();
        return Some(because(State::Waiting, Cause::NetworkNotReady { message }, None));
    }
    let (uid, key) = (view.pod.uid(), view.pod.key());
    let other = node.pods.iter().find(|(other_uid, other)| {
        **other_uid != uid
            && other.pod.key() == key
            && matches!(other.lifecycle, Lifecycle::Syncing | Lifecycle::Terminating)
    });
    match (view.lifecycle, other) {
        (Lifecycle::Waiting, Some((other, _))) => {
            Some(because(State::Waiting, Cause::SameName { other: other.clone() }, start_time(view)))
        }
        _ => None,
    }
}

fn busy(view: &PodView, now: WallTime) -> Option<Decision> {
    let activity = view.activity.as_ref()?;
    let for_secs = now.since(activity.since).as_secs();
    let container = activity.container.clone();
    let refs = view.pod.container_refs();
    let image = refs.iter().find(|c| c.spec.name == container).and_then(|c| c.spec.image.clone());
    let cause = match image {
        Some(image) if activity.doing.starts_with("pulling image") => {
            Cause::PullingImage { image, container, for_secs }
        }
        _ => Cause::Busy { doing: activity.doing.clone(), container, for_secs },
    };
    Some(because(State::Starting, cause, Some(activity.since)))
}

/// The first container that does not come up, in the order of starting.
fn stuck_container(view: &PodView, now: WallTime) -> Option<Decision> {
    let state = if all_statuses(view).any(|status| running(status).is_some()) {
        State::NotReady
    } else {
        State::Starting
    };
    all_statuses(view).find_map(|status| {
        if let Some(end) = ended(status).filter(|end| starts_again(view, status, end.exit_code)) {
            return Some(because(state, crash_loop(view, status, end, now), api(&end.finished_at)));
        }
        let why = waiting(status)?;
        let reason = why.reason.clone().unwrap_or_default();
        let message = why.message.clone().unwrap_or_default();
        let container = status.name.clone();
        let since = problem_time(view, &container);
        let cause = match reason.as_str() {
            "CrashLoopBackOff" => crash_loop(view, status, last_end(status)?, now),
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ImageInspectError"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                let image = image::named_in(&message).unwrap_or(&status.image).to_owned();
                Cause::ImageUnavailable { image, container, reason, message }
            }
            "RestartingAllContainers" => Cause::RestartingAll { container },
            "CreateContainerConfigError" => Cause::ConfigError { container, message },
            "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError" => Cause::StartError { container, reason, message },
            _ => return None,
        };
        let since = since.or_else(|| last_end(status)?.finished_at.as_ref().map(WallTime::from_api));
        Some(because(state, cause, since))
    })
}

/// The probe for which the agent stopped this instance of a container.
fn stopped_for(view: &PodView, status: &ContainerStatus, end: &ContainerStateTerminated) -> Option<String> {
    let (began, ended) = (api(&end.started_at)?, api(&end.finished_at)?);
    let is_of_instance = |event: &&Arc<EventRecord>| {
        let seen_secs = event.last_seen.unix_secs();
        event.object.container() == status.name
            && event.reason == "Killing"
            && (began.unix_secs()..=ended.unix_secs()).contains(&seen_secs)
    };
    let killing = view.events.iter().rev().find(is_of_instance)?;
    let probe = ["liveness", "startup"].into_iter().find(|probe| {
        let words = format!("failed {probe} probe");
        killing.message.contains(&words)
    });
    probe.map(str::to_owned)
}

/// The probe that was told to fail last, when that was in the life of a container that runs and is not ready.
fn failing_probe(view: &PodView, unready: &[&ContainerStatus]) -> Option<Decision> {
    unready.iter().find_map(|status| {
        let began = api(&running(status)?.started_at)?;
        let is_of_instance = |event: &&Arc<EventRecord>| {
            event.object.container() == status.name && event.reason == "Unhealthy" && event.last_seen >= began
        };
        let event = view.events.iter().rev().find(is_of_instance)?;
        let text = event.message.trim_start_matches("(combined from similar events): ");
        let (probe, rest) = ProbeWord::split(text)?;
        let said = rest.trim_start_matches("failed: ").to_owned();
        let cause = Cause::ProbeFails { container: status.name.clone(), probe, said, times: event.count };
        Some(because(State::NotReady, cause, Some(event.first_seen.max(began))))
    })
}

fn starts_again(view: &PodView, status: &ContainerStatus, exit_code: i32) -> bool {
    let refs = view.pod.container_refs();
    let found = refs.iter().find(|container| container.spec.name == status.name);
    found.is_some_and(|container| {
        let is_done = container.kind == ContainerKind::Init && exit_code == 0;
        // A view does not tell which gates are off; what such a node shows here is at most too hopeful.
        !is_done && restarts_after(&view.pod, container.spec, exit_code, RestartRules::default())
    })
}

fn crash_loop(
    view: &PodView,
    status: &ContainerStatus,
    end: &ContainerStateTerminated,
    now: WallTime,
) -> Cause {
    Cause::CrashLoop {
        stopped_for: stopped_for(view, status, end).unwrap_or_default(),
        container: status.name.clone(),
        exit_code: end.exit_code,
        reason: end.reason.clone().unwrap_or_default(),
        message: end.message.clone().unwrap_or_default(),
        restarts: status.restart_count,
        next_start_in_secs: view.next_retry.map(|at| at.since(now).as_secs()),
    }
}

fn problem(view: &PodView) -> Option<Decision> {
    let problem = view.problem.as_ref()?;
    let (reason, message) = (problem.reason.clone(), problem.message.clone());
    let cause = if problem.container.is_empty() {
        Cause::PodProblem { reason, message }
    } else {
        Cause::StartError { container: problem.container.clone(), reason, message }
    };
    Some(because(State::Starting, cause, Some(problem.at)))
}

/// Nothing is wrong, and something is still missing.
fn on_the_way(view: &PodView) -> Option<Decision> {
    let refs = view.pod.container_refs();
    let init: Vec<&str> =
        refs.iter().filter(|c| c.kind == ContainerKind::Init).map(|c| c.spec.name.as_str()).collect();
    let statuses = || view.status.init_container_statuses.iter().flatten();
    let busy_init =
        statuses().find(|status| init.contains(&status.name.as_str()) && running(status).is_some());
    if let Some(status) = busy_init {
        let done = statuses().filter(|status| init.contains(&status.name.as_str()) && status.ready).count();
        let cause = Cause::Initializing { container: status.name.clone(), done, of: init.len() };
        return Some(because(State::Starting, cause, running(status).and_then(|r| api(&r.started_at))));
    }
    let any_running = all_statuses(view).any(|status| running(status).is_some());
    let unready: Vec<&ContainerStatus> =
        all_statuses(view).filter(|status| !status.ready && !init.contains(&status.name.as_str())).collect();
    if let Some(failing) = failing_probe(view, &unready) {
        return Some(failing);
    }
    if any_running && !unready.is_empty() {
        let since = unready.iter().find_map(|status| running(status).and_then(|r| api(&r.started_at)));
        let containers = unready.iter().map(|status| status.name.clone()).collect();
        return Some(because(State::NotReady, Cause::NotReady { containers }, since));
    }
    None
}

fn all_statuses(view: &PodView) -> impl Iterator<Item = &ContainerStatus> {
    let init = view.status.init_container_statuses.iter().flatten();
    init.chain(view.status.container_statuses.iter().flatten())
}

fn problem_time(view: &PodView, container: &str) -> Option<WallTime> {
    view.problem.as_ref().filter(|problem| problem.container == container).map(|problem| problem.at)
}

fn last_finish(view: &PodView) -> Option<WallTime> {
    all_statuses(view).filter_map(|status| api(&ended(status)?.finished_at)).max()
}

fn start_time(view: &PodView) -> Option<WallTime> {
    api(&view.status.start_time)
}

fn api(time: &Option<Time>) -> Option<WallTime> {
    time.as_ref().map(WallTime::from_api)
}
