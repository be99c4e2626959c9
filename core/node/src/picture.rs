//! What was seen of the node at one moment, and what is told about it.

use core_types::EventType;
use core_types::pressure::Pressures;
use core_types::runtime::{Image, RuntimeHandler, RuntimeVersion};

use crate::addresses::NetworkFacts;
use crate::readiness::Readiness;

/// What the runtime says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeFacts {
    /// Name and version, once it has answered.
    pub version: Option<RuntimeVersion>,
    /// Handlers.
    pub handlers: Vec<RuntimeHandler>,
    /// Whether `supplementalGroupsPolicy` is honoured; `None` until it has said so.
    pub supplemental_groups_policy: Option<bool>,
}

/// What was seen of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// The runtime.
    pub runtime: RuntimeFacts,
    /// Images in the runtime's store; `None` while the runtime has not listed them, which leaves the list as it is.
    pub images: Option<Vec<Image>>,
    /// The host's network.
    pub network: NetworkFacts,
    /// Scarce resources.
    pub pressures: Pressures,
    /// Why the node is not ready.
    pub readiness: Readiness,
}

/// Something that happened to the node, for an Event of the Node object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Normal or Warning.
    pub event_type: EventType,
    /// CamelCase reason.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

impl NodeEvent {
    /// The event of a change of the node's status.
    pub(crate) fn status(node: &str, reason: &'static str) -> Self {
        let message = format!("Node {node} status is now: {reason}");
        Self { event_type: EventType::Normal, reason, message }
    }
}
