//! The pod lifecycle event generator: what changed between two pictures of the runtime, which few calls are needed to
//! know the details, and whether the one who looks is healthy (CONTRACT 4.1-4.3).
//!
//! [`Pleg`] is a machine. Its driver waits until [`Pleg::next_look`], for an event of the runtime
//! ([`Pleg::on_event`]) or for a wish to see the effect of an own action, and then does one look:
//!
//! ```text
//! begin_relist(now, scope) ── list sandboxes and containers ──> on_list ──> Listed
//!        ^                          └ failed ──> on_list_failed              │ to_inspect: ask for these statuses
//!        └────────── next_look <── on_inspect_failed <── failed ─────────────┤
//!                                  on_inspected ──> PlegOutcome <── done ────┘
//! ```
//!
//! Guarantees:
//! - An [`ObservedPod`] carries the time at which its listing began, and shows nothing older than that.
//! - A status is asked again only if it can have changed: an ended container's never changes, that of a container whose
//!   state in the list is unchanged is reused, unless [`Pleg::request_reinspect`] said otherwise.
//! - No event without a change; a change whose details could not be read gives its events when they can be.
//! - A pod that vanished gives its last events and an empty picture once, and is then forgotten.
//! - A late answer to an old question is dropped; it never overwrites a newer picture. Of two looks whose calls overlapped, the
//!   one that would take back what the other saw is not believed: the pod is looked at again.
//!
//! Left out: the calls themselves, and who is told (the agent's PLEG task); the runtime's events are only hints to look.

mod diff;
mod health;
mod hints;
mod machine;
mod picture;
#[cfg(test)]
mod tests;

use std::time::Duration;

use core_types::runtime::{ContainerStatus, ContainerSummary, SandboxState, SandboxStatus, SandboxSummary};
use core_types::{ContainerId, MonoTime, ObservedPod, PodKey, PodUid, SandboxId};

pub use health::{Health, Unhealthy};
pub use machine::Pleg;

/// How often to look, and when to call it unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Time between full relists while the runtime's event stream works: the relist is then only the authority that
    /// corrects what a lost event hid.
    pub relist_with_events: Duration,
    /// Time between full relists without an event stream (upstream's `genericPlegRelistPeriod`).
    pub relist_without_events: Duration,
    /// How long no relist may succeed before the PLEG is unhealthy (upstream's `genericPlegRelistThreshold`).
    pub unhealthy_after: Duration,
    /// First pause after a look that failed; doubled by each further failure.
    pub retry_min: Duration,
    /// Longest pause after a look that failed.
    pub retry_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            relist_with_events: Duration::from_secs(300),
            relist_without_events: Duration::from_secs(1),
            unhealthy_after: Duration::from_secs(180),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// Whether the runtime tells by itself when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFeed {
    /// The event stream is connected.
    Streaming,
    /// No stream: the runtime has none, or it broke.
    Absent,
}

/// What a look covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every pod.
    All,
    /// One pod.
    One(PodUid),
}

/// A look under way: made by [`Pleg::begin_relist`], handed back with the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relist {
    /// When the asking began.
    pub started_at: MonoTime,
    /// What it covers.
    pub scope: Scope,
}

/// What a listing tells at once, and what is still to be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// Pods of which some statuses must be asked.
    pub to_inspect: Vec<PodToInspect>,
    /// Pods that changed and need no further call: something of them, or all, is gone.
    pub outcomes: Vec<PlegOutcome>,
    /// Pods whose statuses a newer look has asked for and not got yet, and those that are looked at again because two looks at
    /// once contradict each other.
    pub awaited: Vec<(PodUid, PodKey)>,
    /// Pods whose last picture still holds, as of the start of this look, or is newer. [`Pleg::observed`] gives the picture; for a
    /// pod that it does not know, the runtime holds nothing.
    pub confirmed: Vec<PodUid>,
}

/// A pod whose details must be read.
#[derive(Clone, Debug, PartialEq)]
pub struct PodToInspect {
    /// UID.
    pub uid: PodUid,
    /// Namespace and name.
    pub key: PodKey,
    /// Start of the look; goes back into [`Pleg::on_inspected`].
    pub observed_at: MonoTime,
    /// Sandboxes whose status is needed.
    pub sandboxes: Vec<SandboxSummary>,
    /// Containers whose status is needed, and the termination message of those that have ended.
    pub containers: Vec<ContainerSummary>,
}

/// Answers for one [`PodToInspect`]. What the runtime did not find any more is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InspectedPod {
    /// Sandbox statuses.
    pub sandboxes: Vec<SandboxStatus>,
    /// Container statuses.
    pub containers: Vec<InspectedContainer>,
}

/// Answer for one container.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectedContainer {
    /// Status.
    pub status: ContainerStatus,
    /// Termination message of an ended container (CONTRACT 3.17); otherwise empty.
    pub termination_message: String,
}

/// A new picture of a pod and what happened since the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct PlegOutcome {
    /// The picture.
    pub observed: ObservedPod,
    /// What happened: sandboxes first, then containers, each in order of ID. May be empty: a container that was only
    /// created is a change without an event.
    pub events: Vec<PlegEvent>,
}

/// Something that happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlegEvent {
    /// A container runs that did not.
    ContainerStarted {
        /// Container.
        id: ContainerId,
        /// Name in the pod.
        name: String,
    },
    /// A container ended, or vanished before its end was seen.
    ContainerDied {
        /// Container.
        id: ContainerId,
        /// Name in the pod.
        name: String,
        /// Exit code; `None` when it vanished.
        exit_code: Option<i32>,
    },
    /// The runtime does not hold the container any more.
    ContainerRemoved {
        /// Container.
        id: ContainerId,
        /// Name in the pod.
        name: String,
    },
    /// A sandbox appeared, changed or vanished.
    SandboxChanged {
        /// Sandbox.
        id: SandboxId,
        /// State now; `None` when it is gone.
        state: Option<SandboxState>,
    },
}
