//! Pod directories in memory: which pods have one, with which volumes and termination message files, and which have logs.
//! A full disk takes no writes. Containers of the simulation write nothing, so every file is empty but the ID mappings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use core_types::{PodKey, PodUid};
use core_volumes::{VolumePayload, VolumePlugin, VolumeSetup};
use ports::pod_files::{LogLink, LogTail, SubPathRequest};
use ports::{FileError, PodFiles};

use super::{FakeLogFiles, is_plain_name, lock};
use crate::faults::Faults;

/// Where the directories of pods are.
const PODS_DIR: &str = "/sim/pods";

/// `podLogsDir` of the default configuration.
pub(super) const POD_LOGS_DIR: &str = "/var/log/pods";

/// Is told of every pod whose volumes are unmounted, before they are.
pub type UnmountWatcher = Box<dyn Fn(&PodUid) + Send + Sync>;

/// Pod directories of the simulated node.
pub struct FakeFiles {
    faults: Arc<Faults>,
    unmounts: UnmountWatcher,
    dirs: Mutex<BTreeMap<PodUid, PodDir>>,
    logs: Mutex<BTreeSet<PodUid>>,
    log_files: Arc<FakeLogFiles>,
}

/// What is in the directory of a pod, by path.
#[derive(Debug, Default)]
struct PodDir {
    volumes: BTreeSet<PathBuf>,
    /// Those of them that have files of the agent.
    written: BTreeSet<PathBuf>,
    termination_logs: BTreeSet<PathBuf>,
    user_namespace: Option<Vec<u8>>,
}

impl FakeFiles {
    /// No directories.
    pub fn new(faults: Arc<Faults>, unmounts: UnmountWatcher, log_files: Arc<FakeLogFiles>) -> Self {
        Self { faults, unmounts, dirs: Mutex::default(), logs: Mutex::default(), log_files }
    }

    /// Pods that have a directory or logs.
    pub fn pods(&self) -> BTreeSet<PodUid> {
        lock(&self.dirs).keys().chain(lock(&self.logs).iter()).cloned().collect()
    }

    /// The machine was booted: what was in memory is gone, which is all that the agent writes into volumes.
    pub fn reboot(&self) {
        for dir in lock(&self.dirs).values_mut() {
            dir.volumes.clear();
            dir.written.clear();
        }
    }

    fn disk_has_room(&self, operation: &'static str, path: &Path) -> Result<(), FileError> {
        if self.faults.disk_is_full() {
            return Err(io_error(operation, path, ErrorKind::StorageFull));
        }
        Ok(())
    }

    /// Changes the directory of a pod, which is made when it is missing.
    fn change<T>(
        &self,
        operation: &'static str,
        uid: &PodUid,
        change: impl FnOnce(&Path, &mut PodDir) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let path = pod_path(uid)?;
        self.disk_has_room(operation, &path)?;
        change(&path, lock(&self.dirs).entry(uid.clone()).or_default())
    }
}

pub(super) fn io_error(operation: &'static str, path: &Path, kind: ErrorKind) -> FileError {
    FileError::Io { operation, path: path.to_path_buf(), source: Error::from(kind) }
}

pub(super) fn refused(path: impl Into<PathBuf>, problem: impl Into<String>) -> FileError {
    FileError::Refused { path: path.into(), problem: problem.into() }
}

pub(super) fn component(parent: &Path, name: &str) -> Result<PathBuf, FileError> {
    if is_plain_name(name) {
        Ok(parent.join(name))
    } else {
        Err(refused(parent, format!("{name:?} cannot be the name of a file")))
    }
}

fn pod_path(uid: &PodUid) -> Result<PathBuf, FileError> {
    component(Path::new(PODS_DIR), uid.as_str())
}

fn log_path(key: &PodKey, uid: &PodUid) -> Result<PathBuf, FileError> {
    component(Path::new(POD_LOGS_DIR), &format!("{}_{}_{uid}", key.namespace, key.name))
}

fn volume_path(pod: &Path, plugin: VolumePlugin, name: &str) -> Result<PathBuf, FileError> {
    component(&pod.join("volumes").join(plugin.dir_name()), name)
}

fn stays_inside(path: &str) -> bool {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    Path::new(path).components().all(inside)
}

#[async_trait]
impl PodFiles for FakeFiles {
    async fn ensure_pod_dirs(&self, uid: &PodUid) -> Result<(), FileError> {
        self.change("create directory", uid, |_, _| Ok(()))
    }

    async fn ensure_log_dir(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
    ) -> Result<Option<u32>, FileError> {
        let path = component(&log_path(key, uid)?, container)?;
        self.disk_has_room("create directory", &path)?;
        lock(&self.logs).insert(uid.clone());
        Ok(self.log_files.highest_number(&path))
    }

    async fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError> {
        let (plugin, name) = match volume {
            VolumeSetup::HostPath { path, .. } => return Ok(path.clone()),
            VolumeSetup::EmptyDir { name, plugin, .. } => (*plugin, name),
            VolumeSetup::HugePages { name, .. } => (VolumePlugin::EmptyDir, name),
            VolumeSetup::Tmpfs { name, plugin, .. } => (*plugin, name),
        };
        self.change("create directory", uid, |pod, dir| {
            let path = volume_path(pod, plugin, name)?;
            dir.volumes.insert(path.clone());
            Ok(path)
        })
    }

    async fn write_volume(
        &self,
        uid: &PodUid,
        volume: &str,
        payload: &VolumePayload,
    ) -> Result<(), FileError> {
        self.change("write", uid, |pod, dir| {
            let path = volume_path(pod, payload.plugin, volume)?;
            if !dir.volumes.contains(&path) {
                return Err(io_error("open directory", &path, ErrorKind::NotFound));
            }
            match payload.files.keys().find(|file| !stays_inside(file)) {
                Some(file) => Err(refused(path, format!("invalid path: {file}"))),
                None => {
                    dir.written.insert(path);
                    Ok(())
                }
            }
        })
    }

    async fn is_written(&self, uid: &PodUid, volume: &str, plugin: VolumePlugin) -> Result<bool, FileError> {
        let path = volume_path(&pod_path(uid)?, plugin, volume)?;
        Ok(lock(&self.dirs).get(uid).is_some_and(|dir| dir.written.contains(&path)))
    }

    async fn prepare_sub_path(&self, uid: &PodUid, request: &SubPathRequest) -> Result<PathBuf, FileError> {
        let SubPathRequest { volume, volume_path, container, index, sub_path } = request;
        if !stays_inside(sub_path) {
            let problem = format!("subpath {sub_path:?} not within volume path {volume_path:?}");
            return Err(refused(volume_path.join(sub_path), problem));
        }
        self.change("create directory", uid, |pod, _| {
            let volume = component(&pod.join("volume-subpaths"), volume)?;
            Ok(component(&volume, container)?.join(index.to_string()))
        })
    }

    async fn read_volume_file(
        &self,
        uid: &PodUid,
        volume_path: &Path,
        file: &str,
        _max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        pod_path(uid)?;
        if !stays_inside(file) {
            return Err(refused(volume_path.join(file), "the path leads out of its directory"));
        }
        Ok(None)
    }

    async fn write_etc_hosts(&self, uid: &PodUid, _content: &str) -> Result<PathBuf, FileError> {
        self.change("write", uid, |pod, _| Ok(pod.join("etc-hosts")))
    }

    async fn read_user_namespace(
        &self,
        uid: &PodUid,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let dirs = lock(&self.dirs);
        let content = dirs.get(uid).and_then(|dir| dir.user_namespace.as_ref());
        Ok(content.map(|content| content[..content.len().min(max_bytes)].to_vec()))
    }

    async fn write_user_namespace(&self, uid: &PodUid, content: &[u8]) -> Result<(), FileError> {
        self.change("write", uid, |_, dir| {
            dir.user_namespace = Some(content.to_vec());
            Ok(())
        })
    }

    async fn remove_user_namespace(&self, uid: &PodUid) -> Result<(), FileError> {
        if let Some(dir) = lock(&self.dirs).get_mut(uid) {
            dir.user_namespace = None;
        }
        Ok(())
    }

    async fn create_termination_log(&self, uid: &PodUid, container: &str) -> Result<PathBuf, FileError> {
        self.change("create", uid, |pod, dir| {
            let name = format!("{:08x}", dir.termination_logs.len());
            let path = component(&pod.join("containers"), container)?.join(name);
            dir.termination_logs.insert(path.clone());
            Ok(path)
        })
    }

    async fn read_termination_log(
        &self,
        uid: &PodUid,
        host_path: &str,
        _max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let pod = pod_path(uid)?;
        if !Path::new(host_path).starts_with(&pod) {
            return Err(refused(host_path, format!("it is not below {}", pod.display())));
        }
        let dirs = lock(&self.dirs);
        let is_there = dirs.get(uid).is_some_and(|dir| dir.termination_logs.contains(Path::new(host_path)));
        Ok(is_there.then(Vec::new))
    }

    async fn read_log_tail(&self, log_path: &str, _tail: LogTail) -> Result<Vec<u8>, FileError> {
        if Path::new(log_path).starts_with(POD_LOGS_DIR) {
            Ok(Vec::new())
        } else {
            Err(refused(log_path, format!("it is not below {POD_LOGS_DIR}")))
        }
    }

    async fn read_host_file(&self, _path: &str, _max_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        Ok(None)
    }

    async fn link_container_log(&self, _link: &LogLink) -> Result<(), FileError> {
        Ok(())
    }

    async fn remove_container_logs(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
        keep_attempts: &[u32],
    ) -> Result<(), FileError> {
        self.log_files.keep_numbers(&component(&log_path(key, uid)?, container)?, keep_attempts);
        Ok(())
    }

    async fn tear_down_volumes(&self, uid: &PodUid) -> Result<(), FileError> {
        (self.unmounts)(uid);
        pod_path(uid).map(drop)
    }

    async fn remove_pod_dir(&self, uid: &PodUid) -> Result<(), FileError> {
        (self.unmounts)(uid);
        pod_path(uid)?;
        lock(&self.dirs).remove(uid);
        Ok(())
    }

    async fn remove_pod_logs(&self, key: &PodKey, uid: &PodUid) -> Result<(), FileError> {
        self.log_files.remove_below(&log_path(key, uid)?);
        lock(&self.logs).remove(uid);
        Ok(())
    }

    async fn list_pod_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        Ok(lock(&self.dirs).keys().cloned().collect())
    }

    async fn list_log_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        Ok(Vec::new())
    }

    async fn remove_dead_log_links(&self) -> Result<(), FileError> {
        Ok(())
    }
}
