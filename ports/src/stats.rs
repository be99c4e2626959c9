//! Resource use as the kernel and the runtime tell it. Every call reads anew, when asked; nothing is kept.

use std::sync::Arc;

use async_trait::async_trait;
use core_stats::{CgroupSample, NetworkOf};
use core_types::runtime::ContainerStats;

use crate::runtime::{ContainerRuntime, RuntimeResult};
use crate::{CgroupError, FileError};
use core_cm::CgroupPath;

/// A cgroup to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupTarget {
    /// Path from the machine's root cgroup, also where the agent's own root is another.
    pub path: CgroupPath,
    /// Whose network interfaces to count with it.
    pub network: NetworkOf,
}

/// What the kernel says of resource use.
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
    /// Device of the file system that a path lies on, by the table of mounts; `None` when no mount covers it.
    async fn device_of(&self, path: &str) -> Result<Option<String>, FileError>;
}

/// What the runtime says of the writable layers of containers.
#[async_trait]
pub trait WritableLayers: Send + Sync {
    /// `ListContainerStats`.
    async fn writable_layers(&self) -> RuntimeResult<Vec<ContainerStats>>;
}

#[async_trait]
impl WritableLayers for Arc<dyn ContainerRuntime> {
    async fn writable_layers(&self) -> RuntimeResult<Vec<ContainerStats>> {
        self.list_container_stats().await
    }
}
