//! `--lock-file` and `--exit-on-lock-contention`: one kubelet after another (CONTRACT 1.7).
//!
//! The lock is waited for, as upstream does: the kubelet that holds it may be about to hand over.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use io_host::lock::{LockError, LockFile};

/// Pause between two tries: a lock has no event that could be waited for without a thread.
const RETRY: Duration = Duration::from_secs(1);

/// Waits until the lock is free and takes it.
pub(crate) async fn acquire(path: &Path) -> Result<LockFile> {
    tracing::info!(path = %path.display(), "acquiring the file lock");
    let mut told = false;
    loop {
        match LockFile::try_acquire(path) {
            Ok(lock) => return Ok(lock),
            Err(error @ LockError::Held { .. }) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "waiting for the file lock");
                }
            }
            Err(error) => return Err(error).context("--lock-file"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Comes back when someone else opens or deletes the lock file from now on.
pub(crate) struct Contention(inotify::EventStream<[u8; 4096]>);

impl Contention {
    /// Starts to watch. Needs a tokio runtime.
    pub(crate) fn watch(path: &Path) -> Result<Self> {
        let start = || {
            let inotify = Inotify::init()?;
            inotify.watches().add(path, WatchMask::OPEN | WatchMask::DELETE_SELF)?;
            inotify.into_event_stream([0; 4096])
        };
        Ok(Self(start().with_context(|| format!("--exit-on-lock-contention: watch {}", path.display()))?))
    }

    /// Waits for it; an error of the watch counts as well, as upstream does.
    pub(crate) async fn wait(&mut self) {
        self.0.next().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lock_is_waited_for_and_another_one_who_wants_it_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let held = acquire(&path).await.unwrap();
        let mut contention = Contention::watch(&path).unwrap();
        let (noticed, second) = tokio::join!(
            async {
                contention.wait().await;
                drop(held);
            },
            acquire(&path),
        );
        let () = noticed;
        second.unwrap();
        assert!(acquire(&temp.path().join("no/lock")).await.is_err());
    }
}
