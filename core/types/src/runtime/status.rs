//! Answers: what the runtime shows of sandboxes and containers, and the events it sends.

use std::collections::BTreeMap;

use super::config::{LinuxResources, Mount};
use super::stats::{ContainerStats, SandboxStats};
use crate::{ContainerId, PodUid, SandboxId, WallTime};

/// Whether a sandbox's namespaces exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SandboxState {
    /// Namespaces and network are there.
    Ready,
    /// Stopped or lost.
    NotReady,
}

/// State of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Created, not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// One row of a sandbox list.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSummary {
    /// Sandbox.
    pub id: SandboxId,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Pod UID.
    pub uid: PodUid,
    /// Attempt.
    pub attempt: u32,
    /// State.
    pub state: SandboxState,
    /// Creation time.
    pub created_at: WallTime,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// RuntimeClass handler it runs with.
    pub runtime_handler: String,
}

/// A sandbox in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxStatus {
    /// What a list shows.
    pub summary: SandboxSummary,
    /// Pod IPs, primary first; empty for the host network.
    pub ips: Vec<String>,
    /// Shares the host's network namespace.
    pub host_network: bool,
}

/// One row of a container list.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSummary {
    /// Container.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox_id: SandboxId,
    /// Name in the pod.
    pub name: String,
    /// Attempt.
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// Image as requested.
    pub image: String,
    /// Image as resolved.
    pub image_ref: String,
    /// Creation time.
    pub created_at: WallTime,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A container in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStatus {
    /// Container.
    pub id: ContainerId,
    /// Name in the pod.
    pub name: String,
    /// Attempt.
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// Creation time.
    pub created_at: WallTime,
    /// Start time; unset before the start.
    pub started_at: WallTime,
    /// End time; unset before the end.
    pub finished_at: WallTime,
    /// Exit code of an ended container.
    pub exit_code: i32,
    /// Image name to show (what the author wrote, where the runtime keeps it).
    pub image: String,
    /// Resolved image (digest reference).
    pub image_ref: String,
    /// Image ID.
    pub image_id: String,
    /// CamelCase reason, e.g. `OOMKilled`.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Absolute path of the log file.
    pub log_path: String,
    /// Resources in force, where the runtime reports them.
    pub resources: Option<LinuxResources>,
    /// What its first process is.
    pub process: ProcessFacts,
}

/// What the runtime tells of the first process of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Numeric user the first process runs as: uid, gid, supplemental groups.
    pub user: Option<(i64, i64, Vec<i64>)>,
    /// The signal that stops it, as Kubernetes names it; empty where the runtime does not tell.
    pub stop_signal: String,
}

/// What happened to a container or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeEventKind {
    /// Created.
    Created,
    /// Started.
    Started,
    /// Stopped.
    Stopped,
    /// Removed.
    Deleted,
}

/// One entry of the runtime's event stream. It is a hint to look: the agent never takes state from it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeEvent {
    /// What happened.
    pub kind: RuntimeEventKind,
    /// Container or sandbox.
    pub container_id: ContainerId,
    /// Pod it belongs to, when the runtime says so.
    pub pod_uid: Option<PodUid>,
}

/// Result of a command run to its end in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub exit_code: i32,
}

/// Which streams an exec or attach wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// Command; empty for attach.
    pub command: Vec<String>,
    /// Send standard input.
    pub stdin: bool,
    /// Get standard output.
    pub stdout: bool,
    /// Get standard error.
    pub stderr: bool,
    /// Use a terminal.
    pub tty: bool,
}

impl SandboxStats {
    /// Statistics of one container of the sandbox.
    pub fn container(&self, id: &ContainerId) -> Option<&ContainerStats> {
        self.containers.iter().find(|stats| stats.id == *id)
    }
}
