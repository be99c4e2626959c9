//! The directories and files of pods below the root directory, their logs and the links to them (CONTRACT 6.2, 3.10).
//!
//! ```text
//! <root>/pods/<uid>/                                      0750, kept by `pod_dir`
//!     volumes/kubernetes.io~<plugin>/<volume>             `volumes`, `ownership`, `atomic_writer`
//!     plugins/kubernetes.io~empty-dir/<volume>/ready      `volumes`
//!     volume-subpaths/<volume>/<container>/<index>        `sub_path`
//!     containers/<name>/<8 hex>                           `container_files`
//!     etc-hosts                                           `container_files`
//!     userns                                              `container_files`
//! <pod logs>/<namespace>_<name>_<uid>/<container>/N.log   `logs`, `log_tail`
//! <links>/<pod>_<namespace>_<container>-<id>.log          `logs`
//! ```
//!
//! Every operation runs on the bounded pool with a deadline, one at a time per pod. Inside a pod's directory everything
//! goes through directory handles ([`crate::beneath`]); names that come from outside are single components or refused.

mod atomic_writer;
mod container_files;
mod host_path;
mod log_tail;
pub(crate) mod logs;
mod ownership;
pub(crate) mod pod_dir;
mod sub_path;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_types::{PodKey, PodUid};
use core_volumes::{VolumePayload, VolumePlugin, VolumeSetup};
use ports::pod_files::{LogLink, LogTail, SubPathRequest};
use ports::{FileError, PodFiles};

use crate::beneath::{Dir, component};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result};

/// Where the files of pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFilesOptions {
    /// `--root-dir`.
    pub root_dir: PathBuf,
    /// `podLogsDir`.
    pub pod_logs_dir: PathBuf,
    /// Directory for the legacy links to container logs, upstream's `/var/log/containers`; `None` makes no links.
    pub container_log_links_dir: Option<PathBuf>,
}

/// Mode of the directories that hold pods and their volumes (CONTRACT 7.3).
const PRIVATE_DIR: u32 = 0o750;

/// Mode of directories that log readers must enter (CONTRACT 7.3).
const LOG_DIR: u32 = 0o755;

/// The files of pods on this node.
#[derive(Debug)]
pub struct HostPodFiles {
    layout: Arc<Layout>,
    blocking: Arc<Blocking>,
}

/// The three directories, as canonical paths.
#[derive(Debug)]
struct Layout {
    root_dir: PathBuf,
    pod_logs_dir: PathBuf,
    /// As the settings name it; container runtimes report log paths in this form.
    pod_logs_dir_as_given: PathBuf,
    container_log_links_dir: Option<PathBuf>,
}

impl HostPodFiles {
    /// Makes the directories that are missing. Called once at start, before the loops run.
    ///
    /// # Errors
    /// When one of the directories cannot be made or resolved.
    pub fn new(options: &PodFilesOptions) -> Result<Self, FileError> {
        Self::with_deadline(options, FILE_DEADLINE)
    }

    fn with_deadline(options: &PodFilesOptions, deadline: Duration) -> Result<Self, FileError> {
        let root_dir = make_root(&options.root_dir, PRIVATE_DIR)?;
        Dir::open(&root_dir)?.make_dir("pods", PRIVATE_DIR)?;
        let pod_logs_dir = make_root(&options.pod_logs_dir, PRIVATE_DIR)?;
        let links = options.container_log_links_dir.as_deref();
        let layout = Layout {
            root_dir,
            pod_logs_dir,
            pod_logs_dir_as_given: options.pod_logs_dir.clone(),
            container_log_links_dir: links.map(|links| make_root(links, LOG_DIR)).transpose()?,
        };
        Ok(Self { layout: Arc::new(layout), blocking: Arc::new(Blocking::new(deadline)) })
    }

    /// Runs one operation for one pod on the pool.
    async fn for_pod<T: Send + 'static>(
        &self,
        uid: &PodUid,
        operation: &'static str,
        work: impl FnOnce(&Layout) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let path = self.layout.root_dir.join("pods").join(uid.as_str());
        self.on_pool(uid.as_str(), operation, path, work).await
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        key: &str,
        operation: &'static str,
        path: PathBuf,
        work: impl FnOnce(&Layout) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let layout = Arc::clone(&self.layout);
        let result = self.blocking.run(key, move || work(&layout)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, path)))
    }
}

/// Makes a directory that the settings name, with its parents, and returns its canonical path.
fn make_root(path: &Path, mode: u32) -> Result<PathBuf, FileError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).at("create directory", path)?;
    std::fs::canonicalize(path).at("resolve", path)
}

impl Layout {
    fn pods(&self) -> Result<Dir, FileError> {
        Dir::open(&self.root_dir.join("pods"))
    }

    /// The pod's directory, made when it is missing.
    fn make_pod(&self, uid: &PodUid) -> Result<Dir, FileError> {
        let pods = self.pods()?;
        let name = component(pods.path(), uid.as_str())?;
        pods.make_dir(name, PRIVATE_DIR)
    }

    /// The pod's directory, if there is one.
    fn find_pod(&self, uid: &PodUid) -> Result<Option<Dir>, FileError> {
        let pods = self.pods()?;
        let name = component(pods.path(), uid.as_str())?;
        pods.find(name)
    }
}

#[async_trait]
impl PodFiles for HostPodFiles {
    async fn ensure_pod_dirs(&self, uid: &PodUid) -> Result<(), FileError> {
        let pod = uid.clone();
        self.for_pod(uid, "create the directories of the pod", move |layout| layout.ensure_pod_dirs(&pod))
            .await
    }

    async fn ensure_log_dir(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
    ) -> Result<Option<u32>, FileError> {
        let (key, pod, container) = (key.clone(), uid.clone(), container.to_owned());
        self.for_pod(uid, "create the log directory of the pod", move |layout| {
            layout.ensure_log_dir(&key, &pod, &container)
        })
        .await
    }

    async fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError> {
        let (pod, volume) = (uid.clone(), volume.clone());
        self.for_pod(uid, "set up a volume of the pod", move |layout| layout.set_up_volume(&pod, &volume))
            .await
    }

    async fn write_volume(
        &self,
        uid: &PodUid,
        volume: &str,
        payload: &VolumePayload,
    ) -> Result<(), FileError> {
        let (pod, volume, payload) = (uid.clone(), volume.to_owned(), payload.clone());
        self.for_pod(uid, "write a volume of the pod", move |layout| {
            layout.write_volume(&pod, &volume, &payload)
        })
        .await
    }

    async fn is_written(&self, uid: &PodUid, volume: &str, plugin: VolumePlugin) -> Result<bool, FileError> {
        let (pod, volume) = (uid.clone(), volume.to_owned());
        self.for_pod(uid, "look at a volume of the pod", move |layout| {
            layout.is_written(&pod, &volume, plugin)
        })
        .await
    }

    async fn prepare_sub_path(&self, uid: &PodUid, request: &SubPathRequest) -> Result<PathBuf, FileError> {
        let (pod, request) = (uid.clone(), request.clone());
        self.for_pod(uid, "prepare a sub path of the pod", move |layout| {
            sub_path::prepare(&layout.make_pod(&pod)?, &request)
        })
        .await
    }

    async fn read_volume_file(
        &self,
        uid: &PodUid,
        volume_path: &Path,
        file: &str,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let (volume_path, file) = (volume_path.to_owned(), PathBuf::from(file));
        self.for_pod(uid, "read a file of a volume of the pod", move |_| {
            container_files::read_volume_file(&volume_path, &file, max_bytes)
        })
        .await
    }

    async fn write_etc_hosts(&self, uid: &PodUid, content: &str) -> Result<PathBuf, FileError> {
        let (pod, content) = (uid.clone(), content.to_owned());
        self.for_pod(uid, "write the hosts file of the pod", move |layout| {
            layout.write_etc_hosts(&pod, &content)
        })
        .await
    }

    async fn read_user_namespace(
        &self,
        uid: &PodUid,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let pod = uid.clone();
        self.for_pod(uid, "read the ID mapping of the pod", move |layout| {
            layout.read_user_namespace(&pod, max_bytes)
        })
        .await
    }

    async fn write_user_namespace(&self, uid: &PodUid, content: &[u8]) -> Result<(), FileError> {
        let (pod, content) = (uid.clone(), content.to_vec());
        self.for_pod(uid, "write the ID mapping of the pod", move |layout| {
            layout.write_user_namespace(&pod, &content)
        })
        .await
    }

    async fn remove_user_namespace(&self, uid: &PodUid) -> Result<(), FileError> {
        let pod = uid.clone();
        self.for_pod(uid, "remove the ID mapping of the pod", move |layout| {
            layout.remove_user_namespace(&pod)
        })
        .await
    }

    async fn create_termination_log(&self, uid: &PodUid, container: &str) -> Result<PathBuf, FileError> {
        let (pod, container) = (uid.clone(), container.to_owned());
        self.for_pod(uid, "create a termination message file of the pod", move |layout| {
            layout.create_termination_log(&pod, &container)
        })
        .await
    }

    async fn read_termination_log(
        &self,
        uid: &PodUid,
        host_path: &str,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let (pod, host_path) = (uid.clone(), PathBuf::from(host_path));
        self.for_pod(uid, "read a termination message of the pod", move |layout| {
            layout.read_termination_log(&pod, &host_path, max_bytes)
        })
        .await
    }

    async fn read_log_tail(&self, log_path: &str, tail: LogTail) -> Result<Vec<u8>, FileError> {
        let path = PathBuf::from(log_path);
        self.on_pool(log_path, "read the log", path.clone(), move |layout| layout.read_log_tail(&path, tail))
            .await
    }

    async fn read_host_file(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        let file = PathBuf::from(path);
        self.on_pool(path, "read", file.clone(), move |_| container_files::read_host_file(&file, max_bytes))
            .await
    }

    async fn link_container_log(&self, link: &LogLink) -> Result<(), FileError> {
        let path = PathBuf::from(&link.target);
        let link = link.clone();
        self.on_pool("links to logs", "link the log", path, move |layout| layout.link_container_log(&link))
            .await
    }

    async fn remove_container_logs(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
        keep_attempts: &[u32],
    ) -> Result<(), FileError> {
        let (key, pod, container, keep) =
            (key.clone(), uid.clone(), container.to_owned(), keep_attempts.to_vec());
        self.for_pod(uid, "remove old logs of the pod", move |layout| {
            layout.remove_container_logs(&key, &pod, &container, &keep)
        })
        .await
    }

    async fn tear_down_volumes(&self, uid: &PodUid) -> Result<(), FileError> {
        let pod = uid.clone();
        self.for_pod(uid, "unmount the volumes of the pod", move |layout| layout.tear_down_volumes(&pod))
            .await
    }

    async fn remove_pod_dir(&self, uid: &PodUid) -> Result<(), FileError> {
        let pod = uid.clone();
        self.for_pod(uid, "remove the directory of the pod", move |layout| layout.remove_pod_dir(&pod)).await
    }

    async fn remove_pod_logs(&self, key: &PodKey, uid: &PodUid) -> Result<(), FileError> {
        let (key, pod) = (key.clone(), uid.clone());
        self.for_pod(uid, "remove the logs of the pod", move |layout| layout.remove_pod_logs(&key, &pod))
            .await
    }

    async fn list_pod_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        let path = self.layout.root_dir.join("pods");
        self.on_pool("list of pods", "list", path, Layout::list_pod_dirs).await
    }

    async fn list_log_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        let path = self.layout.pod_logs_dir.clone();
        self.on_pool("list of logs", "list", path, Layout::list_log_dirs).await
    }

    async fn remove_dead_log_links(&self) -> Result<(), FileError> {
        let path = self.layout.container_log_links_dir.clone().unwrap_or_default();
        self.on_pool("list of logs", "remove dead links in", path, Layout::remove_dead_log_links).await
    }
}

#[cfg(test)]
mod tests;
