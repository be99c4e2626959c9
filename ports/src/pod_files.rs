//! The directories and files that the agent keeps for a pod below its root directory, and the pod's logs
//! (CONTRACT 6.2). Everything is opened beneath a directory handle: a symlink inside a pod's directory leads nowhere else.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use core_types::{PodKey, PodUid};
use core_volumes::{VolumePayload, VolumePlugin, VolumeSetup};

/// Why a file operation for a pod failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried, e.g. `create directory`.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A path leaves the directory it must stay in, or is of the wrong kind.
    #[error("{path}: {problem}")]
    Refused {
        /// Path.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A host path is not what its volume says it is, in upstream's words, which name the path.
    #[error("{0}")]
    HostPathType(String),
    /// Something is still mounted below a directory that should go.
    #[error("{path} is still a mount point; the directory of the pod stays until it is unmounted")]
    StillMounted {
        /// Mount point.
        path: PathBuf,
    },
    /// No answer from the file system within the deadline.
    #[error("{operation} {path}: no answer within {after:?}: the file system hangs; it is tried again")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// The deadline.
        after: std::time::Duration,
    },
}

/// Which part of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTail {
    /// Last lines at most.
    pub lines: usize,
    /// Last bytes at most.
    pub bytes: usize,
}

/// Directories and files of pods.
#[async_trait]
pub trait PodFiles: Send + Sync {
    /// Makes the pod's directories (0750) below the root directory. Safe to repeat.
    async fn ensure_pod_dirs(&self, uid: &PodUid) -> Result<(), FileError>;
    /// Makes the log directory of a container (0755) and returns the highest `N` of the `N.log` files in it, for a
    /// restart count when the runtime remembers nothing (CONTRACT 3.10).
    async fn ensure_log_dir(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
    ) -> Result<Option<u32>, FileError>;
    /// Sets up one volume and returns its host path. Safe to repeat.
    async fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError>;
    /// Writes the files of a volume with the atomic writer (CONTRACT 6.5); nothing is written when nothing changed.
    async fn write_volume(
        &self,
        uid: &PodUid,
        volume: &str,
        payload: &VolumePayload,
    ) -> Result<(), FileError>;
    /// Whether files were written into a volume and are still there.
    async fn is_written(&self, uid: &PodUid, volume: &str, plugin: VolumePlugin) -> Result<bool, FileError>;
    /// Resolves a volume's sub path safely, making a missing directory, and returns the path to mount (CONTRACT 6.6).
    async fn prepare_sub_path(&self, uid: &PodUid, request: &SubPathRequest) -> Result<PathBuf, FileError>;
    /// Reads a file that the pod may have written, at most `max_bytes` of it; `None` when there is none. Symlinks lead as if
    /// the volume were the root directory.
    async fn read_volume_file(
        &self,
        uid: &PodUid,
        volume_path: &Path,
        file: &str,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError>;
    /// Writes `<pod>/etc-hosts` (0644) and returns its path.
    async fn write_etc_hosts(&self, uid: &PodUid, content: &str) -> Result<PathBuf, FileError>;
    /// Reads `<pod>/userns`, the ID mapping of a pod with an own user namespace, at most `max_bytes` of it; `None` when there
    /// is none (CONTRACT 3.22).
    async fn read_user_namespace(&self, uid: &PodUid, max_bytes: usize)
    -> Result<Option<Vec<u8>>, FileError>;
    /// Writes `<pod>/userns` (0600) as a whole.
    async fn write_user_namespace(&self, uid: &PodUid, content: &[u8]) -> Result<(), FileError>;
    /// Removes `<pod>/userns`. Gone already is success.
    async fn remove_user_namespace(&self, uid: &PodUid) -> Result<(), FileError>;
    /// Makes a new empty file (0666) for the termination message of one container instance and returns its path.
    async fn create_termination_log(&self, uid: &PodUid, container: &str) -> Result<PathBuf, FileError>;
    /// Reads at most `max_bytes` of a termination message file of this pod; `None` when there is none.
    async fn read_termination_log(
        &self,
        uid: &PodUid,
        host_path: &str,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError>;
    /// Reads the end of a container log in CRI format, messages only.
    async fn read_log_tail(&self, log_path: &str, tail: LogTail) -> Result<Vec<u8>, FileError>;
    /// Reads a host file of bounded size that the agent's settings name (`resolvConf`, `/etc/hosts`, registry credentials).
    async fn read_host_file(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, FileError>;
    /// Makes or removes the legacy link `/var/log/containers/<pod>_<ns>_<container>-<id>.log` (CONTRACT 3.10).
    async fn link_container_log(&self, link: &LogLink) -> Result<(), FileError>;
    /// Removes log files of one container's old instances, keeping `keep_attempts`.
    async fn remove_container_logs(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
        keep_attempts: &[u32],
    ) -> Result<(), FileError>;
    /// Unmounts what the agent mounted for the pod: sub paths, then volumes. Empty directories lose what the pod wrote into them,
    /// for the node may be short of room; other directories stay. Safe to repeat.
    async fn tear_down_volumes(&self, uid: &PodUid) -> Result<(), FileError>;
    /// Unmounts what the agent mounted for the pod and removes its directory; never descends into another file system.
    async fn remove_pod_dir(&self, uid: &PodUid) -> Result<(), FileError>;
    /// Removes the pod's log directory and the links that point into it. Without a name in `key` the UID alone tells
    /// which directory that is: of a removed pod nothing else may be known.
    async fn remove_pod_logs(&self, key: &PodKey, uid: &PodUid) -> Result<(), FileError>;
    /// UIDs of all pods that have a directory.
    async fn list_pod_dirs(&self) -> Result<Vec<PodUid>, FileError>;
    /// UIDs of all pods that have a log directory.
    async fn list_log_dirs(&self) -> Result<Vec<PodUid>, FileError>;
    /// Removes legacy links into log directories that are not there any more.
    async fn remove_dead_log_links(&self) -> Result<(), FileError>;
}

/// A sub path of a volume to be mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubPathRequest {
    /// Volume name.
    pub volume: String,
    /// Host path of the volume.
    pub volume_path: PathBuf,
    /// Container name.
    pub container: String,
    /// Index of the volume mount in the container.
    pub index: usize,
    /// Relative path inside the volume.
    pub sub_path: String,
}

/// The legacy log link of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLink {
    /// Pod.
    pub key: PodKey,
    /// Container name.
    pub container: String,
    /// Container ID.
    pub container_id: String,
    /// What the link points to.
    pub target: String,
}
