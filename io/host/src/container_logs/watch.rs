//! One inotify instance for all followers of logs. Whoever waits reads the events for all: there is no task of its own.
//!
//! ```text
//! follower --watch(dir)--> DirWatches: one watch per directory, while somebody follows there
//!    ^                        |  events, read by one of those who wait
//!    `------- Change --------'
//! ```

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::watch;

/// Room for some dozen events with names of files.
const BUFFER_BYTES: usize = 4096;

/// What happened in a directory since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Files were written or have gone.
    Written,
    /// A file was made or has come.
    NewFile,
    /// The directory is gone, and the watch with it.
    Lost,
}

/// Counts of what happened in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u64,
    new_files: u64,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    counts: watch::Sender<Counts>,
}

/// The watches of all directories.
pub(super) struct DirWatches {
    watches: Watches,
    dirs: Mutex<HashMap<WatchDescriptor, Dir>>,
    events: tokio::sync::Mutex<EventStream<[u8; BUFFER_BYTES]>>,
}

impl std::fmt::Debug for DirWatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirWatches").field("dirs", &self.dirs().len()).finish_non_exhaustive()
    }
}

impl DirWatches {
    /// `None` where the kernel gives no watches: followers then look by themselves.
    pub(super) fn start() -> Option<Arc<Self>> {
        let start = || {
            let inotify = Inotify::init()?;
            let watches = inotify.watches();
            let events = inotify.into_event_stream([0; BUFFER_BYTES])?;
            io::Result::Ok(Self { watches, dirs: Mutex::default(), events: tokio::sync::Mutex::new(events) })
        };
        match start() {
            Ok(watches) => Some(Arc::new(watches)),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not tell of new lines in logs: followers look once per second");
                None
            }
        }
    }

    /// Watches a directory for as long as the watch is held.
    pub(super) fn watch(self: &Arc<Self>, dir: &Path) -> io::Result<Watch> {
        let mut dirs = self.dirs();
        let known = dirs.iter().find(|(_, known)| known.path == dir);
        let (descriptor, counts) = match known {
            Some((descriptor, known)) => (descriptor.clone(), known.counts.subscribe()),
            None => {
                let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MODIFY | WatchMask::DELETE;
                let descriptor = self.watches.clone().add(dir, mask)?;
                let (sender, counts) = watch::channel(Counts::default());
                dirs.insert(descriptor.clone(), Dir { path: dir.to_owned(), counts: sender });
                (descriptor, counts)
            }
        };
        let seen = *counts.borrow();
        Ok(Watch { shared: Arc::clone(self), descriptor, counts, seen })
    }

    /// Reads events and tells those concerned, until `is_enough`; never returns when no events can come any more.
    async fn pump(&self, is_enough: impl Fn() -> bool) {
        let mut events = self.events.lock().await;
        while !is_enough() {
            match events.next().await {
                Some(Ok(event)) if event.mask.contains(EventMask::Q_OVERFLOW) => {
                    let all = |counts: &mut Counts| {
                        (counts.all, counts.new_files) = (counts.all + 1, counts.new_files + 1)
                    };
                    self.dirs().values().for_each(|dir| dir.counts.send_modify(all));
                }
                Some(Ok(event)) if event.mask.contains(EventMask::IGNORED) => {
                    drop(self.dirs().remove(&event.wd))
                }
                Some(Ok(event)) => {
                    let is_new = event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO);
                    if let Some(dir) = self.dirs().get(&event.wd) {
                        dir.counts.send_modify(|counts| {
                            counts.all += 1;
                            counts.new_files += u64::from(is_new);
                        });
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "events of log directories cannot be read");
                    std::future::pending().await
                }
                None => std::future::pending().await,
            }
        }
    }

    fn dirs(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, Dir>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One follower's view of a directory.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<DirWatches>,
    descriptor: WatchDescriptor,
    counts: watch::Receiver<Counts>,
    seen: Counts,
}

impl Watch {
    /// Waits for the next change. May be cancelled: nothing is lost.
    pub(super) async fn next(&mut self) -> Change {
        let seen = self.seen;
        let counts = self.counts.clone();
        let is_lost = |counts: &watch::Receiver<Counts>| counts.has_changed().is_err();
        tokio::select! {
            biased;
            _ = self.counts.wait_for(|now| *now != seen) => {}
            () = self.shared.pump(|| *counts.borrow() != seen || is_lost(&counts)) => {}
        }
        if is_lost(&self.counts) {
            return Change::Lost;
        }
        let now = *self.counts.borrow_and_update();
        self.seen = now;
        if now.new_files == seen.new_files { Change::Written } else { Change::NewFile }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut dirs = self.shared.dirs();
        // This one still counts.
        if dirs.get(&self.descriptor).is_some_and(|dir| dir.counts.receiver_count() <= 1) {
            dirs.remove(&self.descriptor);
            // The kernel has removed it already when the directory is gone.
            let _ = self.shared.watches.clone().remove(self.descriptor.clone());
        }
    }
}
