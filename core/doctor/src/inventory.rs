//! What lies on the machine, as who looked found it. Nothing here is judged.

use std::collections::BTreeSet;
use std::fmt::Display;

use core_cm::cgroup::CgroupPath;
use core_types::local::CertificateRenewal;
use core_types::{PodKey, PodUid, SandboxId, WallTime};

/// Everything that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Directories of pods below the root directory.
    pub pod_dirs: Vec<PodDir>,
    /// Log directories named as the kubelet names them.
    pub log_dirs: Vec<LogDir>,
    /// Links into directories of logs that are not there.
    pub dead_links: Vec<DeadLink>,
    /// Cgroups of pods.
    pub cgroups: Vec<PodCgroup>,
    /// Network namespaces of pods in which no process runs, by the path that holds them.
    pub idle_namespaces: Vec<String>,
    /// What the container runtime has.
    pub runtime: RuntimeInventory,
    /// The node's certificates.
    pub certificates: Vec<Certificate>,
    /// Checkpoints, records of pulls, journals.
    pub state_files: Vec<StateFile>,
    /// Where nobody could look.
    pub blind_spots: Vec<BlindSpot>,
}

impl Inventory {
    /// Notes a place where nobody could look, and why.
    pub fn not_looked(&mut self, place: impl Display, problem: impl Display) {
        let (place, problem) = (place.to_string(), problem.to_string());
        self.blind_spots.push(BlindSpot { place, problem });
    }
}

/// A directory of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDir {
    /// Pod.
    pub uid: PodUid,
    /// Where it is.
    pub path: String,
    /// Directories below its `volumes`: each names a plugin.
    pub plugins: BTreeSet<String>,
    /// What is mounted below it, in the order of mounting.
    pub mounts: Vec<PodMount>,
}

/// Something mounted below the directory of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMount {
    /// Path below the pod's directory.
    pub relative: String,
    /// Type of the file system.
    pub fs_type: String,
}

/// A log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Pod, by its name.
    pub uid: PodUid,
    /// Where it is.
    pub path: String,
}

/// A link to a log that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLink {
    /// Where it is.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

/// A cgroup of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    /// Pod, by its name.
    pub uid: PodUid,
    /// Below the configured root.
    pub path: CgroupPath,
    /// Processes in it and below.
    pub processes: BTreeSet<i32>,
}

/// What the container runtime has.
#[derive(Clone, Debug)]
pub enum RuntimeInventory {
    /// It listed everything.
    Listed {
        /// Sandboxes.
        sandboxes: Vec<Sandbox>,
        /// UIDs in the labels of containers.
        container_uids: BTreeSet<PodUid>,
    },
    /// It did not.
    Silent {
        /// Why.
        problem: String,
    },
}

impl Default for RuntimeInventory {
    fn default() -> Self {
        Self::Listed { sandboxes: Vec::new(), container_uids: BTreeSet::new() }
    }
}

/// A sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Sandbox.
    pub id: SandboxId,
    /// Pod, by its metadata.
    pub key: PodKey,
    /// Pod; empty where whoever made it gave none.
    pub uid: PodUid,
}

/// A certificate file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What for, in words.
    pub purpose: String,
    /// Where it is.
    pub path: String,
    /// Who renews it.
    pub renewal: CertificateRenewal,
    /// Begin and end of its life, or why they cannot be read.
    pub life: Result<(WallTime, WallTime), String>,
}

/// What a state file should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFileKind {
    /// Resources of pods.
    Checkpoint,
    /// An image that is being pulled.
    PullIntent,
    /// Who may use an image.
    PullRecord,
    /// Events.
    Journal,
    /// What the API server told, for a start without it.
    Sealed,
    /// It could not be used and was set aside.
    SetAside,
}

/// A state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// Where it is.
    pub path: String,
    /// What it should hold.
    pub kind: StateFileKind,
    /// What it holds; empty for one that was set aside.
    pub content: Vec<u8>,
}

/// A place that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindSpot {
    /// Which.
    pub place: String,
    /// Why.
    pub problem: String,
}

/// Whether every source of pods was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// All pods that are wanted are known.
    Heard,
    /// Others may be wanted too.
    Awaited,
}

/// What the agent says.
#[derive(Clone, Debug)]
pub enum AgentReport {
    /// It answers.
    Answers {
        /// UIDs of all pods that it knows, ending ones too.
        pods: BTreeSet<PodUid>,
        /// Whether these are all.
        sources: Sources,
        /// What keeps the runtime from running pods; empty when nothing does.
        runtime_problem: String,
        /// Origin and problem of manifests and sources that cannot be used.
        source_problems: Vec<(String, String)>,
    },
    /// It does not.
    Silent {
        /// Why.
        problem: String,
    },
}
