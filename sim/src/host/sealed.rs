//! A sealed file in memory. It keeps its content in the clear, so that a check can look into it.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use core_types::Secret;
use ports::sealed::SealedError;
use ports::{FileError, SealedFile};

use super::lock;
use crate::faults::Faults;

/// Where it would be.
const PATH: &str = "offline.sealed";

#[derive(Debug, Default)]
struct Held {
    content: Option<Secret<Vec<u8>>>,
    is_broken: bool,
    aside: u32,
    writes: u64,
}

/// A sealed file of the simulated node: it survives the agent and the machine.
#[derive(Debug)]
pub struct FakeSealed {
    faults: Arc<Faults>,
    held: Mutex<Held>,
}

impl FakeSealed {
    /// No file yet.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, held: Mutex::default() }
    }

    /// What it holds, as text; empty without a file.
    pub fn text(&self) -> String {
        let held = lock(&self.held);
        held.content
            .as_ref()
            .map(|text| String::from_utf8_lossy(text.expose()).into_owned())
            .unwrap_or_default()
    }

    /// Somebody changes a byte of it.
    pub fn breaks(&self) {
        lock(&self.held).is_broken = true;
    }

    /// How often a file was set aside.
    pub fn set_aside_count(&self) -> u32 {
        lock(&self.held).aside
    }

    /// How often it was written.
    pub fn writes(&self) -> u64 {
        lock(&self.held).writes
    }
}

#[async_trait]
impl SealedFile for FakeSealed {
    async fn load(&self) -> Result<Option<Secret<Vec<u8>>>, SealedError> {
        let held = lock(&self.held);
        match held.is_broken {
            true => Err(SealedError::NotOpened { path: PATH.into(), problem: "it was changed".to_owned() }),
            false => Ok(held.content.clone()),
        }
    }

    async fn store(&self, content: Secret<Vec<u8>>) -> Result<(), SealedError> {
        if self.faults.disk_is_full() {
            let source = Error::from(ErrorKind::StorageFull);
            return Err(FileError::Io { operation: "write", path: PATH.into(), source }.into());
        }
        let mut held = lock(&self.held);
        *held = Held { content: Some(content), is_broken: false, aside: held.aside, writes: held.writes + 1 };
        Ok(())
    }

    async fn set_aside(&self) -> Result<PathBuf, FileError> {
        let mut held = lock(&self.held);
        held.is_broken = false;
        match held.content.take() {
            Some(_) => {
                held.aside += 1;
                Ok(format!("{PATH}.corrupt").into())
            }
            None => {
                let source = Error::from(ErrorKind::NotFound);
                Err(FileError::Io { operation: "rename", path: PATH.into(), source })
            }
        }
    }

    async fn remove(&self) -> Result<(), FileError> {
        lock(&self.held).content = None;
        Ok(())
    }
}
