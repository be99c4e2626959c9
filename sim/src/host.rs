//! Cgroups, pod directories, log files and manifest files in memory. They remember what exists, so that a check can say what was
//! left behind. The contract suites of `ports` run on them, so that they behave as the real ones.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_types::{HttpGet, PodUid};
use ports::sources::FileHints;
use ports::{
    CgroupError, Cgroups, FileError, HookAnswer, HookDialError, HookDialer, ManifestFile, ManifestFiles,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

mod log_files;
mod pod_files;

pub use log_files::FakeLogFiles;
pub use pod_files::{FakeFiles, UnmountWatcher};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name of one component, as the real host takes it.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Cgroups of the simulated node.
#[derive(Debug, Default)]
pub struct FakeCgroups {
    existing: Mutex<BTreeMap<CgroupPath, CgroupValues>>,
}

fn checked(path: &CgroupPath) -> Result<(), CgroupError> {
    if !path.0.is_empty() && path.0.iter().all(|name| is_plain_name(name)) {
        return Ok(());
    }
    Err(CgroupError::Io {
        cgroup: path.cgroupfs(),
        operation: "use".to_owned(),
        path: path.cgroupfs(),
        source: Error::from(ErrorKind::InvalidInput),
    })
}

#[async_trait]
impl Cgroups for FakeCgroups {
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        checked(path)?;
        let mut existing = lock(&self.existing);
        for parents in 1..path.0.len() {
            existing.entry(CgroupPath(path.0[..parents].to_vec())).or_default();
        }
        existing.insert(path.clone(), values.clone());
        Ok(())
    }

    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        checked(path)?;
        Ok(lock(&self.existing).contains_key(path))
    }

    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        checked(path)?;
        lock(&self.existing).retain(|other, _| !other.0.starts_with(&path.0));
        Ok(())
    }

    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
        Ok(lock(&self.existing).keys().filter_map(|path| Some((path.pod_uid()?, path.clone()))).collect())
    }
}

/// Pods of the simulated node answer every hook's request.
#[derive(Debug, Default)]
pub struct FakeHooks;

#[async_trait]
impl HookDialer for FakeHooks {
    async fn get(&self, _request: &HttpGet) -> Result<HookAnswer, HookDialError> {
        Ok(HookAnswer::AsAsked)
    }
}

/// A manifest directory in memory.
#[derive(Debug, Default)]
pub struct FakeManifests {
    files: Mutex<BTreeMap<String, bytes::Bytes>>,
    watchers: Mutex<Vec<mpsc::Sender<()>>>,
}

impl FakeManifests {
    /// Writes a file as a person would.
    pub fn put(&self, name: &str, content: impl Into<bytes::Bytes>) {
        lock(&self.files).insert(name.to_owned(), content.into());
        self.hint();
    }

    /// Deletes a file as a person would.
    pub fn delete(&self, name: &str) {
        lock(&self.files).remove(name);
        self.hint();
    }

    fn hint(&self) {
        lock(&self.watchers).retain(|watcher| !watcher.is_closed());
        for watcher in lock(&self.watchers).iter() {
            // A full channel already holds a hint.
            let _ = watcher.try_send(());
        }
    }
}

#[async_trait]
impl ManifestFiles for FakeManifests {
    async fn read_all(&self) -> Result<Vec<ManifestFile>, FileError> {
        let files = lock(&self.files);
        Ok(files
            .iter()
            .map(|(name, content)| ManifestFile { path: PathBuf::from(name), content: Ok(content.clone()) })
            .collect())
    }

    async fn watch(&self) -> Result<FileHints, FileError> {
        let (sender, receiver) = mpsc::channel(1);
        lock(&self.watchers).push(sender);
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    async fn write(&self, file_name: &str, content: &[u8]) -> Result<(), FileError> {
        self.put(file_name, content.to_vec());
        Ok(())
    }

    async fn remove(&self, file_name: &str) -> Result<(), FileError> {
        self.delete(file_name);
        Ok(())
    }
}
