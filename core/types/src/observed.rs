//! One picture of one pod as the runtime shows it, with the time it was taken.
//!
//! The PLEG makes these and nobody else does. Whoever must see the effect of an own action waits for a picture whose
//! `observed_at` is later than the action (CONTRACT 10.1).

use crate::runtime::{ContainerState, ContainerStatus, SandboxState, SandboxStatus};
use crate::{ContainerId, MonoTime, PodKey, PodUid, SandboxId, keys};

/// A sandbox in an [`ObservedPod`].
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedSandbox(pub SandboxStatus);

impl ObservedSandbox {
    /// The runtime's ID.
    pub fn id(&self) -> &SandboxId {
        &self.0.summary.id
    }

    /// True while its namespaces exist.
    pub fn is_ready(&self) -> bool {
        self.0.summary.state == SandboxState::Ready
    }
}

/// A container in an [`ObservedPod`].
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedContainer {
    /// The sandbox it was created in.
    pub sandbox_id: SandboxId,
    /// What the runtime says of it.
    pub status: ContainerStatus,
    /// Content of its termination message (CONTRACT 3.17); empty while it runs or when it left none.
    pub termination_message: String,
}

impl ObservedContainer {
    /// The runtime's ID.
    pub fn id(&self) -> &ContainerId {
        &self.status.id
    }

    /// Name in the pod spec.
    pub fn name(&self) -> &str {
        &self.status.name
    }

    /// State.
    pub fn state(&self) -> ContainerState {
        self.status.state
    }

    /// How often the container was restarted before this instance: the annotation written at creation, or the attempt.
    pub fn restart_count(&self) -> u32 {
        self.status
            .annotations
            .get(keys::CONTAINER_RESTART_COUNT_ANNOTATION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.status.attempt)
    }

    /// Hash of the spec it was created from; `None` when the annotation is missing or unreadable.
    pub fn spec_hash(&self) -> Option<u64> {
        let text = self.status.annotations.get(keys::CONTAINER_HASH_ANNOTATION)?;
        u64::from_str_radix(text, 16).ok()
    }
}

/// Everything the runtime holds for one pod UID.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPod {
    /// UID from the labels.
    pub uid: PodUid,
    /// Namespace and name from the labels.
    pub key: PodKey,
    /// Newest attempt first.
    pub sandboxes: Vec<ObservedSandbox>,
    /// Newest instance first: by restart count, because the wall clock may have been set back between two creations.
    pub containers: Vec<ObservedContainer>,
    /// The latest IPs known of the pod, primary first; kept after the sandbox is gone (CONTRACT 4.1).
    pub ips: Vec<String>,
    /// When the runtime was asked (start of the asking).
    pub observed_at: MonoTime,
}

impl ObservedPod {
    /// A picture that shows nothing: the runtime holds nothing for the pod.
    pub fn empty(uid: PodUid, key: PodKey, observed_at: MonoTime) -> Self {
        Self { uid, key, sandboxes: Vec::new(), containers: Vec::new(), ips: Vec::new(), observed_at }
    }

    /// The newest instance of the named container.
    pub fn latest(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers.iter().find(|container| container.name() == name)
    }

    /// Instances of the named container, newest first.
    pub fn instances<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ObservedContainer> {
        self.containers.iter().filter(move |container| container.name() == name)
    }

    /// The newest sandbox.
    pub fn latest_sandbox(&self) -> Option<&ObservedSandbox> {
        self.sandboxes.first()
    }

    /// Containers that are running or may be (state unknown).
    pub fn live_containers(&self) -> impl Iterator<Item = &ObservedContainer> {
        self.containers
            .iter()
            .filter(|c| matches!(c.state(), ContainerState::Running | ContainerState::Unknown))
    }

    /// True when nothing of the pod runs: no live container and no ready sandbox.
    pub fn is_stopped(&self) -> bool {
        self.live_containers().next().is_none() && !self.sandboxes.iter().any(ObservedSandbox::is_ready)
    }

    /// True when the runtime holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}
