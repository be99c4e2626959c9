//! The first write to a log after each look at it: a one-shot inotify watch per log, so that a log that is written all the time
//! costs one event per look, and one that rests costs nothing.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use crate::beneath::fd_path;

/// Room for some hundred events of files: they carry no names.
const BUFFER_BYTES: usize = 8 * 1024;

/// The watches of all logs.
pub(super) struct Writes {
    watches: Watches,
    armed: Mutex<HashMap<WatchDescriptor, String>>,
    events: tokio::sync::Mutex<EventStream<[u8; BUFFER_BYTES]>>,
}

impl std::fmt::Debug for Writes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writes").field("armed", &self.armed().len()).finish_non_exhaustive()
    }
}

impl Writes {
    /// `None` where the kernel gives no watches: logs are then looked at by time alone.
    pub(super) fn start() -> Option<Arc<Self>> {
        let start = || {
            let inotify = Inotify::init()?;
            let watches = inotify.watches();
            let events = inotify.into_event_stream([0; BUFFER_BYTES])?;
            std::io::Result::Ok(Self {
                watches,
                armed: Mutex::default(),
                events: tokio::sync::Mutex::new(events),
            })
        };
        match start() {
            Ok(writes) => Some(Arc::new(writes)),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not tell of writes to logs: a burst may pass a log's cap before the next look at it");
                None
            }
        }
    }

    /// Watches for the next write to a log. A log that cannot be watched is looked at by time alone.
    pub(super) fn arm(&self, file: &File, log: &Path) {
        let mut armed = self.armed();
        match self.watches.clone().add(fd_path(file), WatchMask::MODIFY | WatchMask::ONESHOT) {
            Ok(watch) => drop(armed.insert(watch, log.to_string_lossy().into_owned())),
            Err(error) => tracing::debug!(%error, log = %log.display(), "cannot watch a log for writes"),
        }
    }

    /// Waits for writes, and names the logs.
    pub(super) async fn next(&self) -> Vec<String> {
        let mut events = self.events.lock().await;
        let mut written = Vec::new();
        loop {
            let event = match written.is_empty() {
                true => events.next().await,
                false => match events.next().now_or_never() {
                    Some(event) => event,
                    None => return written,
                },
            };
            match event {
                Some(Ok(event)) if event.mask.contains(EventMask::Q_OVERFLOW) => {
                    written.extend(self.armed().drain().map(|(_, log)| log));
                }
                // A watch that is used up is told of twice: by the write, and by its end.
                Some(Ok(event)) => {
                    let log = self.armed().remove(&event.wd);
                    written.extend(log.filter(|_| event.mask.contains(EventMask::MODIFY)));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "events of writes to logs cannot be read; logs are looked at by time alone");
                    return std::future::pending().await;
                }
                None => return std::future::pending().await,
            }
        }
    }

    fn armed(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, String>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
