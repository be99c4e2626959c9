//! Files that may change while the listener runs: the serving certificate and the authority of client certificates
//! (gates `ReloadKubeletServerCertificateFile` and `ReloadKubeletClientCAFile`).
//!
//! They are looked at when they are needed, at most once a second: a listener that nobody asks does nothing, and no
//! chain of symbolic links, as a mounted Secret has them, hides a change. What cannot be read leaves the old content in
//! force, and says so once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use core_types::MonoTime;
use ports::Clock;

use crate::ServeError;

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time for one look; then the old content is used. The files can lie on a file server.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether files are read again when they change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Their content at the start counts.
    Never,
    /// Their current content counts.
    WhenChanged,
}

/// What tells one content of a file from the next: device, inode, size, time of the last change.
type Mark = Option<(u64, u64, u64, i64, i64)>;
type Read<T> = dyn Fn() -> Result<T, ServeError> + Send + Sync;

/// The content of some files.
pub(super) struct Reloaded<T> {
    paths: Arc<[PathBuf]>,
    read: Arc<Read<T>>,
    reload: Reload,
    clock: Arc<dyn Clock>,
    state: Mutex<State<T>>,
}

struct State<T> {
    content: Arc<T>,
    marks: Vec<Mark>,
    looked_at: MonoTime,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        reload: Reload,
        clock: Arc<dyn Clock>,
        read: impl Fn() -> Result<T, ServeError> + Send + Sync + 'static,
    ) -> Result<Self, ServeError> {
        let marks = marks(&paths);
        let state = State { content: Arc::new(read()?), marks, looked_at: clock.now() };
        Ok(Self { paths: paths.into(), read: Arc::new(read), reload, clock, state: Mutex::new(state) })
    }

    /// The newest content that could be read.
    pub(super) async fn current(&self) -> Arc<T> {
        if let Some(before) = self.due() {
            let (paths, read) = (Arc::clone(&self.paths), Arc::clone(&self.read));
            let look = tokio::task::spawn_blocking(move || {
                let marks = marks(&paths);
                (marks != before).then(|| (marks, read()))
            });
            match tokio::time::timeout(LOOK_TIMEOUT, look).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some((marks, content)))) => self.take(marks, content),
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(files = ?self.paths, "files cannot be looked at; their old content stays in force");
                }
            }
        }
        Arc::clone(&self.lock().content)
    }

    /// What was seen of the files, when it is time to look again.
    fn due(&self) -> Option<Vec<Mark>> {
        let now = self.clock.now();
        let mut state = self.lock();
        if self.reload == Reload::Never || now < state.looked_at + LOOK_INTERVAL {
            return None;
        }
        state.looked_at = now;
        Some(state.marks.clone())
    }

    fn take(&self, marks: Vec<Mark>, content: Result<T, ServeError>) {
        let mut state = self.lock();
        state.marks = marks;
        match content {
            Ok(content) => {
                state.content = Arc::new(content);
                tracing::info!(files = ?self.paths, "files have changed and were read again");
            }
            Err(error) => {
                tracing::error!(%error, "changed files cannot be used; their old content stays in force");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn marks(paths: &[PathBuf]) -> Vec<Mark> {
    let mark = |path: &PathBuf| {
        let found = std::fs::metadata(Path::new(path)).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    paths.iter().map(mark).collect()
}
