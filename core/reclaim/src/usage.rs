//! Measurements that eviction decides on: of the node by signal, and of each pod. What could not be read is absent.

use std::collections::BTreeMap;

use core_types::{MonoTime, Quantity};

use crate::signal::Signal;

/// One look at a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How much is left; below zero where more is used than there is.
    pub available: Quantity,
    /// How much there is.
    pub capacity: Quantity,
    /// When it was measured.
    pub measured_at: MonoTime,
}

/// What is known of the node's signals.
pub type Observations = BTreeMap<Signal, Observation>;

/// Use of local storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// In bytes.
    pub bytes: Option<u64>,
    /// In inodes.
    pub inodes: Option<u64>,
}

/// What one container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerUse {
    /// The container's name.
    pub name: String,
    /// Memory working set, in bytes.
    pub working_set_bytes: Option<u64>,
    /// Its writable layer.
    pub rootfs: DiskUse,
    /// Its logs.
    pub logs: DiskUse,
}

/// What one pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUse {
    /// Memory working set, in bytes.
    pub working_set_bytes: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Its containers.
    pub containers: Vec<ContainerUse>,
    /// Its volumes, by name.
    pub volumes: BTreeMap<String, DiskUse>,
    /// Writable layers, logs, local volumes and the agent's files for it, in bytes.
    pub ephemeral_bytes: Option<u64>,
}

/// A measured amount of bytes.
pub(crate) fn bytes(amount: u64) -> Quantity {
    Quantity::from_bytes(signed(amount))
}

/// A measured amount as quantities count.
pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
