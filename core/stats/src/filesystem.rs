//! Use of local storage: of a file system as a whole, and of what lies on it.

use core_types::WallTime;

/// One look at a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemSample {
    /// When it was looked at.
    pub taken_at: WallTime,
    /// The source of its mount, often a device, e.g. `/dev/vda1`.
    pub device: String,
    /// The kernel's number of it; two paths with one number lie on one file system.
    pub id: u64,
    /// Size in bytes.
    pub capacity_bytes: u64,
    /// What everybody may still use, in bytes.
    pub available_bytes: u64,
    /// Used by all files, in bytes.
    pub used_bytes: u64,
    /// Inodes; 0 on a file system that makes them as needed.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// What some files use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Blocks, in bytes.
    pub bytes: u64,
    /// Inodes, a count.
    pub inodes: u64,
}

impl std::ops::AddAssign for DiskUse {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

/// Whether everything was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// Counting took too long and was stopped: there is at least so much.
    AtLeast,
}

/// What a volume uses, and the file system it lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// When counting began. Old when the volume did not answer since.
    pub taken_at: WallTime,
    /// Files of the volume.
    pub used: DiskUse,
    /// Whether that is all.
    pub coverage: Coverage,
    /// Its file system, at the same time.
    pub filesystem: FilesystemSample,
}

/// What the agent and the runtime keep beside a pod's containers and volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFilesUse {
    /// When it was looked at.
    pub taken_at: WallTime,
    /// Log files of each container, also of those that ended.
    pub container_logs: std::collections::BTreeMap<String, DiskUse>,
    /// Files beside the directories of containers in the pod's log directory.
    pub pod_logs: DiskUse,
    /// The hosts file; `None` for a pod without one.
    pub etc_hosts: Option<DiskUse>,
}
