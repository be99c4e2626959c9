//! What an owner is told of an object: Kubernetes Events before they become API objects (CONTRACT 4.10).

use std::collections::BTreeMap;
use std::fmt;

use crate::{PodKey, PodUid, WallTime};

/// `Event.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something needs attention.
    Warning,
}

impl EventType {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Kinds of objects that the agent tells something of. All are of API version `v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum ObjectKind {
    /// A pod.
    Pod,
    /// The node.
    Node,
    /// A claim of a volume.
    PersistentVolumeClaim,
    /// A volume.
    PersistentVolume,
}

impl ObjectKind {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::PersistentVolume => "PersistentVolume",
        }
    }
}

/// `Event.involvedObject`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace; empty for what has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID. Upstream gives a node its name here while its real UID is not known.
    pub uid: String,
    /// `spec.containers{name}` when it is about one container of a pod, otherwise empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl ObjectRef {
    /// A pod.
    pub fn pod(key: &PodKey, uid: &PodUid) -> Self {
        Self {
            kind: ObjectKind::Pod,
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: uid.to_string(),
            field_path: String::new(),
        }
    }

    /// The node, under its name.
    pub fn node(name: &str) -> Self {
        Self {
            kind: ObjectKind::Node,
            namespace: String::new(),
            name: name.to_owned(),
            uid: name.to_owned(),
            field_path: String::new(),
        }
    }

    /// The container that the field path names; empty for the object as a whole.
    pub fn container(&self) -> &str {
        let name = self.field_path.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}'));
        name.unwrap_or_default()
    }
}

/// `pod/shop/web` or `node/n1`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind.as_str().to_lowercase())?;
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// One Event: something that was seen of an object once or often. Equal sightings are counted, not repeated.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// `metadata.name`: the object's name and a number, unique on this node. The Event's namespace is the object's, or
    /// `default`.
    pub name: String,
    /// What it is about.
    pub object: ObjectRef,
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
    /// `metadata.annotations`: figures for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
