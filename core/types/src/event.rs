//! What a pod's owner is told while the pod lives: the Kubernetes Events of a pod, before they become API objects.

use crate::{PodUid, WallTime};

/// `Event.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something needs attention.
    Warning,
}

/// One event of a pod (CONTRACT 4.10 lists the reasons). Equal events in a row are counted, not repeated.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodEvent {
    /// The pod it is about.
    pub pod_uid: PodUid,
    /// `spec.containers{name}` when it is about one container, otherwise empty (CONTRACT 0.2).
    pub field_path: String,
    /// Normal or Warning.
    pub event_type: EventType,
    /// CamelCase reason, e.g. `Pulled`.
    pub reason: String,
    /// Sentence for people.
    pub message: String,
    /// When it was first seen.
    pub first_seen: WallTime,
    /// When it was last seen.
    pub last_seen: WallTime,
    /// How often it was seen.
    pub count: u32,
}
