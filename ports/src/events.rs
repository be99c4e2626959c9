//! Where events go beyond this process: a journal on this machine, and the API server.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use core_types::EventRecord;

use crate::FileError;

/// The journal: lines in two files, the current one and the one before. Nothing waits for a disk: what the kernel has taken
/// outlives the agent, though not the machine.
#[async_trait]
pub trait EventJournal: Send + Sync {
    /// What is there, older file first.
    async fn load(&self) -> Result<Vec<Bytes>, FileError>;
    /// Adds lines to the current file, all of them or none, and gives its size in bytes.
    async fn append(&self, lines: &[u8]) -> Result<u64, FileError>;
    /// Begins a new current file with these lines; the one there was becomes the older.
    async fn begin_anew(&self, lines: &[u8]) -> Result<(), FileError>;
    /// Keeps copies of files that are broken in part out of the way, and says where; replaces copies of earlier times.
    async fn keep_broken(&self) -> Result<PathBuf, FileError>;
}

/// Why an event did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum EventSinkError {
    /// Nobody answers, or not now: it is sent again later.
    #[error("the event cannot be sent now: {0}")]
    Unavailable(String),
    /// It will never be taken: it is given up.
    #[error("the event was refused: {0}")]
    Refused(String),
}

/// Takes events to the API server. What it is given has passed the budget.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Creates the event, or updates the one of the same name when `count` is above one; one that is gone is created.
    async fn send(&self, event: &EventRecord) -> Result<(), EventSinkError>;
}
