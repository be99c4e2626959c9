//! Regular containers of a usable sandbox (CONTRACT 3.9).

use core_types::ContainerKind;
use core_types::runtime::ContainerState;

use super::{Draft, StopReason};
use crate::hash::container_hash;
use crate::restart::{restarts_after, restarts_when_lost};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something runs or is to start.
    Alive,
    /// Every container has ended for good.
    NothingLeft,
}

pub(super) fn step(draft: &mut Draft<'_>) -> Outcome {
    let regular: Vec<_> =
        draft.containers.iter().copied().filter(|c| c.kind == ContainerKind::Regular).collect();
    let (pod, rules) = (draft.input.pod, draft.input.rules);
    let is_deleted = pod.metadata.deletion_timestamp.is_some();
    let mut outcome = Outcome::NothingLeft;
    for container in regular {
        let name = &container.spec.name;
        let latest = draft.latest(&container);
        let Some(instance) = latest else {
            if !is_deleted {
                draft.start(container);
                outcome = Outcome::Alive;
            }
            continue;
        };
        let restarts = match instance.state() {
            ContainerState::Running if instance.spec_hash() == Some(container_hash(container.spec)) => {
                outcome = Outcome::Alive;
                let Some(failed) = draft.failed_probe(instance) else {
                    if draft.input.resized.contains(instance.id()) {
                        let message = format!("Container {name} resize requires restart");
                        draft.stop(container, instance.id(), StopReason::Resized, message);
                        draft.start(container);
                    }
                    continue;
                };
                let restarts = restarts_when_lost(pod, container.spec, rules);
                let then = if restarts { ", will be restarted" } else { "" };
                let message = format!("Container {name} {}{then}", failed.text());
                draft.stop(container, instance.id(), StopReason::ProbeFailed(failed), message);
                restarts
            }
            ContainerState::Running => {
                let message = format!("Container {name} definition changed, will be restarted");
                draft.stop(container, instance.id(), StopReason::SpecChanged, message);
                true
            }
            ContainerState::Unknown => {
                let message = "Container is in \"unknown\" state, try killing it before restart".to_owned();
                draft.stop(container, instance.id(), StopReason::UnknownState, message);
                true
            }
            ContainerState::Created => true,
            ContainerState::Exited => restarts_after(pod, container.spec, instance.status.exit_code, rules),
        };
        if restarts && !is_deleted {
            draft.start(container);
            outcome = Outcome::Alive;
        }
    }
    outcome
}

/// Stops every live instance that is not the newest of its name: two must never run at once.
pub(super) fn stop_superseded(draft: &mut Draft<'_>) {
    for container in draft.containers.clone() {
        let name = &container.spec.name;
        let older = draft.input.observed.instances(name).skip(1);
        let live = older.filter(|c| matches!(c.state(), ContainerState::Running | ContainerState::Unknown));
        for instance in live {
            let message = format!("Container {name} has a newer instance, the older one is stopped");
            draft.stop(container, instance.id(), StopReason::Superseded, message);
        }
    }
}
