//! Cgroups of the node, its QoS classes and its pods. Container cgroups are the runtime's.

use async_trait::async_trait;
use core_cm::cgroup::{CgroupLimits, CgroupPath, CgroupValues};
use core_types::PodUid;

/// Why a cgroup could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the cgroup tree refused.
    #[error("cgroup {cgroup}: {operation} {path}: {source}")]
    Io {
        /// The cgroup, as the agent names it.
        cgroup: String,
        /// What was tried, e.g. `write 100000 to`.
        operation: String,
        /// File or directory.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// Processes stay in the cgroup although they were killed.
    #[error(
        "cgroup {cgroup}: {count} processes are still there after they were killed; removal is tried again"
    )]
    StillBusy {
        /// The cgroup.
        cgroup: String,
        /// How many.
        count: usize,
    },
    /// It is not empty, and was to be removed only if it is.
    #[error("cgroup {cgroup}: {count} processes are in it; it stays")]
    StillUsed {
        /// The cgroup.
        cgroup: String,
        /// How many.
        count: usize,
    },
    /// systemd, which makes and stops the cgroups, did not do it.
    #[error("cgroup {cgroup}: {doing}: {problem}; it is tried again")]
    Systemd {
        /// The cgroup.
        cgroup: String,
        /// What was tried, with the unit.
        doing: String,
        /// Why it failed.
        problem: String,
    },
    /// No answer within the deadline (a process in the kernel's hands can block a cgroup).
    #[error("cgroup {cgroup}: no answer from the kernel within {after:?}; it is tried again")]
    Timeout {
        /// The cgroup.
        cgroup: String,
        /// The deadline.
        after: std::time::Duration,
    },
}

/// The cgroup tree below the configured root.
#[async_trait]
pub trait Cgroups: Send + Sync {
    /// Makes the cgroup if it is not there, and sets the values that differ. Safe to repeat.
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError>;
    /// True when the cgroup is there in every hierarchy that counts (CONTRACT 5.1).
    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError>;
    /// The limits that the cgroup has now.
    async fn limits(&self, path: &CgroupPath) -> Result<CgroupLimits, CgroupError>;
    /// Memory in use in the cgroup and below, in bytes.
    async fn memory_usage_bytes(&self, path: &CgroupPath) -> Result<u64, CgroupError>;
    /// Kills what is left in the cgroup and removes it with everything below. Gone already is success.
    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError>;
    /// UIDs of all pods that have a cgroup, with their cgroups.
    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError>;
}
