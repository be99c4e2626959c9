//! The answer to `/stats/summary` (CONTRACT 2.9): upstream's field names, and what of it a reading fills in. A number that is
//! not known is left out.

pub(crate) mod build;

use core_types::WallTime;
use serde::{Serialize, Serializer};

pub use build::{SummaryFacts, cpu_and_memory, whole};

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The node.
    pub node: NodeStats,
    /// Its pods.
    pub pods: Vec<PodStats>,
}

/// The node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStats {
    /// Name of the Node object.
    pub node_name: String,
    /// Daemons and all pods: `kubelet`, `runtime`, `misc`, `pods`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system_containers: Vec<ContainerStats>,
    /// Since when figures are counted: the boot.
    #[serde(serialize_with = "rfc3339")]
    pub start_time: WallTime,
    /// Processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuStats>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Stalls on disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<IoStats>,
    /// Network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStats>,
    /// The file system of the root directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs: Option<FsStats>,
    /// File systems of the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeStats>,
    /// Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimit: Option<RlimitStats>,
    /// Swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapStats>,
}

/// File systems of the runtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeStats {
    /// Images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_fs: Option<FsStats>,
    /// Writable layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_fs: Option<FsStats>,
}

/// Tasks of the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RlimitStats {
    /// When they were counted.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// The most there can be.
    pub maxpid: u64,
    /// How many there are.
    pub curproc: u64,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStats {
    /// Which.
    pub pod_ref: PodReference,
    /// When its sandbox was made.
    #[serde(serialize_with = "rfc3339")]
    pub start_time: WallTime,
    /// Containers that run.
    pub containers: Vec<ContainerStats>,
    /// Processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuStats>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Stalls on disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<IoStats>,
    /// Network of the sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStats>,
    /// Volumes.
    #[serde(rename = "volume", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeStats>,
    /// Local storage.
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<FsStats>,
    /// Processes.
    #[serde(rename = "process_stats", skip_serializing_if = "Option::is_none")]
    pub process_stats: Option<ProcessStats>,
    /// Swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapStats>,
}

/// A pod by its names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodReference {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// UID.
    pub uid: String,
}

/// Processes of a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessStats {
    /// How many.
    pub process_count: u64,
}

/// A container, or daemons of the system.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStats {
    /// Name in the pod.
    pub name: String,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub start_time: WallTime,
    /// Processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuStats>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Stalls on disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<IoStats>,
    /// Writable layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<FsStats>,
    /// Log files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<FsStats>,
    /// Swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapStats>,
}

/// Processor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// Rate, in billionths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_nano_cores: Option<u64>,
    /// All since the beginning, in nanoseconds of a core.
    pub usage_core_nano_seconds: u64,
    /// Stalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<PsiStats>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// Limit less working set; none without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// All.
    pub usage_bytes: u64,
    /// What is not easily freed.
    pub working_set_bytes: u64,
    /// Anonymous memory.
    pub rss_bytes: u64,
    /// Page faults, a count.
    pub page_faults: u64,
    /// Those that read from disk.
    pub major_page_faults: u64,
    /// Stalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<PsiStats>,
}

/// Stalls on disks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IoStats {
    /// When they were read.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// Stalls.
    pub psi: PsiStats,
}

/// Stalls on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PsiStats {
    /// All tasks waited.
    pub full: PsiData,
    /// Some task waited.
    pub some: PsiData,
}

/// One line of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PsiData {
    /// Microseconds, as the kernel counts and upstream passes on.
    pub total: u64,
    /// Part of the last 10 s, in percent.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last 5 minutes.
    pub avg300: f64,
}

/// Swap, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapStats {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// Limit less use; none without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_available_bytes: Option<u64>,
    /// Used.
    pub swap_usage_bytes: u64,
}

/// Network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkStats {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// `eth0`, where there is one.
    #[serde(flatten)]
    pub default_interface: InterfaceStats,
    /// All.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceStats>,
}

/// One interface. The default one has an empty name and no counters where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceStats {
    /// Name.
    pub name: String,
    /// Bytes received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_bytes: Option<u64>,
    /// Receive errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_errors: Option<u64>,
    /// Bytes sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_bytes: Option<u64>,
    /// Send errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_errors: Option<u64>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeStats {
    /// What it uses, of what.
    #[serde(flatten)]
    pub fs: FsStats,
    /// Name in the pod.
    pub name: String,
}

/// Use of a file system, in bytes and inodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FsStats {
    /// When it was measured.
    #[serde(serialize_with = "rfc3339")]
    pub time: WallTime,
    /// Left on the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Used by what is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Left on the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
    /// All of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// Used by what is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_used: Option<u64>,
}

/// Go's form of a time: whole seconds, `null` for none.
fn rfc3339<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
    match time.is_unset() {
        true => serializer.serialize_none(),
        false => time.to_api_secs().serialize(serializer),
    }
}
