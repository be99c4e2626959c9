//! Cgroups, pod directories, log files and manifest files in memory. They remember what exists, so that a check can say what was
//! left behind. The contract suites of `ports` run on them, so that they behave as the real ones.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use core_cm::cgroup::{CgroupLimits, CgroupPath, CgroupValues};
use core_types::{HttpGet, PodUid};
use ports::sources::FileHints;
use ports::{
    CgroupError, Cgroups, Checkpoints, FileError, HookAnswer, HookDialError, HookDialer, ManifestFile,
    ManifestFiles,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::faults::Faults;

mod journal;
mod kernel;
mod log_files;
mod pod_files;
mod pull_records;
mod sealed;
mod usage;

pub use journal::{FakeJournal, FakeSink};
pub use kernel::FakeKernel;
pub use log_files::{FakeLogFiles, WRITTEN_BYTES};
pub use pod_files::{FakeFiles, UnmountWatcher};
pub use pull_records::{FakePullRecords, NoPlugins};
pub use sealed::FakeSealed;
pub use usage::FakeUsage;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name of one component, as the real host takes it.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// What everything in the simulation uses: less than any limit.
pub(crate) const FAKE_USAGE_BYTES: u64 = 1 << 20;

/// Checkpoints of the simulated node: they survive the agent.
#[derive(Debug)]
pub struct FakeCheckpoints {
    faults: Arc<Faults>,
    files: Mutex<BTreeMap<String, bytes::Bytes>>,
}

impl FakeCheckpoints {
    /// No checkpoint yet.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, files: Mutex::default() }
    }
}

fn plain(name: &str) -> Result<String, FileError> {
    match is_plain_name(name) {
        true => Ok(name.to_owned()),
        false => Err(FileError::Refused {
            path: PathBuf::from(name),
            problem: "it is not a plain name".to_owned(),
        }),
    }
}

#[async_trait]
impl Checkpoints for FakeCheckpoints {
    async fn load(&self, name: &str) -> Result<Option<bytes::Bytes>, FileError> {
        Ok(lock(&self.files).get(&plain(name)?).cloned())
    }

    async fn store(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let name = plain(name)?;
        if self.faults.disk_is_full() {
            let source = Error::from(ErrorKind::StorageFull);
            return Err(FileError::Io { operation: "write", path: PathBuf::from(name), source });
        }
        lock(&self.files).insert(name, content.to_vec().into());
        Ok(())
    }

    async fn set_aside(&self, name: &str) -> Result<PathBuf, FileError> {
        let name = plain(name)?;
        let aside = format!("{name}.corrupt");
        let mut files = lock(&self.files);
        let Some(content) = files.remove(&name) else {
            let source = Error::from(ErrorKind::NotFound);
            return Err(FileError::Io { operation: "rename", path: PathBuf::from(name), source });
        };
        files.insert(aside.clone(), content);
        Ok(PathBuf::from(aside))
    }
}

/// Cgroups of the simulated node.
#[derive(Debug, Default)]
pub struct FakeCgroups {
    /// How much is used.
    pub usage: FakeUsage,
    /// What the kernel tells by itself.
    pub kernel: Arc<FakeKernel>,
    existing: Mutex<BTreeMap<CgroupPath, CgroupValues>>,
}

impl FakeCgroups {
    /// The machine was booted: no cgroup is there.
    pub fn reboot(&self) {
        lock(&self.existing).clear();
    }
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
        let own = existing.entry(path.clone()).or_default();
        own.cpu_shares = values.cpu_shares.or(own.cpu_shares);
        own.cpu_quota_us = values.cpu_quota_us.or(own.cpu_quota_us);
        own.cpu_period_us = values.cpu_period_us.or(own.cpu_period_us);
        own.memory_limit_bytes = values.memory_limit_bytes.or(own.memory_limit_bytes);
        own.pids_limit = values.pids_limit.or(own.pids_limit);
        own.hugepage_limits.extend(values.hugepage_limits.clone());
        own.unified.extend(values.unified.clone());
        Ok(())
    }

    async fn limits(&self, path: &CgroupPath) -> Result<CgroupLimits, CgroupError> {
        checked(path)?;
        let existing = lock(&self.existing);
        let own = existing.get(path).ok_or_else(|| CgroupError::Io {
            cgroup: path.cgroupfs(),
            operation: "read".to_owned(),
            path: path.cgroupfs(),
            source: Error::from(ErrorKind::NotFound),
        })?;
        Ok(CgroupLimits {
            cpu_shares: own.cpu_shares.unwrap_or(1024),
            cpu_quota_us: own.cpu_quota_us.filter(|quota| *quota > 0),
            cpu_period_us: own.cpu_period_us.unwrap_or(100_000),
            memory_limit_bytes: own.memory_limit_bytes.filter(|bytes| *bytes >= 0),
        })
    }

    async fn memory_usage_bytes(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        self.limits(path).await.map(|_| FAKE_USAGE_BYTES)
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
