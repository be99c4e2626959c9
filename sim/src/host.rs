//! Cgroups, pod directories and manifest files in memory. They remember what exists, so that a check can say what was
//! left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_types::{PodKey, PodUid};
use core_volumes::{VolumePayload, VolumeSetup};
use ports::pod_files::{LogLink, LogTail, SubPathRequest};
use ports::sources::FileHints;
use ports::{CgroupError, Cgroups, FileError, ManifestFile, ManifestFiles, PodFiles};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::faults::Faults;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cgroups of the simulated node.
#[derive(Debug, Default)]
pub struct FakeCgroups {
    existing: Mutex<BTreeMap<CgroupPath, CgroupValues>>,
}

#[async_trait]
impl Cgroups for FakeCgroups {
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        lock(&self.existing).insert(path.clone(), values.clone());
        Ok(())
    }

    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        Ok(lock(&self.existing).contains_key(path))
    }

    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        lock(&self.existing).retain(|other, _| !other.0.starts_with(&path.0));
        Ok(())
    }

    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
        Ok(lock(&self.existing).keys().filter_map(|path| Some((path.pod_uid()?, path.clone()))).collect())
    }
}

/// Pod directories of the simulated node.
#[derive(Debug)]
pub struct FakeFiles {
    faults: Arc<Faults>,
    dirs: Mutex<BTreeSet<PodUid>>,
    logs: Mutex<BTreeSet<PodUid>>,
}

impl FakeFiles {
    /// No directories.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, dirs: Mutex::default(), logs: Mutex::default() }
    }

    /// Pods that have a directory or logs.
    pub fn pods(&self) -> BTreeSet<PodUid> {
        lock(&self.dirs).union(&lock(&self.logs)).cloned().collect()
    }

    fn write(&self, operation: &'static str, uid: &PodUid, rest: &str) -> Result<PathBuf, FileError> {
        let path = PathBuf::from(format!("/sim/pods/{uid}/{rest}"));
        if self.faults.disk_is_full() {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(FileError::Io { operation, path, source });
        }
        Ok(path)
    }
}

#[async_trait]
impl PodFiles for FakeFiles {
    async fn ensure_pod_dirs(&self, uid: &PodUid) -> Result<(), FileError> {
        self.write("create directory", uid, "")?;
        lock(&self.dirs).insert(uid.clone());
        Ok(())
    }

    async fn ensure_log_dir(&self, _key: &PodKey, uid: &PodUid, name: &str) -> Result<Option<u32>, FileError> {
        self.write("create directory", uid, name)?;
        lock(&self.logs).insert(uid.clone());
        Ok(None)
    }

    async fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError> {
        match volume {
            VolumeSetup::HostPath { path, .. } => Ok(path.clone()),
            VolumeSetup::EmptyDir { name, .. } | VolumeSetup::Tmpfs { name, .. } => {
                self.write("create directory", uid, &format!("volumes/{name}"))
            }
        }
    }

    async fn write_volume(&self, uid: &PodUid, volume: &str, _payload: &VolumePayload) -> Result<(), FileError> {
        self.write("write", uid, volume).map(drop)
    }

    async fn prepare_sub_path(&self, uid: &PodUid, request: &SubPathRequest) -> Result<PathBuf, FileError> {
        self.write("create directory", uid, &request.sub_path)
    }

    async fn write_etc_hosts(&self, uid: &PodUid, _content: &str) -> Result<PathBuf, FileError> {
        self.write("write", uid, "etc-hosts")
    }

    async fn create_termination_log(&self, uid: &PodUid, container: &str) -> Result<PathBuf, FileError> {
        self.write("create", uid, &format!("containers/{container}/00000000"))
    }

    async fn read_termination_log(
        &self,
        _uid: &PodUid,
        _host_path: &str,
        _max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        Ok(None)
    }

    async fn read_log_tail(&self, _log_path: &str, _tail: LogTail) -> Result<Vec<u8>, FileError> {
        Ok(Vec::new())
    }

    async fn read_host_file(&self, _path: &str, _max_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        Ok(None)
    }

    async fn link_container_log(&self, _link: &LogLink) -> Result<(), FileError> {
        Ok(())
    }

    async fn remove_container_logs(
        &self,
        _key: &PodKey,
        _uid: &PodUid,
        _container: &str,
        _keep_attempts: &[u32],
    ) -> Result<(), FileError> {
        Ok(())
    }

    async fn tear_down_volumes(&self, _uid: &PodUid) -> Result<(), FileError> {
        Ok(())
    }

    async fn remove_pod_dir(&self, uid: &PodUid) -> Result<(), FileError> {
        lock(&self.dirs).remove(uid);
        Ok(())
    }

    async fn remove_pod_logs(&self, _key: &PodKey, uid: &PodUid) -> Result<(), FileError> {
        lock(&self.logs).remove(uid);
        Ok(())
    }

    async fn list_pod_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        Ok(lock(&self.dirs).iter().cloned().collect())
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
