//! The operations that run now: which pod each belongs to, how to cancel it, and what they tell.

use std::collections::HashMap;

use core_pods::worker::OpId;
use core_types::PodUid;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::executor::OpReport;
use crate::note::Note;

/// Notes that may wait for the loop: a burst of a few per operation of a full node.
const NOTE_QUEUE: usize = 1024;

/// News of an operation.
pub(crate) enum OpNews {
    /// It tells something while it runs.
    Note(Note),
    /// It ended; without a report when it ended in an unforeseen way.
    Ended(PodUid, OpId, Option<Box<OpReport>>),
}

/// All running operations.
pub(crate) struct Operations {
    tasks: JoinSet<OpReport>,
    running: HashMap<Id, (PodUid, OpId, CancellationToken)>,
    notes: mpsc::Sender<Note>,
    incoming: mpsc::Receiver<Note>,
}

impl Operations {
    pub(crate) fn new() -> Self {
        let (notes, incoming) = mpsc::channel(NOTE_QUEUE);
        Self { tasks: JoinSet::new(), running: HashMap::new(), notes, incoming }
    }

    /// Where operations send their notes.
    pub(crate) fn notes(&self) -> mpsc::Sender<Note> {
        self.notes.clone()
    }

    /// Starts an operation.
    pub(crate) fn start(
        &mut self,
        (uid, op): (PodUid, OpId),
        cancel: CancellationToken,
        work: impl Future<Output = OpReport> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(work);
        self.running.insert(handle.id(), (uid, op, cancel));
    }

    /// Asks the operation of a pod to end early.
    pub(crate) fn cancel(&self, uid: &PodUid) {
        self.running
            .values()
            .filter(|(running, _, _)| running == uid)
            .for_each(|(_, _, cancel)| cancel.cancel());
    }

    /// Asks all operations to end early.
    pub(crate) fn cancel_all(&self) {
        self.running.values().for_each(|(_, _, cancel)| cancel.cancel());
    }

    /// Waits for news; for ever when nothing runs. Notes come before the end of the operation that sent them.
    pub(crate) async fn next(&mut self) -> OpNews {
        loop {
            let ended = tokio::select! {
                biased;
                Some(note) = self.incoming.recv() => return OpNews::Note(note),
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => ended,
            };
            let (id, report) = match ended {
                Ok((id, report)) => (id, Some(Box::new(report))),
                Err(error) => {
                    tracing::error!(%error, "an operation of a pod ended in an unforeseen way; it is tried again");
                    (error.id(), None)
                }
            };
            if let Some((uid, op, _)) = self.running.remove(&id) {
                return OpNews::Ended(uid, op, report);
            }
        }
    }
}
