//! What happened between two pictures of one pod.

use std::collections::BTreeMap;

use core_types::runtime::ContainerState;
use core_types::{ContainerId, ObservedContainer, ObservedPod, ObservedSandbox, SandboxId};

use crate::PlegEvent;

/// Events that lead from `old` (nothing when `None`) to `new`: sandboxes, then containers, each in order of ID.
pub(crate) fn events(old: Option<&ObservedPod>, new: &ObservedPod) -> Vec<PlegEvent> {
    let mut events = Vec::new();
    let old_sandboxes = sandboxes(old);
    let new_sandboxes = sandboxes(Some(new));
    for id in keys_of_both(&old_sandboxes, &new_sandboxes) {
        let before = old_sandboxes.get(id).map(|sandbox| sandbox.0.summary.state);
        let after = new_sandboxes.get(id).map(|sandbox| sandbox.0.summary.state);
        if before != after {
            events.push(PlegEvent::SandboxChanged { id: id.clone(), state: after });
        }
    }
    let old_containers = containers(old);
    let new_containers = containers(Some(new));
    for id in keys_of_both(&old_containers, &new_containers) {
        let before = old_containers.get(id).copied();
        match new_containers.get(id) {
            Some(after) => push_change(&mut events, before, after),
            None => push_removal(&mut events, before),
        }
    }
    events
}

fn push_change(events: &mut Vec<PlegEvent>, before: Option<&ObservedContainer>, after: &ObservedContainer) {
    if before.map(ObservedContainer::state) == Some(after.state()) {
        return;
    }
    let (id, name) = (after.id().clone(), after.name().to_owned());
    match after.state() {
        ContainerState::Running => events.push(PlegEvent::ContainerStarted { id, name }),
        ContainerState::Exited => {
            events.push(PlegEvent::ContainerDied { id, name, exit_code: Some(after.status.exit_code) });
        }
        // Upstream does not send these out either: there is nothing to do for them.
        ContainerState::Created | ContainerState::Unknown => {}
    }
}

fn push_removal(events: &mut Vec<PlegEvent>, before: Option<&ObservedContainer>) {
    let Some(before) = before else { return };
    let (id, name) = (before.id().clone(), before.name().to_owned());
    if matches!(before.state(), ContainerState::Running | ContainerState::Unknown) {
        events.push(PlegEvent::ContainerDied { id: id.clone(), name: name.clone(), exit_code: None });
    }
    events.push(PlegEvent::ContainerRemoved { id, name });
}

fn sandboxes(pod: Option<&ObservedPod>) -> BTreeMap<&SandboxId, &ObservedSandbox> {
    pod.into_iter().flat_map(|pod| &pod.sandboxes).map(|sandbox| (sandbox.id(), sandbox)).collect()
}

fn containers(pod: Option<&ObservedPod>) -> BTreeMap<&ContainerId, &ObservedContainer> {
    pod.into_iter().flat_map(|pod| &pod.containers).map(|container| (container.id(), container)).collect()
}

fn keys_of_both<'a, K: Ord, A, B>(old: &BTreeMap<&'a K, A>, new: &BTreeMap<&'a K, B>) -> Vec<&'a K> {
    let mut keys: Vec<&K> = old.keys().chain(new.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
