//! Secrets and ConfigMaps as pods use them: maps from keys to values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Secret;

/// What a pod may refer to by name in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyedKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl fmt::Display for KeyedKind {
    /// As upstream's messages name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
        })
    }
}

/// The name of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedRef {
    /// Which of the two.
    pub kind: KeyedKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl KeyedRef {
    /// A Secret.
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: KeyedKind::Secret, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// A ConfigMap.
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self { kind: KeyedKind::ConfigMap, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Whether an object may still change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutability {
    /// It may.
    #[default]
    Mutable,
    /// It may not: `immutable: true`.
    Immutable,
}

/// The content of a Secret or ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyedObject {
    /// `metadata.uid`.
    pub uid: String,
    /// `data`.
    pub data: BTreeMap<String, Secret<Vec<u8>>>,
    /// `binaryData` of a ConfigMap: for volumes, not for the environment.
    pub binary_data: BTreeMap<String, Secret<Vec<u8>>>,
    /// `type` of a Secret.
    pub type_: String,
    /// `immutable`.
    pub mutability: Mutability,
}

/// Why an object cannot be had. The texts are upstream's, for people see them as messages of pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No pod of this node refers to it.
    #[error("object {namespace:?}/{name:?} not registered")]
    NotRegistered {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// It does not exist.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// Kind.
        kind: KeyedKind,
        /// Name.
        name: String,
    },
    /// The API server has not told yet.
    #[error("failed to sync {kind} cache: timed out waiting for the condition")]
    NotSynced {
        /// Kind.
        kind: KeyedKind,
    },
    /// The API server cannot be asked, or refuses.
    #[error("{0}")]
    Api(String),
}

/// What became of looking for an object.
pub type Lookup = Result<Arc<KeyedObject>, LookupError>;

/// The objects that a pod refers to, for planners.
#[derive(Clone, Copy, Debug)]
pub enum ApiObjects<'a> {
    /// There is no API server.
    Standalone,
    /// These were read.
    Read(&'a BTreeMap<KeyedRef, Lookup>),
}

impl<'a> ApiObjects<'a> {
    /// What was read of an object; `None` without an API server. One that nobody looked for counts as not registered.
    pub fn get(&self, object: &KeyedRef) -> Option<Result<&'a KeyedObject, LookupError>> {
        let Self::Read(objects) = self else { return None };
        Some(match objects.get(object) {
            Some(Ok(found)) => Ok(found.as_ref()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(LookupError::NotRegistered {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
            }),
        })
    }
}
