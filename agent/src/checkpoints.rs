//! Keeps books of pod resources in files, behind the sync loop's back: the loop hands over the newest state and goes on.
//!
//! Reads: the newest state, as a watch. Writes: one checkpoint, as a whole, again after a pause when it fails. What the
//! agent lost because it was killed before a write is done again at the next sync: every step of a resize can be repeated.

use std::sync::Arc;
use std::time::Duration;

use core_cm::{ResourceBook, checkpoint};
use ports::Checkpoints;
use tokio::sync::watch;

use crate::outside::Outside;
use crate::timer;

/// What pods were given, in upstream's file.
pub(crate) const ALLOCATED: &str = "allocated_pods_state";
/// What is in force, in upstream's file.
pub(crate) const ACTUATED: &str = "actuated_pods_state";

/// Wait after a write that failed. A full disk does not get better by haste.
const RETRY: Duration = Duration::from_secs(5);

/// Changes within this time go into one write: pods often start together.
const GATHER: Duration = Duration::from_millis(50);

/// Where the sync loop leaves the newest state of a book.
pub(crate) type Keeper = watch::Sender<Arc<ResourceBook>>;

/// Reads a book. A file that cannot be used is set aside: what runs keeps what it has, and is given that.
pub(crate) async fn load(checkpoints: &dyn Checkpoints, name: &str) -> ResourceBook {
    let content = match checkpoints.load(name).await {
        Ok(Some(content)) => content,
        Ok(None) => return ResourceBook::new(),
        Err(error) => {
            tracing::error!(%error, "{name} cannot be read; pods are taken to have what they ask for");
            return ResourceBook::new();
        }
    };
    match checkpoint::decode(&content) {
        Ok(book) => book,
        Err(error) => {
            let moved = checkpoints.set_aside(name).await;
            let place = moved.map_or_else(|error| error.to_string(), |path| path.display().to_string());
            tracing::error!(
                %error, place,
                "{name} cannot be used and is set aside; pods are taken to have what they ask for"
            );
            ResourceBook::new()
        }
    }
}

/// Writes each new state until the sync loop is gone; the last one too.
pub(crate) async fn keep(outside: Outside, name: &'static str, mut book: watch::Receiver<Arc<ResourceBook>>) {
    while book.changed().await.is_ok() {
        timer::until(outside.clock.as_ref(), Some(outside.clock.now() + GATHER)).await;
        let newest = Arc::clone(&book.borrow_and_update());
        if let Err(error) = outside.checkpoints.store(name, &checkpoint::encode(&newest)).await {
            tracing::warn!(%error, "{name} cannot be written; it is tried again in {RETRY:?}");
            let due = outside.clock.now() + RETRY;
            timer::until(outside.clock.as_ref(), Some(due)).await;
            book.mark_changed();
        }
    }
}
