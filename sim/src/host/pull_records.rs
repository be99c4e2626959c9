//! Files about pulls in memory, which survive the agent, and credential plugins, of which there are none.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ports::credential_plugins::{PluginCommand, PluginError};
use ports::pull_records::{PullContent, PullFile, PullFileKind};
use ports::{CredentialPlugins, FileError, PullRecords};

use super::{lock, plain};
use crate::faults::Faults;

/// Files about pulls of the simulated node.
#[derive(Debug)]
pub struct FakePullRecords {
    faults: Arc<Faults>,
    files: Mutex<BTreeMap<PullFileKind, Vec<PullFile>>>,
}

impl FakePullRecords {
    /// No file yet.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, files: Mutex::default() }
    }

    fn take(&self, kind: PullFileKind, name: &str) -> Option<PullFile> {
        let mut files = lock(&self.files);
        let own = files.entry(kind).or_default();
        let at = own.iter().position(|file| file.name == name && file.content != PullContent::SetAside)?;
        Some(own.remove(at))
    }

    fn put(&self, kind: PullFileKind, file: PullFile) {
        lock(&self.files).entry(kind).or_default().push(file);
    }
}

#[async_trait]
impl PullRecords for FakePullRecords {
    async fn list(&self, kind: PullFileKind) -> Result<Vec<PullFile>, FileError> {
        Ok(lock(&self.files).get(&kind).cloned().unwrap_or_default())
    }

    async fn store(&self, kind: PullFileKind, name: &str, content: &[u8]) -> Result<(), FileError> {
        let name = plain(name)?;
        if self.faults.disk_is_full() {
            let source = Error::from(ErrorKind::StorageFull);
            return Err(FileError::Io { operation: "write", path: PathBuf::from(name), source });
        }
        self.take(kind, &name);
        let content = PullContent::Bytes(Bytes::copy_from_slice(content));
        self.put(kind, PullFile { name, content });
        Ok(())
    }

    async fn remove(&self, kind: PullFileKind, name: &str) -> Result<(), FileError> {
        self.take(kind, &plain(name)?);
        Ok(())
    }

    async fn set_aside(&self, kind: PullFileKind, name: &str) -> Result<PathBuf, FileError> {
        let name = plain(name)?;
        if self.take(kind, &name).is_some() {
            self.put(kind, PullFile { name: name.clone(), content: PullContent::SetAside });
        }
        Ok(PathBuf::from(name))
    }
}

/// A node without credential plugins.
#[derive(Debug)]
pub struct NoPlugins;

#[async_trait]
impl CredentialPlugins for NoPlugins {
    async fn run(&self, _command: &PluginCommand, _input: &[u8]) -> Result<Vec<u8>, PluginError> {
        Err(PluginError::Start(Error::from(ErrorKind::NotFound)))
    }
}
