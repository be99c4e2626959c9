//! What only `/metrics/cadvisor` shows: disk I/O, open files and sockets of cgroups, and the machine's file systems. It is read
//! apart from the rest, because it costs more and eviction needs none of it.

use std::collections::BTreeMap;

use core_cm::CgroupPath;
use core_types::WallTime;

use crate::filesystem::FilesystemSample;

/// One reading of one cgroup. `None` and empty where the kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupDetail {
    /// When it was read.
    pub taken_at: WallTime,
    /// Open files of the processes in the cgroup itself.
    pub descriptors: Option<DescriptorSample>,
    /// Soft limit of open files of its first process; -1 for none.
    pub max_open_files: Option<i64>,
    /// I/O by block device, with that below the cgroup.
    pub disks: Vec<DiskSample>,
}

/// Open files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DescriptorSample {
    /// All.
    pub open: u64,
    /// Those that are sockets.
    pub sockets: u64,
}

/// I/O on one block device since the cgroup was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskSample {
    /// E.g. `/dev/vda`; empty for one that is no disk.
    pub device: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes by operation, with the kernel's names (`Read`, `Write`, ...).
    pub bytes: BTreeMap<String, u64>,
    /// Number of operations, likewise.
    pub operations: BTreeMap<String, u64>,
}

/// What the kernel counts of a block device as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Reads completed.
    pub reads: u64,
    /// Reads that were merged.
    pub reads_merged: u64,
    /// Sectors read.
    pub sectors_read: u64,
    /// Time spent reading, in milliseconds.
    pub read_ms: u64,
    /// Writes completed.
    pub writes: u64,
    /// Writes that were merged.
    pub writes_merged: u64,
    /// Sectors written.
    pub sectors_written: u64,
    /// Time spent writing, in milliseconds.
    pub write_ms: u64,
    /// Operations under way.
    pub in_progress: u64,
    /// Time with operations under way, in milliseconds.
    pub busy_ms: u64,
    /// The same, weighted by their number.
    pub weighted_ms: u64,
}

/// A file system that is mounted on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountedFilesystem {
    /// What metrics call it: its device, or where it is mounted if it has none.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Its device's counters; `None` where it has none.
    pub disk: Option<DiskCounters>,
}

/// What was read for one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetailReading {
    /// By cgroup, counted from the machine's root.
    pub cgroups: BTreeMap<CgroupPath, CgroupDetail>,
    /// File systems of the machine with their sizes.
    pub filesystems: Vec<(MountedFilesystem, FilesystemSample)>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}
