//! Container log files in CRI format, read for `containerLogs` and `podwright logs` (CONTRACT 2.7).

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use core_types::WallTime;
use futures_core::Stream;

/// Whether reading goes on at the end of the file.
#[derive(Clone)]
pub enum LogFollow {
    /// Stop at the end of the file.
    No,
    /// Wait for more for as long as this says that the container runs; then read to the end and stop.
    WhileRunning(Arc<dyn Fn() -> bool + Send + Sync>),
}

/// Which lines of the log are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStreams {
    /// Both.
    #[default]
    All,
    /// Standard output only.
    Stdout,
    /// Standard error only.
    Stderr,
}

/// Whether each line begins with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTimestamps {
    /// Lines as the container wrote them.
    #[default]
    Hide,
    /// RFC 3339 with nine digits of a second and a space before each line.
    Show,
}

/// What to read of one log file.
#[derive(Clone)]
pub struct LogRequest {
    /// The file; links are resolved.
    pub path: PathBuf,
    /// Begin this many lines before the end. `None`: at the beginning.
    pub tail_lines: Option<u64>,
    /// Stop after this many bytes. `None`: no limit.
    pub limit_bytes: Option<u64>,
    /// Leave out lines that are older.
    pub since: Option<WallTime>,
    /// Times before lines.
    pub timestamps: LogTimestamps,
    /// Streams.
    pub streams: LogStreams,
    /// Going on at the end.
    pub follow: LogFollow,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The path leads nowhere.
    #[error("failed to try resolving symlinks in path {path:?}: {source}")]
    Resolve {
        /// Path as asked.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("failed to open log file {path:?}: {source}")]
    Open {
        /// Path after resolving.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file cannot be read or watched.
    #[error("failed to read log file {path:?}: {source}")]
    Read {
        /// Path after resolving.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Too many readers.
    #[error("{limit} logs are being read already: try again when other readers have ended")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The first line is in no known format.
    #[error("unsupported log format: {line:?}")]
    Format {
        /// The line's beginning.
        line: String,
    },
}

/// Bytes of the log, as they are found. Dropping the stream stops the reading.
pub type LogChunks = Pin<Box<dyn Stream<Item = Result<bytes::Bytes, LogError>> + Send>>;

/// Reader of container log files.
#[async_trait]
pub trait ContainerLogs: Send + Sync {
    /// Opens a log. What fails before the first byte fails here; what fails later ends the stream with the error.
    async fn open(&self, request: LogRequest) -> Result<LogChunks, LogError>;
}
