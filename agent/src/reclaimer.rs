//! The way to a task that gives something back by itself, and at once when eviction asks for it.

use tokio::sync::{mpsc, oneshot};

/// Requests that may wait: eviction asks for one thing at a time.
const QUEUE: usize = 1;

/// Where requests arrive: whoever takes one answers it when everything is done.
pub(crate) type Requests = mpsc::Receiver<oneshot::Sender<()>>;

/// The way to such a task.
#[derive(Clone, Debug)]
pub(crate) struct Reclaimer(mpsc::Sender<oneshot::Sender<()>>);

impl Reclaimer {
    /// The way, and where it leads.
    pub(crate) fn new() -> (Self, Requests) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Self(sender), requests)
    }

    /// Has everything given back that nobody needs, and waits for it. Returns at once when the agent stops.
    pub(crate) async fn reclaim_all(&self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_ok() {
            // The task is gone with the agent.
            answered.await.unwrap_or_default();
        }
    }
}
