//! What the kernel says of one cgroup at one time. Sums hold everything below the cgroup too.

use core_types::WallTime;

/// One reading of one cgroup. `None` and empty where the kernel does not say, e.g. because a controller is off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupSample {
    /// When it was read.
    pub taken_at: WallTime,
    /// When the cgroup was made; unset when that cannot be told.
    pub created_at: WallTime,
    /// CPU time.
    pub cpu: Option<CpuSample>,
    /// Memory.
    pub memory: Option<MemorySample>,
    /// Processes and threads.
    pub processes: Option<ProcessSample>,
    /// Stalls.
    pub pressure: Pressure,
    /// Network interfaces, where they were asked for.
    pub interfaces: Vec<InterfaceSample>,
    /// What the cgroup may use.
    pub spec: CgroupSpec,
}

/// CPU time since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSample {
    /// All of it, in nanoseconds.
    pub usage_nanos: u64,
    /// In user mode, in nanoseconds.
    pub user_nanos: u64,
    /// In the kernel, in nanoseconds.
    pub system_nanos: u64,
    /// Periods of the CFS quota that have passed.
    pub cfs_periods: u64,
    /// Periods in which the cgroup was throttled.
    pub cfs_throttled_periods: u64,
    /// Time throttled, in nanoseconds.
    pub cfs_throttled_nanos: u64,
    /// Periods with a burst.
    pub cfs_burst_periods: u64,
    /// Time of bursts, in nanoseconds.
    pub cfs_burst_nanos: u64,
}

/// Memory, in bytes unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySample {
    /// All of it.
    pub usage_bytes: u64,
    /// The most it ever was; 0 where the kernel does not keep it.
    pub max_usage_bytes: u64,
    /// How often the limit was hit (cgroup v1).
    pub failures: u64,
    /// Used by the kernel.
    pub kernel_bytes: u64,
    /// Page cache.
    pub cache_bytes: u64,
    /// Anonymous memory.
    pub rss_bytes: u64,
    /// In swap.
    pub swap_bytes: u64,
    /// Mapped files.
    pub mapped_file_bytes: u64,
    /// Page cache in recent use.
    pub active_file_bytes: u64,
    /// Page cache that can go first.
    pub inactive_file_bytes: u64,
    /// Page faults, a count.
    pub page_faults: u64,
    /// Page faults that read from disk, a count.
    pub major_page_faults: u64,
    /// What reclaim did.
    pub reclaim: ReclaimSample,
}

impl MemorySample {
    /// What cannot be freed easily: usage less inactive page cache. Eviction and `kubectl top` go by it.
    pub fn working_set_bytes(&self) -> u64 {
        self.usage_bytes.saturating_sub(self.inactive_file_bytes)
    }
}

/// Memory reclaim. cgroup v1 keeps few of these; the others stay zero, as upstream shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimSample {
    /// Times throttled at `memory.high`.
    pub high_events: u64,
    /// Times the limit was hit.
    pub max_events: u64,
    /// Page cache not written yet, in bytes.
    pub file_dirty_bytes: u64,
    /// Page cache being written, in bytes.
    pub file_writeback_bytes: u64,
    /// Pages looked at.
    pub scanned_pages: u64,
    /// Pages reclaimed.
    pub stolen_pages: u64,
    /// File pages read again after they were reclaimed.
    pub refaulted_file_pages: u64,
    /// Anonymous pages read again after they were reclaimed.
    pub refaulted_anon_pages: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessSample {
    /// Processes in the cgroup itself, not below.
    pub processes: u64,
    /// Threads, with those below; `None` where they are not counted.
    pub threads: Option<u64>,
    /// Limit of threads; 0 for none.
    pub threads_max: u64,
}

/// Time lost in waiting for a resource (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// CPU.
    pub cpu: Option<PressureSample>,
    /// Memory.
    pub memory: Option<PressureSample>,
    /// Disk I/O.
    pub io: Option<PressureSample>,
}

/// Stalls on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureSample {
    /// Some task waited.
    pub some: PressureLine,
    /// All tasks waited.
    pub full: PressureLine,
}

/// How long tasks waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureLine {
    /// In all, in microseconds.
    pub total_micros: u64,
    /// Part of the last 10 s, in percent.
    pub avg10: f64,
    /// Part of the last minute, in percent.
    pub avg60: f64,
    /// Part of the last 5 minutes, in percent.
    pub avg300: f64,
}

/// Counters of one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSample {
    /// Name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets dropped while receiving.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets dropped while sending.
    pub tx_dropped: u64,
}

/// What a cgroup may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupSpec {
    /// CPU.
    pub cpu: Option<CpuSpec>,
    /// Memory.
    pub memory: Option<MemorySpec>,
}

/// CPU of a [`CgroupSpec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSpec {
    /// CPU shares; 0 at the root of cgroup v2, which has none.
    pub shares: u64,
    /// CFS period in microseconds.
    pub period_us: u64,
    /// CFS quota in microseconds; 0 for none.
    pub quota_us: u64,
}

/// Memory of a [`CgroupSpec`], in bytes; a number near the largest means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySpec {
    /// Memory.
    pub limit_bytes: u64,
    /// Memory with swap on cgroup v1, swap alone on v2.
    pub swap_limit_bytes: u64,
    /// Soft limit on cgroup v1, `memory.min` on v2.
    pub reservation_bytes: u64,
}
