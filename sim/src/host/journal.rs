//! The journal of events in memory, which survives the agent and takes nothing when the disk is full; and a stand-in for the
//! API server that takes events.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use core_types::EventRecord;
use ports::{EventJournal, EventSink, EventSinkError, FileError};

use super::lock;
use crate::faults::Faults;

/// The journal of the simulated node.
#[derive(Debug)]
pub struct FakeJournal {
    faults: Arc<Faults>,
    /// The older file and the current one.
    files: Mutex<Vec<Vec<u8>>>,
}

impl FakeJournal {
    /// No file yet.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, files: Mutex::default() }
    }

    fn check_disk(&self) -> Result<(), FileError> {
        match self.faults.disk_is_full() {
            true => {
                let source = Error::from(ErrorKind::StorageFull);
                Err(FileError::Io { operation: "write", path: PathBuf::from("journal"), source })
            }
            false => Ok(()),
        }
    }
}

#[async_trait]
impl EventJournal for FakeJournal {
    async fn load(&self) -> Result<Vec<Bytes>, FileError> {
        Ok(lock(&self.files).iter().cloned().map(Bytes::from).collect())
    }

    async fn append(&self, lines: &[u8]) -> Result<u64, FileError> {
        self.check_disk()?;
        let mut files = lock(&self.files);
        if files.is_empty() {
            files.push(Vec::new());
        }
        let current = files.last_mut().expect("invariant: a file was made above");
        current.extend_from_slice(lines);
        Ok(current.len() as u64)
    }

    async fn begin_anew(&self, lines: &[u8]) -> Result<(), FileError> {
        self.check_disk()?;
        let mut files = lock(&self.files);
        files.push(lines.to_vec());
        let excess = files.len().saturating_sub(2);
        files.drain(..excess);
        Ok(())
    }

    async fn keep_broken(&self) -> Result<PathBuf, FileError> {
        Ok(PathBuf::from("journal.corrupt"))
    }
}

/// Takes events as the API server would, and remembers every sending.
#[derive(Debug, Default)]
pub struct FakeSink {
    sent: Mutex<Vec<EventRecord>>,
    is_away: AtomicBool,
}

impl FakeSink {
    /// Everything sent so far.
    pub fn sent(&self) -> Vec<EventRecord> {
        lock(&self.sent).clone()
    }

    /// Nobody answers from now on.
    pub fn go_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    /// Somebody answers again.
    pub fn come_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl EventSink for FakeSink {
    async fn send(&self, event: &EventRecord) -> Result<(), EventSinkError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(EventSinkError::Unavailable("connection refused".to_owned()));
        }
        lock(&self.sent).push(event.clone());
        Ok(())
    }
}
