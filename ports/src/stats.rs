//! Resource use: what the kernel, the file systems and the runtime tell, and the readings of the whole node that are made
//! of it and shared.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_cm::CgroupPath;
use core_stats::{
    CgroupDetail, CgroupSample, DetailReading, FilesystemSample, LayersReading, MachineTasks,
    MountedFilesystem, NetworkOf, PodFilesUse, StorageReading, UsageReading, VolumeUse,
};
use core_types::{PodKey, PodUid};
use core_volumes::VolumePlugin;

use crate::{CgroupError, FileError};

/// A cgroup to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupTarget {
    /// Path from the machine's root cgroup, also where the agent's own root is another.
    pub path: CgroupPath,
    /// Whose network interfaces to count with it.
    pub network: NetworkOf,
}

/// What the kernel says of resource use. Every call reads anew; nothing is kept.
#[async_trait]
pub trait HostStats: Send + Sync {
    /// Reads cgroups, one after another; `None` for one that does not exist. `group` names them in an error.
    ///
    /// # Errors
    /// When the kernel does not answer in time. A file that cannot be read only leaves its numbers out.
    async fn cgroups(
        &self,
        group: &str,
        targets: Vec<CgroupTarget>,
    ) -> Result<Vec<Option<CgroupSample>>, CgroupError>;
    /// Looks at the file system that a path lies on.
    ///
    /// # Errors
    /// When it does not answer in time: its mount hangs.
    async fn filesystem(&self, path: &str) -> Result<FilesystemSample, FileError>;
    /// Reads disk I/O and open files of cgroups, one after another; `None` for one that does not exist.
    ///
    /// # Errors
    /// When the kernel does not answer in time. A file that cannot be read only leaves its numbers out.
    async fn details(
        &self,
        group: &str,
        targets: Vec<CgroupPath>,
    ) -> Result<Vec<Option<CgroupDetail>>, CgroupError>;
    /// File systems of the machine itself, each once: not those of pods and containers, and none of another machine.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    async fn mounted(&self) -> Result<Vec<MountedFilesystem>, FileError>;
    /// Tasks of the machine; `None` when the kernel does not tell.
    fn tasks(&self) -> Option<MachineTasks>;
}

/// A volume of a pod that the agent made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeTarget {
    /// Pod.
    pub uid: PodUid,
    /// Where it lies.
    pub plugin: VolumePlugin,
    /// Name in the pod.
    pub name: String,
}

/// What pods store on the node. Nothing is measured unless somebody asks.
#[async_trait]
pub trait LocalStorage: Send + Sync {
    /// Looks at the log files of a pod and at its hosts file, anew.
    ///
    /// # Errors
    /// When the file system does not answer in time.
    async fn pod_files(&self, key: &PodKey, uid: &PodUid) -> Result<PodFilesUse, FileError>;
    /// What these volumes use, each measured at most `max_age` ago if it answers in time. One that does not has its last
    /// figures, or none, and delays no other; counting goes on behind. Volumes that are not named are forgotten.
    async fn volumes(&self, targets: &[VolumeTarget], max_age: Duration) -> Vec<Option<VolumeUse>>;
}

/// Readings of the whole node. Whoever asks while one is made, or shortly after it began, gets the same one: it is made
/// once however many ask, and never by itself.
#[async_trait]
pub trait Readings: Send + Sync {
    /// CPU, memory, processes and network of the node, its pods and containers, at most a second old. What cannot be read
    /// is missing and named.
    async fn usage(&self) -> Arc<UsageReading>;
    /// The same from cgroups alone, also where the runtime is to say what pods use: metrics of cgroups show it.
    async fn cgroups_usage(&self) -> Arc<UsageReading> {
        self.usage().await
    }
    /// Writable layers as the runtime measures them, at most a second old.
    async fn layers(&self) -> Arc<LayersReading>;
    /// Disk I/O, open files and sockets of the same cgroups, and the machine's file systems, at most a second old.
    async fn details(&self) -> Arc<DetailReading>;
    /// File systems, and what pods store: layers, logs, volumes; at most a second old, volumes
    /// `volumeStatsAggPeriod`.
    async fn storage(&self) -> Arc<StorageReading>;
}
