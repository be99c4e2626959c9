//! What an operation tells the sync loop while it runs.

use core_cm::PodResources;
use core_types::view::Activity;
use core_types::{PodUid, WallTime};
use ports::Clock;
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::events::Happening;
use crate::metrics::EventMetrics;

/// One message of a running operation.
#[derive(Debug)]
pub(crate) enum NoteKind {
    /// What it does now.
    Doing(Activity),
    /// An event of the pod.
    Happened(Happening),
    /// What of the pod's resources is in force now.
    Actuated(Box<PodResources>),
    /// It tried to resize the pod.
    Resized {
        /// Why it did not succeed.
        result: Result<(), String>,
        /// How long it took.
        millis: u64,
    },
}

/// A message and the pod it is about.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) uid: PodUid,
    pub(crate) kind: NoteKind,
}

/// An operation's way to the sync loop. The channel is bounded; the loop always drains it, so senders only wait briefly.
#[derive(Clone)]
pub(crate) struct Notes {
    pub(crate) uid: PodUid,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: mpsc::Sender<Note>,
    /// Counts what is no event.
    pub(crate) metrics: EventMetrics,
}

impl Notes {
    /// Says what the operation does now; empty container for the pod as a whole.
    pub(crate) async fn doing(&self, container: &str, doing: impl Into<String>) {
        let since = self.clock.wall();
        let activity = Activity { doing: doing.into(), container: container.to_owned(), since };
        self.send(NoteKind::Doing(activity)).await;
    }

    /// Records an event of the pod.
    pub(crate) async fn happened(&self, happening: Happening) {
        self.send(NoteKind::Happened(happening)).await;
    }

    /// Says what of the pod's resources is in force now.
    pub(crate) async fn actuated(&self, resources: &PodResources) {
        self.send(NoteKind::Actuated(Box::new(resources.clone()))).await;
    }

    /// Says how a resize went.
    pub(crate) async fn resized(&self, result: Result<(), String>, millis: u64) {
        self.send(NoteKind::Resized { result, millis }).await;
    }

    /// Wall time of the agent's clock.
    pub(crate) fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    async fn send(&self, kind: NoteKind) {
        // The loop is gone only when the agent stops; nobody reads notes then.
        let _ = self.sender.send(Note { uid: self.uid.clone(), kind }).await;
    }
}
