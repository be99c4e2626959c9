//! Init containers and sidecars (CONTRACT 3.11).
//!
//! Read from the last to the first: the newest one that exists in the current sandbox tells how far initialization got,
//! because older ones may have been removed. A regular container in the sandbox means that it is complete.

use core_types::runtime::ContainerState;
use core_types::{ContainerKind, ContainerRef, ObservedContainer, ObservedPod, SandboxId};

use super::{Draft, StopReason};
use crate::hash::container_hash;
use crate::restart::{restarts_after, restarts_when_lost};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Regular containers may run.
    Initialized,
    /// They may not yet.
    InProgress,
    /// An init container failed for good.
    Failed,
}

pub(super) fn step<'a>(draft: &mut Draft<'a>, sandbox: &SandboxId) -> Outcome {
    let init: Vec<ContainerRef<'a>> =
        draft.containers.iter().copied().take_while(|c| c.kind != ContainerKind::Regular).collect();
    if init.is_empty() {
        return Outcome::Initialized;
    }
    let observed = draft.input.observed;
    let mut scan = Scan { initialized: false, reached: false, starts: Vec::new() };
    let has_regular = draft.containers.iter().any(|container| {
        container.kind == ContainerKind::Regular && active(observed, &container.spec.name, sandbox).is_some()
    });
    scan.initialized = has_regular;
    scan.reached = has_regular;
    for (index, container) in init.iter().enumerate().rev() {
        let Some(instance) = active(observed, &container.spec.name, sandbox) else {
            if scan.reached && container.kind == ContainerKind::Sidecar {
                scan.starts.push(index);
            }
            continue;
        };
        if scan.reached && container.kind == ContainerKind::Init {
            continue;
        }
        let is_last = index + 1 == init.len();
        match container.kind {
            ContainerKind::Sidecar => scan.sidecar(draft, *container, instance, index, is_last),
            _ => {
                if scan.ordinary(draft, *container, instance, index, is_last) == Outcome::Failed {
                    return Outcome::Failed;
                }
            }
        }
        scan.reached = true;
    }
    if !scan.reached {
        scan.starts.push(0);
    }
    scan.starts.sort_unstable();
    for index in scan.starts {
        draft.start(init[index]);
    }
    if scan.initialized { Outcome::Initialized } else { Outcome::InProgress }
}

/// The newest instance of a container in the current sandbox.
fn active<'a>(observed: &'a ObservedPod, name: &str, sandbox: &SandboxId) -> Option<&'a ObservedContainer> {
    observed.containers.iter().find(|instance| instance.name() == name && instance.sandbox_id == *sandbox)
}

struct Scan {
    /// Nothing of the initialization is left to do.
    initialized: bool,
    /// A later container exists, so the ones before it are through.
    reached: bool,
    /// Indexes to start.
    starts: Vec<usize>,
}

impl Scan {
    fn sidecar(
        &mut self,
        draft: &mut Draft<'_>,
        container: ContainerRef<'_>,
        instance: &ObservedContainer,
        index: usize,
        is_last: bool,
    ) {
        let name = &container.spec.name;
        match instance.state() {
            ContainerState::Created | ContainerState::Exited => self.starts.push(index),
            ContainerState::Unknown => {
                draft.stop(container, instance.id(), StopReason::UnknownState, unknown_message());
                self.starts.push(index);
            }
            ContainerState::Running => {
                if !draft.input.unstarted.contains(instance.id()) {
                    if is_last {
                        self.initialized = true;
                    } else if !self.reached {
                        self.starts.push(index + 1);
                    }
                }
                if let Some(failed) = draft.failed_probe(instance) {
                    let message = format!("Init container {name} {}", failed.text());
                    draft.stop(container, instance.id(), StopReason::ProbeFailed(failed), message);
                    self.starts.push(index);
                } else if instance.spec_hash() != Some(container_hash(container.spec)) {
                    let message = format!("Init container {name} definition changed");
                    draft.stop(container, instance.id(), StopReason::SpecChanged, message);
                    self.starts.push(index);
                } else if draft.input.resized.contains(instance.id()) {
                    let message = format!("Container {name} resize requires restart");
                    draft.stop(container, instance.id(), StopReason::Resized, message);
                    self.starts.push(index);
                }
            }
        }
    }

    fn ordinary(
        &mut self,
        draft: &mut Draft<'_>,
        container: ContainerRef<'_>,
        instance: &ObservedContainer,
        index: usize,
        is_last: bool,
    ) -> Outcome {
        let pod = draft.input.pod;
        match instance.state() {
            ContainerState::Created => self.starts.push(index),
            ContainerState::Running => {}
            ContainerState::Exited if has_failed(instance) => {
                if !restarts_after(pod, container.spec, instance.status.exit_code, draft.input.rules) {
                    return Outcome::Failed;
                }
                self.starts.push(index);
            }
            ContainerState::Exited if is_last => self.initialized = true,
            ContainerState::Exited => self.starts.push(index + 1),
            ContainerState::Unknown => {
                if !restarts_when_lost(pod, container.spec, draft.input.rules) {
                    return Outcome::Failed;
                }
                draft.stop(container, instance.id(), StopReason::UnknownState, unknown_message());
                self.starts.push(index);
            }
        }
        Outcome::InProgress
    }
}

fn has_failed(instance: &ObservedContainer) -> bool {
    instance.status.exit_code != 0 || instance.status.reason == "OOMKilled"
}

fn unknown_message() -> String {
    "Init container is in \"unknown\" state, try killing it before restart".to_owned()
}
