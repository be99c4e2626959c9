//! What the local socket carries between the agent and `podwright`, as JSON in camelCase.
//!
//! `E` is the explanation of a pod's state (`core_status::Explanation`, which lies above this crate).
//! It is an interface of this product: fields are added, never changed or removed, within one version of the path (`/v1`).

use std::sync::Arc;

use crate::api::Pod;
use crate::view::{Activity, Lifecycle, PodSource, Problem, SourceProblem};
use crate::{EventRecord, PodUid, WallTime};

/// Where the agent listens for `podwright` unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/podwright/agent.sock";

/// One pod as the agent sees it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport<E> {
    /// The pod, with its current status.
    pub pod: Pod,
    /// Life of this incarnation.
    pub lifecycle: Lifecycle,
    /// Where it came from; absent for a pod that only the runtime knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<PodSource>,
    /// What the agent does for it right now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub activity: Option<Activity>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// When the agent tries again by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_retry: Option<WallTime>,
    /// Latest events, oldest first.
    #[serde(default)]
    pub events: Vec<Arc<EventRecord>>,
    /// Its state explained.
    pub explanation: E,
}

/// Answer to `GET /v1/pods`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReports<E> {
    /// All pods, by namespace and name.
    pub pods: Vec<PodReport<E>>,
}

/// One line of `GET /v1/watch`. The first holds every pod.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchLine<E> {
    /// Pods that are new or changed.
    pub pods: Vec<PodReport<E>>,
    /// UIDs of pods that are gone.
    pub removed: Vec<PodUid>,
}

/// One line of `GET /v1/events`. The first holds every event that was asked for; others follow while the caller wants them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventsLine {
    /// Events that are new or were seen again, least recent first.
    pub events: Vec<Arc<EventRecord>>,
    /// The agent's time, for ages.
    pub now: WallTime,
}

/// Answer to `GET /v1/node`.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReport {
    /// Name of the node.
    pub node_name: String,
    /// Version of the agent, e.g. `v1.37.2`.
    pub version: String,
    /// The container runtime.
    pub runtime: RuntimeReport,
    /// Manifests and sources that cannot be used.
    pub source_problems: Vec<SourceProblem>,
    /// Every source of pods was heard: no other pods are wanted than those that are shown.
    pub sources_heard: bool,
    /// Where the agent keeps things.
    pub places: NodePlaces,
}

/// Below the root directory: what upstream's kubelet knows nothing of.
pub const OWN_DIR: &str = "podwright";

/// In [`OWN_DIR`]: the [`NodePlaces`] of the agent that ran last, for a look at a node whose agent is away.
pub const PLACES_FILE: &str = "places.json";

/// In [`OWN_DIR`]: what the API server told, sealed, for a start without it.
pub const OFFLINE_FILE: &str = "offline.sealed";

/// What a sealed file begins with: the version of its form.
pub const SEALED_BEGIN: &[u8] = b"podwright-sealed-1\n";

/// Where the agent keeps things on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePlaces {
    /// `--root-dir`, absolute.
    pub root_dir: String,
    /// `podLogsDir`.
    pub pod_logs_dir: String,
    /// Directory of the legacy links to logs.
    pub container_log_links_dir: String,
    /// `cgroupRoot`.
    pub cgroup_root: String,
    /// `containerRuntimeEndpoint`.
    pub runtime_endpoint: String,
    /// Certificates of the node.
    pub certificates: Vec<CertificatePlace>,
}

/// Where a certificate of the node is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatePlace {
    /// What for, in words.
    pub purpose: String,
    /// File.
    pub path: String,
    /// Who brings a new one.
    pub renewal: CertificateRenewal,
}

/// Who brings a new certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateRenewal {
    /// The agent, from the API server, while it runs.
    Signed,
    /// The agent makes it, when it starts.
    AtStart,
    /// A person or another program.
    ByHand,
}

/// The container runtime as the agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeReport {
    /// Name, e.g. `containerd`; empty before it has answered.
    pub name: String,
    /// Version.
    pub version: String,
    /// True when pods can be run.
    pub ready: bool,
    /// True when pods get a network.
    pub network_ready: bool,
    /// Why one of the two is not so.
    pub message: String,
}

/// Answer that goes with every status of 400 and above.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorReport {
    /// What failed, on what, why.
    pub message: String,
}
