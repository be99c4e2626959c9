//! Files that outlive the agent: how one is read and written, and the books of pod resources, which are kept behind the sync loop's
//! back: the loop hands over the newest state and goes on.
//!
//! Reads: the newest state of a book, as a watch. Writes: one checkpoint, as a whole, again after a pause when it fails. What the
//! agent lost because it was killed before a write is done again at the next sync: every step of a resize can be repeated.
//! Guarantees: a file that cannot be used is set aside and named, and stops nothing.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use core_cm::{ResourceBook, checkpoint};
use ports::Checkpoints;
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// Reads a file in JSON; `without` says what becomes of it when the file cannot be used.
pub(crate) async fn load_json<T: DeserializeOwned>(
    checkpoints: &dyn Checkpoints,
    name: &str,
    without: &str,
) -> Option<T> {
    load(checkpoints, name, without, |content| serde_json::from_slice(content)).await
}

/// Writes a file in JSON; `without` says what becomes of it when that fails.
pub(crate) async fn store_json<T: Serialize>(
    checkpoints: &dyn Checkpoints,
    name: &str,
    without: &str,
    content: &T,
) {
    let content = match serde_json::to_vec(content) {
        Ok(content) => content,
        Err(error) => return tracing::error!(%error, "{name} has no JSON form; {without}"),
    };
    if let Err(error) = checkpoints.store(name, &content).await {
        tracing::warn!(%error, "{name} cannot be written; {without}");
    }
}

/// Reads a book. Without it what runs keeps what it has, and is given that.
pub(crate) async fn load_book(checkpoints: &dyn Checkpoints, name: &str) -> ResourceBook {
    let without = "pods are taken to have what they ask for";
    load(checkpoints, name, without, checkpoint::decode).await.unwrap_or_default()
}

async fn load<T, E: Display>(
    checkpoints: &dyn Checkpoints,
    name: &str,
    without: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Option<T> {
    let content = match checkpoints.load(name).await {
        Ok(content) => content?,
        Err(error) => {
            tracing::error!(%error, "{name} cannot be read; {without}");
            return None;
        }
    };
    match decode(&content) {
        Ok(value) => Some(value),
        Err(error) => {
            let moved = checkpoints.set_aside(name).await;
            let place = moved.map_or_else(|error| error.to_string(), |path| path.display().to_string());
            tracing::error!(%error, place, "{name} cannot be used and is set aside; {without}");
            None
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
