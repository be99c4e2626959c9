//! Hints that something at a path changed, from inotify.
//!
//! Watched are the path itself and the directory it is in, or, when that is missing, the nearest directory above that is
//! there. When one of them appears, vanishes or is replaced, the watches are set anew before the hint is given; so a
//! reader that looks after each hint misses nothing. Hints are not merged here. The stream ends when watches cannot be set.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use ports::FileError;
use ports::sources::FileHints;

use crate::blocking::Blocking;
use crate::error::{AtPath, no_result};

/// Room for some dozen events; more stay in the kernel's queue.
const BUFFER: usize = 4096;

/// How often watches are set again when directories change while they are being set.
const TRIES: usize = 16;

/// Changes of a directory's entries and of the watched thing itself.
const CONTENT: WatchMask = WatchMask::CREATE
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF);

/// What says that an entry appeared, vanished or was replaced.
const ENTRIES: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);

/// The watches that are set.
#[derive(Debug)]
struct Armed {
    /// On the path itself, when it is there.
    content: Option<WatchDescriptor>,
    /// On the nearest directory above, and the name in it that leads to the path.
    above: WatchDescriptor,
    next_name: std::ffi::OsString,
}

struct Watching {
    events: EventStream<[u8; BUFFER]>,
    armed: Armed,
    path: PathBuf,
    blocking: Arc<Blocking>,
}

/// See [`ports::ManifestFiles::watch`].
pub(super) async fn watch(path: PathBuf, blocking: Arc<Blocking>) -> Result<FileHints, FileError> {
    let inotify = Inotify::init().at("watch", &path)?;
    let events = inotify.into_event_stream([0; BUFFER]).at("watch", &path)?;
    let armed = arm(events.watches(), path.clone(), &blocking).await?;
    let watching = Watching { events, armed, path, blocking };
    Ok(Box::pin(futures_util::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next_hint().await {
            Ok(Some(())) => Some(((), Some(watching))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(path = %watching.path.display(), %error, "the watch of manifests ended; it is set up again");
                Some(((), None))
            }
        }
    })))
}

impl Watching {
    /// Waits for an event that matters; `None` when the queue is closed.
    async fn next_hint(&mut self) -> Result<Option<()>, FileError> {
        while let Some(event) = self.events.next().await {
            let event = event.at("watch", &self.path)?;
            if self.moves_the_path(&event) {
                self.rearm().await?;
                return Ok(Some(()));
            }
            if self.is_content(&event) || event.mask.contains(EventMask::Q_OVERFLOW) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    /// True when the path may be another thing now than the one that is watched.
    fn moves_the_path(&self, event: &EventOwned) -> bool {
        let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::IGNORED;
        if Some(&event.wd) == self.armed.content.as_ref() || event.wd == self.armed.above {
            event.mask.intersects(gone)
                || (event.wd == self.armed.above && event.name.as_deref() == Some(&*self.armed.next_name))
        } else {
            false
        }
    }

    fn is_content(&self, event: &EventOwned) -> bool {
        let ours = Some(&event.wd) == self.armed.content.as_ref();
        ours && event.name.as_deref().is_none_or(is_seen)
    }

    async fn rearm(&mut self) -> Result<(), FileError> {
        let fresh = arm(self.events.watches(), self.path.clone(), &self.blocking).await?;
        let old = std::mem::replace(&mut self.armed, fresh);
        for watch in old.content.into_iter().chain([old.above]) {
            if Some(&watch) != self.armed.content.as_ref() && watch != self.armed.above {
                // A watch whose directory is gone is gone as well.
                let _ = self.events.watches().remove(watch);
            }
        }
        Ok(())
    }
}

/// Hidden files are not read; `..data` is the link by which volumes change all their files at once.
fn is_seen(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") || name == "..data"
}

async fn arm(watches: Watches, path: PathBuf, blocking: &Blocking) -> Result<Armed, FileError> {
    let shown = path.clone();
    let result = blocking.run("watch", move || arm_now(watches, &path)).await;
    result.unwrap_or_else(|error| Err(no_result(error, "watch", shown)))
}

fn arm_now(mut watches: Watches, path: &Path) -> Result<Armed, FileError> {
    let absolute = std::path::absolute(path).at("watch", path)?;
    let mut failed = std::io::Error::other("the directories above it change all the time");
    for _ in 0..TRIES {
        let Some((above, next_name)) = nearest_above(&absolute) else { break };
        let above_watch = match watches.add(above, ENTRIES) {
            Ok(watch) => watch,
            Err(error) => {
                failed = error;
                continue;
            }
        };
        let content = watches.add(&absolute, CONTENT).ok();
        // What appeared before the watch was set would never be reported.
        if nearest_above(&absolute) == Some((above, next_name)) && content.is_some() == absolute.exists() {
            return Ok(Armed { content, above: above_watch, next_name: next_name.to_owned() });
        }
    }
    Err(failed).at("watch", path)
}

/// The deepest directory above the path that is there, and the name in it that leads to the path.
fn nearest_above(path: &Path) -> Option<(&Path, &OsStr)> {
    path.ancestors().find_map(|child| {
        let parent = child.parent()?;
        parent.is_dir().then_some((parent, child.file_name()?))
    })
}
