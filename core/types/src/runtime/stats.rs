//! Resource use as the runtime reports it. `None` means that the runtime did not say.

use crate::{ContainerId, SandboxId, WallTime};

/// CPU use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// When it was measured.
    pub timestamp: WallTime,
    /// CPU time since the start, in nanoseconds.
    pub usage_core_nanos: Option<u64>,
    /// Rate, in billionths of a core.
    pub usage_nano_cores: Option<u64>,
}

/// Memory use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// When it was measured.
    pub timestamp: WallTime,
    /// Usage less inactive file cache.
    pub working_set_bytes: Option<u64>,
    /// All memory.
    pub usage_bytes: Option<u64>,
    /// Anonymous memory.
    pub rss_bytes: Option<u64>,
    /// Limit less usage.
    pub available_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that read from disk.
    pub major_page_faults: Option<u64>,
}

/// Swap use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapUsage {
    /// When it was measured.
    pub timestamp: WallTime,
    /// Still available.
    pub available_bytes: Option<u64>,
    /// Used.
    pub usage_bytes: Option<u64>,
}

/// Use of a container's writable layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// When it was measured.
    pub timestamp: WallTime,
    /// File system.
    pub mountpoint: String,
    /// Bytes.
    pub used_bytes: Option<u64>,
    /// Inodes.
    pub inodes_used: Option<u64>,
}

/// Counters of one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkUsage {
    /// Interface.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: Option<u64>,
    /// Receive errors.
    pub rx_errors: Option<u64>,
    /// Bytes sent.
    pub tx_bytes: Option<u64>,
    /// Send errors.
    pub tx_errors: Option<u64>,
}

/// Use of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    /// Container.
    pub id: ContainerId,
    /// Name in the pod.
    pub name: String,
    /// CPU.
    pub cpu: Option<CpuUsage>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Swap.
    pub swap: Option<SwapUsage>,
    /// Writable layer.
    pub writable_layer: Option<FilesystemUsage>,
}

/// Use of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStats {
    /// Sandbox.
    pub id: SandboxId,
    /// CPU of the pod.
    pub cpu: Option<CpuUsage>,
    /// Memory of the pod.
    pub memory: Option<MemoryUsage>,
    /// Interfaces, the default one first.
    pub interfaces: Vec<NetworkUsage>,
    /// Number of processes.
    pub process_count: Option<u64>,
    /// Containers.
    pub containers: Vec<ContainerStats>,
}

/// A metric that the runtime offers (CRI `MetricDescriptor`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricDescriptor {
    /// Name, e.g. `container_cpu_usage_seconds_total`.
    pub name: String,
    /// What it tells.
    pub help: String,
    /// Names of its labels, in the order of the values.
    pub label_keys: Vec<String>,
}

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It does.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One sample of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSample {
    /// Name of its descriptor.
    pub name: String,
    /// When it was measured; unset for now.
    pub timestamp: WallTime,
    /// Kind.
    pub kind: MetricKind,
    /// Values of the descriptor's labels.
    pub label_values: Vec<String>,
    /// Value; `None` when the runtime did not say.
    pub value: Option<u64>,
}

/// Metrics of one sandbox and its containers (CRI `PodSandboxMetrics`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxMetrics {
    /// Sandbox.
    pub id: SandboxId,
    /// Of the sandbox.
    pub samples: Vec<MetricSample>,
    /// Of each container.
    pub containers: Vec<(ContainerId, Vec<MetricSample>)>,
}
