//! What the HTTP servers ask of the agent beyond its published snapshots. Implemented by `agent`, used by `server`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_types::pressure::EvictionOutlook;
use core_types::runtime::{ExecOutput, StreamRequest};
use core_types::view::NodeView;
use core_types::{ContainerId, EventRecord, PodKey, PodUid, SandboxId};

use crate::runtime::RuntimeResult;

/// Why the agent did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request cannot be right.
    #[error("{0}")]
    Invalid(String),
    /// What it names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It collides with what there is.
    #[error("{0}")]
    Conflict(String),
    /// Something outside failed.
    #[error("{0}")]
    Failed(String),
}

/// A pod as `podwright run` made it known.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedPod {
    /// Namespace and name.
    pub key: PodKey,
    /// UID.
    pub uid: PodUid,
    /// What happened: `created`, `changed` (made anew), `resized` (in place) or `unchanged`.
    pub outcome: String,
    /// `metadata.generation` of the pod: how often its spec was changed in place, from 1.
    #[serde(default)]
    pub generation: i64,
}

/// Events that changed, and up to where.
#[derive(Clone, Debug, Default)]
pub struct EventNews {
    /// The events, least recent first.
    pub events: Vec<Arc<EventRecord>>,
    /// What to ask with next time.
    pub revision: u64,
}

/// Requests to the agent.
#[async_trait]
pub trait Control: Send + Sync {
    /// The latest snapshot.
    fn view(&self) -> Arc<NodeView>;
    /// Waits until the snapshot changes after this call; returns at once when the agent stops.
    async fn changed(&self);
    /// Events that changed after a revision: of pods, also of those that are gone, and of the node. All for 0. Answers once what
    /// earlier lives of the agent told is known.
    async fn events_since(&self, revision: u64) -> EventNews;
    /// Waits until there are events after a revision; returns at once when the agent stops.
    async fn events_after(&self, revision: u64);
    /// Takes the manifests of a local file (YAML or JSON, several documents) and keeps them.
    async fn apply(&self, manifests: bytes::Bytes) -> Result<Vec<AppliedPod>, ControlError>;
    /// Takes manifests as [`Control::apply`] does, but only if they change nothing but sizes of pods that are there.
    async fn resize(&self, manifests: bytes::Bytes) -> Result<Vec<AppliedPod>, ControlError>;
    /// Removes a pod that was applied locally.
    async fn remove(&self, key: &PodKey) -> Result<PodUid, ControlError>;
    /// What eviction sees and would do now; nothing is done.
    async fn eviction_outlook(&self) -> EvictionOutlook;
    /// URL of an exec stream.
    async fn exec_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String>;
    /// URL of an attach stream.
    async fn attach_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String>;
    /// URL of a port-forward stream.
    async fn port_forward_url(&self, id: &SandboxId, ports: &[i32]) -> RuntimeResult<String>;
    /// Runs a command in a container to its end, however long it takes.
    async fn exec(&self, id: &ContainerId, command: &[String]) -> RuntimeResult<ExecOutput>;
    /// Writes the state of a container into the file `location`; zero for the usual time limit.
    async fn checkpoint(&self, id: &ContainerId, location: &str, timeout: Duration) -> RuntimeResult<()>;
}
