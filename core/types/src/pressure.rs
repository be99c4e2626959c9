//! What the node is short of, and what it did about it: plain data for the view of the node.

use crate::{PodKey, PodUid, WallTime};

/// Scarce resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pressures {
    /// Memory.
    pub memory: bool,
    /// Disk.
    pub disk: bool,
    /// Process IDs.
    pub pid: bool,
}

impl Pressures {
    /// The node's conditions that show it, in the order in which the node lists them.
    pub fn conditions(self) -> Vec<&'static str> {
        let all = [(self.memory, "MemoryPressure"), (self.disk, "DiskPressure"), (self.pid, "PIDPressure")];
        all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect()
    }
}

/// A place in the order in which pods go, with the figures that gave it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionPlace {
    /// The pod.
    pub key: PodKey,
    /// Whether it uses more than it asked for; absent when it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exceeds_request: Option<bool>,
    /// Its priority.
    pub priority: i32,
    /// What it uses, as a quantity; empty when it could not be measured.
    pub used: String,
    /// What it asked for.
    pub requested: String,
}

/// Why a pod was evicted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionDecision {
    /// UID of the pod.
    pub uid: PodUid,
    /// The pod.
    pub key: PodKey,
    /// When.
    pub at: WallTime,
    /// The eviction signal, or the kind of the pod's own limit that it exceeded.
    pub signal: String,
    /// Below how much was too little, as a quantity; empty for a limit of the pod's own.
    pub limit: String,
    /// How much there was; empty likewise.
    pub available: String,
    /// The message of the pod's status.
    pub message: String,
    /// The order of all pods at that time, the first to go first; empty for a limit of the pod's own.
    pub order: Vec<EvictionPlace>,
}

/// One eviction signal as it stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalState {
    /// Its name.
    pub signal: String,
    /// How much there is now, as a quantity.
    pub available: String,
    /// How much there could be.
    pub capacity: String,
    /// Its limits: below how much, and after how many seconds.
    pub limits: Vec<SignalLimit>,
    /// Who goes when it is short, the first to go first.
    pub order: Vec<EvictionPlace>,
}

/// A limit of a signal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalLimit {
    /// Below how much pods go, as a quantity.
    pub below: String,
    /// How long it must be so, in seconds; 0 for a hard limit.
    pub grace_secs: u64,
    /// Whether it is so now.
    pub is_met: bool,
}

/// What eviction would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionOutlook {
    /// Conditions that the node shows.
    pub pressures: Pressures,
    /// Every signal that could be measured.
    pub signals: Vec<SignalState>,
    /// Messages of pods that exceed a limit of their own, by pod.
    pub over_limit: Vec<(PodKey, String)>,
    /// Pods that never go: static pods and those of a system priority.
    pub critical: Vec<PodKey>,
}
