//! Removal of what earlier instances left: one dead instance per container name is kept for its status and log
//! (CONTRACT 5.12), and the newest sandbox always.

use std::collections::BTreeSet;

use core_types::runtime::ContainerState;
use core_types::{ContainerId, ObservedPod, ObservedSandbox};

use super::{Action, DeadLog};

/// Appends the removals that are possible once `actions` are done.
pub(super) fn remove_dead(actions: &mut Vec<Action>, observed: &ObservedPod) {
    let mut gone: BTreeSet<ContainerId> = actions
        .iter()
        .filter_map(|action| match action {
            Action::RemoveContainer { id, .. } => Some(id.clone()),
            _ => None,
        })
        .collect();
    let mut kept = BTreeSet::new();
    let mut newest = BTreeSet::new();
    for container in &observed.containers {
        let is_newest = newest.insert(container.name());
        let is_dead = match container.state() {
            ContainerState::Exited => true,
            ContainerState::Created => !is_newest,
            ContainerState::Running | ContainerState::Unknown => false,
        };
        if is_dead && !gone.contains(container.id()) && !kept.insert(container.name()) {
            gone.insert(container.id().clone());
            actions.push(Action::RemoveContainer { id: container.id().clone(), log: DeadLog::Removed });
        }
    }
    let empty_old = observed.sandboxes.iter().skip(1).filter(|sandbox| {
        let mut inside = observed.containers.iter().filter(|container| container.sandbox_id == *sandbox.id());
        !sandbox.is_ready() && inside.all(|container| gone.contains(container.id()))
    });
    actions.extend(empty_old.map(ObservedSandbox::id).cloned().map(Action::RemoveSandbox));
}
