//! Whether the pod's sandbox is usable, and what to do when it is not (CONTRACT 3.9).

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::{
    ContainerKind, ContainerRef, ObservedContainer, ObservedPod, ObservedSandbox, PodExt, SandboxId,
};

use super::{Action, Draft, StopReason, terminate};
use crate::restart::restarts_after;

/// Why a sandbox is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SandboxChange {
    /// The pod has none.
    Missing,
    /// More than one is ready.
    SeveralReady,
    /// The newest one is not ready.
    NotReady,
    /// `hostNetwork` changed.
    NetworkModeChanged,
    /// It has no IP although the pod has its own network.
    NoAddress,
}

impl SandboxChange {
    /// True when a sandbox is replaced: the pod's owner is told (`SandboxChanged`).
    pub const fn is_replacement(self) -> bool {
        !matches!(self, Self::Missing | Self::NetworkModeChanged)
    }
}

pub(super) enum Verdict<'a> {
    Usable(&'a SandboxId),
    Replace { attempt: u32, change: SandboxChange },
}

pub(super) fn check<'a>(pod: &Pod, observed: &'a ObservedPod) -> Verdict<'a> {
    let Some(latest) = observed.latest_sandbox() else {
        return Verdict::Replace { attempt: 0, change: SandboxChange::Missing };
    };
    let change = if observed.sandboxes.iter().filter(|sandbox| sandbox.is_ready()).count() > 1 {
        SandboxChange::SeveralReady
    } else if !latest.is_ready() {
        SandboxChange::NotReady
    } else if latest.0.host_network != pod.is_host_network() {
        SandboxChange::NetworkModeChanged
    } else if !pod.is_host_network() && latest.0.ips.is_empty() {
        SandboxChange::NoAddress
    } else {
        return Verdict::Usable(latest.id());
    };
    Verdict::Replace { attempt: latest.0.summary.attempt.saturating_add(1), change }
}

/// Plans a new sandbox, or the end of the pod when nothing may start any more.
pub(super) fn replace(draft: &mut Draft<'_>, attempt: u32, change: SandboxChange) {
    let (pod, observed, rules) = (draft.input.pod, draft.input.observed, draft.input.rules);
    let regular: Vec<_> = draft
        .containers
        .iter()
        .copied()
        .filter(|container| container.kind == ContainerKind::Regular)
        .collect();
    let end = |container: &ContainerRef<'_>| {
        draft.latest(container).filter(|latest| latest.state() == ContainerState::Exited)
    };
    let restarts = |container: &ContainerRef<'_>, end: &ObservedContainer| {
        restarts_after(pod, container.spec, end.status.exit_code, rules)
    };
    let any_restarts =
        regular.iter().any(|container| end(container).is_some_and(|end| restarts(container, end)));
    let ran_once =
        pod.restart_policy() == "Never" && attempt != 0 && !observed.containers.is_empty() && !any_restarts;
    if ran_once || pod.metadata.deletion_timestamp.is_some() {
        return draft.finish_pod();
    }
    let is_open = |container: &ContainerRef<'_>| end(container).is_none_or(|end| restarts(container, end));
    let open: Vec<_> = regular.iter().copied().filter(is_open).collect();
    let was_initialized = regular.iter().any(|container| {
        draft.latest(container).is_some_and(|latest| latest.state() != ContainerState::Unknown)
    });
    if open.is_empty() && was_initialized {
        return draft.finish_pod();
    }
    draft.sandbox_actions = terminate::stop_all(pod, observed, StopReason::SandboxChanged);
    let stops = observed.sandboxes.iter().map(ObservedSandbox::id).cloned().map(Action::StopSandbox);
    draft.sandbox_actions.extend(stops);
    let is_init = |name: &str| {
        let kind = draft.containers.iter().find(|container| container.spec.name == name).map(|c| c.kind);
        matches!(kind, Some(ContainerKind::Init | ContainerKind::Sidecar))
    };
    // Initialization starts anew: what is left of it would look as if it had happened in the new sandbox. The logs stay:
    // the next instances count on from them, also after a restart of the agent.
    let old_init = observed.containers.iter().filter(|container| is_init(container.name()));
    let removals: Vec<_> = old_init.map(|c| Action::RemoveContainer(c.id().clone())).collect();
    draft.sandbox_actions.extend(removals);
    draft.sandbox_actions.push(Action::CreateSandbox { attempt, change });
    match draft.containers.first().copied() {
        Some(first) if first.kind != ContainerKind::Regular => draft.start(first),
        _ => open.into_iter().for_each(|container| draft.start(container)),
    }
}
