//! What all listeners share.

use std::sync::Arc;
use std::time::Duration;

use core_metrics::Registry;
use core_types::local::NodePlaces;
use ports::{Clock, ContainerLogs, Control, OwnProcess};

use crate::usage::UsagePages;

/// Whether a client may ask for one stream of a container's log (`PodLogsQuerySplitStreams`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitLogStreams {
    /// It may.
    Allowed,
    /// It gets both or nothing.
    Refused,
}

/// Facts of the node that do not change while the agent runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Name of the node.
    pub node_name: String,
    /// Kubernetes version served, e.g. `v1.37.2`.
    pub version: String,
    /// `syncFrequency`; the sync loop counts as stuck after twice this, but not before 5 minutes (CONTRACT 1.10).
    pub sync_frequency: Duration,
    /// `streamingConnectionIdleTimeout`: a stream without a byte for so long ends; zero for no limit.
    pub stream_idle_limit: Duration,
    /// What may be asked of logs.
    pub split_log_streams: SplitLogStreams,
    /// Answer to `/spec/`: the machine's facts.
    pub machine_info: serde_json::Value,
    /// Where the agent keeps things.
    pub places: NodePlaces,
    /// Answer to `/configz`, inside `kubeletconfig`.
    pub configuration: serde_json::Value,
}

/// What all listeners share.
#[derive(Clone)]
pub struct ServerContext {
    /// The agent.
    pub control: Arc<dyn Control>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Log files.
    pub logs: Arc<dyn ContainerLogs>,
    /// The agent's own use of resources.
    pub process: Arc<dyn OwnProcess>,
    /// Metrics.
    pub registry: Registry,
    /// Results of health checks.
    pub health_registry: Registry,
    /// Metrics of probes.
    pub probe_registry: Registry,
    /// What the node uses.
    pub usage: UsagePages,
    /// Facts.
    pub facts: Arc<NodeFacts>,
}
