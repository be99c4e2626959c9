//! Reads container log files: CRI format or Docker's JSON lines (CONTRACT 2.7).
//!
//! Reads the file a runtime writes and inotify events of its directory; writes nothing. A reader holds one file and, while it
//! has something to hand out, one buffer; dropping it frees them. Followers share one inotify instance ([`watch`]), of which
//! a user may have few, and each waits without a thread, a buffer or a look at the file system. Only the current file is read, not rotated ones;
//! when the runtime starts a new file, the old one is read to its end first. A follower that is behind goes on with the
//! file after its own, as long as that is not compressed yet. Lines that cannot be understood are left out.

mod line;
mod source;
mod successor;
mod tail;
mod watch;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use ports::ContainerLogs;
use ports::logs::{LogChunks, LogError, LogFollow, LogRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::line::{Format, Output};
use self::source::Source;
use self::watch::{Change, DirWatches, Watch};

/// Logs that are read at once: twice what 10250 takes connections, for a reader costs a file and a few hundred bytes.
const MAX_READERS: usize = 2048;
/// Longest line kept in memory; the rest of a longer one is left out. containerd cuts lines at 16 KiB unless told otherwise.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// How long a follower waits for an event before it asks whether its container still runs, for one that ended writes
/// nothing. Upstream looks as often.
const FORCED_CHECK: Duration = Duration::from_secs(1);

/// How long a runtime may go on writing to the old file once it writes to the new one: what it has in its buffers.
const SETTLE: Duration = Duration::from_millis(20);

/// Reader of log files on this host.
#[derive(Debug)]
pub struct HostContainerLogs {
    watches: Option<Arc<DirWatches>>,
    places: Arc<Semaphore>,
}

impl HostContainerLogs {
    /// A reader without logs. Must be called inside a tokio runtime.
    pub fn new() -> Self {
        Self { watches: DirWatches::start(), places: Arc::new(Semaphore::new(MAX_READERS)) }
    }
}

impl Default for HostContainerLogs {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ContainerLogs for HostContainerLogs {
    async fn open(&self, request: LogRequest) -> Result<LogChunks, LogError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| LogError::TooMany { limit: MAX_READERS })?;
        let reader = Reader::open(request, self.watches.clone(), place).await?;
        Ok(Box::pin(futures_util::stream::unfold(reader, |mut reader| async {
            reader.next().await.map(|chunk| (chunk, reader))
        })))
    }
}

enum End {
    /// More may come.
    Open,
    /// The container does not run any more: the next end of the file is the last.
    LastRead,
    /// Nothing more is read.
    Reached,
}

struct Reader {
    path: PathBuf,
    file: Source,
    buffer: BytesMut,
    skipping_long_line: bool,
    format: Option<Format>,
    output: Output,
    follow: LogFollow,
    watches: Option<Arc<DirWatches>>,
    watch: Option<Watch>,
    next: Option<NextFile>,
    end: End,
    _place: OwnedSemaphorePermit,
}

/// The file after the one being read.
struct NextFile {
    file: Source,
    /// The runtime writes to it, and had time to finish the old one.
    has_settled: bool,
}

impl Reader {
    async fn open(
        request: LogRequest,
        watches: Option<Arc<DirWatches>>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, LogError> {
        let asked = request.path.clone();
        let path = tokio::fs::canonicalize(&asked)
            .await
            .map_err(|source| LogError::Resolve { path: asked, source })?;
        let mut file = open_file(&path).await?;
        if let Some(lines) = request.tail_lines {
            file.go_to_tail(lines).await.map_err(|source| LogError::Read { path: path.clone(), source })?;
        }
        Ok(Self {
            path,
            file,
            buffer: BytesMut::new(),
            skipping_long_line: false,
            format: None,
            output: Output::new(&request),
            follow: request.follow,
            watches,
            watch: None,
            next: None,
            end: End::Open,
            _place: place,
        })
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, LogError>> {
        loop {
            if let Err(error) = self.take_lines() {
                self.end = End::Reached;
                self.output.finish();
                return Some(Err(error));
            }
            if let Some(chunk) = self.output.take_chunk() {
                return Some(Ok(chunk));
            }
            if self.output.is_finished() || matches!(self.end, End::Reached) {
                return None;
            }
            if let Err(error) = self.read_or_wait().await {
                self.end = End::Reached;
                return Some(Err(error));
            }
        }
    }

    async fn read_or_wait(&mut self) -> Result<(), LogError> {
        let read = self.file.read().await.map_err(|source| self.read_error(source))?;
        if !read.is_empty() {
            match self.buffer.is_empty() {
                true => self.buffer = BytesMut::from(Bytes::from(read)),
                false => self.buffer.extend_from_slice(&read),
            }
            return Ok(());
        }
        match (&self.follow, &self.end) {
            (LogFollow::No, _) => {
                self.end = End::Reached;
                let rest = self.buffer.split();
                self.line(&rest)
            }
            (LogFollow::WhileRunning(_), End::LastRead | End::Reached) => {
                self.end = End::Reached;
                Ok(())
            }
            (LogFollow::WhileRunning(_), End::Open) => self.wait().await,
        }
    }

    /// At the end of the file: waits for more, or goes on with a new file, or finds that the container has ended.
    async fn wait(&mut self) -> Result<(), LogError> {
        let LogFollow::WhileRunning(running) = &self.follow else { return Ok(()) };
        let running = Arc::clone(running);
        let is_running = running();
        if let Some(next) = &mut self.next {
            let is_written = next.file.metadata().await.is_ok_and(|metadata| metadata.len() > 0);
            if next.has_settled || !is_running {
                return self.go_on();
            }
            if is_written {
                tokio::time::sleep(SETTLE).await;
                next.has_settled = true;
                return Ok(());
            }
        }
        if self.watch.is_none()
            && let Some(watches) = &self.watches
        {
            let dir = self.path.parent().unwrap_or(Path::new("/"));
            match watches.watch(dir) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    tracing::debug!(%error, dir = %dir.display(), "cannot watch a log: its follower looks once per second");
                    self.watches = None;
                }
            }
            // What came between the last read and the watch is found by reading once more.
            return self.look_for_next().await;
        }
        if !is_running {
            self.end = End::LastRead;
            return Ok(());
        }
        self.rest();
        match &mut self.watch {
            None => {
                tokio::time::sleep(FORCED_CHECK).await;
                self.look_for_next().await
            }
            Some(watch) => match await_change(watch, running.as_ref()).await {
                Some(Change::Written) => Ok(()),
                Some(Change::NewFile) => self.look_for_next().await,
                Some(Change::Lost) => {
                    self.watch = None;
                    self.look_for_next().await
                }
                None => {
                    self.end = End::LastRead;
                    self.look_for_next().await
                }
            },
        }
    }

    /// A reader that waits holds no memory for what it read.
    fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        self.output.rest();
    }

    /// Finds the file after the one being read, once there is one.
    async fn look_for_next(&mut self) -> Result<(), LogError> {
        if self.next.is_some() || !self.is_replaced().await {
            return Ok(());
        }
        let own = self.file.metadata().await.map_err(|source| self.read_error(source))?;
        let path = self.path.clone();
        let found = tokio::task::spawn_blocking(move || successor::of(&path, &own)).await;
        let path = found.unwrap_or_else(|_| self.path.clone());
        match open_file(&path).await {
            Ok(file) => {
                // Only the current file can still be waiting for its first line.
                self.next = Some(NextFile { file, has_settled: path != self.path });
                Ok(())
            }
            Err(LogError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Goes on with the next file.
    fn go_on(&mut self) -> Result<(), LogError> {
        let Some(next) = self.next.take() else { return Ok(()) };
        let rest = self.buffer.split();
        self.line(&rest)?;
        self.skipping_long_line = false;
        self.file = next.file;
        // There may be a file after that already, and no event comes for it any more.
        self.watch = None;
        Ok(())
    }

    /// True when the path names another file than the one being read.
    async fn is_replaced(&self) -> bool {
        let (Ok(now), Ok(own)) = (tokio::fs::metadata(&self.path).await, self.file.metadata().await) else {
            return false;
        };
        (now.dev(), now.ino()) != (own.dev(), own.ino())
    }

    fn read_error(&self, source: std::io::Error) -> LogError {
        LogError::Read { path: self.path.clone(), source }
    }

    /// Moves whole lines from the buffer to the output until a chunk is full.
    fn take_lines(&mut self) -> Result<(), LogError> {
        while !self.output.is_full() && !self.output.is_finished() {
            match memchr::memchr(b'\n', &self.buffer) {
                Some(end) => {
                    let line = self.buffer.split_to(end + 1);
                    if !std::mem::take(&mut self.skipping_long_line) {
                        self.line(&line)?;
                    }
                }
                None if self.buffer.len() > MAX_LINE_BYTES => {
                    let line = self.buffer.split();
                    if !std::mem::replace(&mut self.skipping_long_line, true) {
                        self.line(&line)?;
                    }
                }
                None => break,
            }
        }
        if self.output.is_finished() {
            self.buffer.advance(self.buffer.len());
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), LogError> {
        if line.is_empty() {
            return Ok(());
        }
        let format = match self.format {
            Some(format) => format,
            None => {
                let found = Format::of(line).ok_or_else(|| LogError::Format {
                    line: String::from_utf8_lossy(&line[..line.len().min(128)]).into_owned(),
                })?;
                *self.format.insert(found)
            }
        };
        self.output.add(format, line);
        Ok(())
    }
}

/// Waits until something changes in the directory of the log; `None` when the container ends before that.
async fn await_change(watch: &mut Watch, running: &(dyn Fn() -> bool + Send + Sync)) -> Option<Change> {
    loop {
        match tokio::time::timeout(FORCED_CHECK, watch.next()).await {
            Ok(change) => return Some(change),
            Err(_elapsed) if running() => {}
            Err(_elapsed) => return None,
        }
    }
}

async fn open_file(path: &Path) -> Result<Source, LogError> {
    Source::open(path).await.map_err(|source| LogError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
