//! What the kernel says of the agent's own process, for the `process_*` metrics (CONTRACT 5.15).

/// Use of resources by the agent's process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system CPU time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_memory_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_memory_bytes: u64,
    /// When the process started, in seconds since the Unix epoch.
    pub start_time_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Limit of open file descriptors.
    pub max_fds: u64,
    /// Limit of virtual memory, in bytes; `None` for none.
    pub virtual_memory_max_bytes: Option<u64>,
    /// Bytes received in the process's network namespace, its loopback too.
    pub network_receive_bytes: u64,
    /// Bytes sent there.
    pub network_transmit_bytes: u64,
}

/// Reader of the agent's own figures.
pub trait OwnProcess: Send + Sync {
    /// The figures now; `None` when `/proc` cannot be read.
    fn stats(&self) -> Option<ProcessStats>;
}
