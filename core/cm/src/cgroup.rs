//! Names of cgroups and the values to set in them, for both cgroup drivers and both cgroup versions.

use std::collections::BTreeMap;

/// A cgroup by its components below the node's cgroup root, e.g. `["kubepods", "burstable", "pod<uid>"]`.
/// How they become a path is the driver's matter (CONTRACT 5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(pub Vec<String>);

/// What to set; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupValues {
    /// CPU shares, 2..=262144.
    pub cpu_shares: Option<u64>,
    /// CFS quota in microseconds; -1 for none.
    pub cpu_quota_us: Option<i64>,
    /// CFS period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Memory limit in bytes; -1 for none.
    pub memory_limit_bytes: Option<i64>,
    /// Number of tasks; -1 for none.
    pub pids_limit: Option<i64>,
    /// Huge page limits by page size as the kernel names it (`2MB`), in bytes.
    pub hugepage_limits: BTreeMap<String, u64>,
    /// cgroup v2 keys set as they are.
    pub unified: BTreeMap<String, String>,
}
