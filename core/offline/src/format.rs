//! The text that is sealed in the file: one JSON document with the version of its form and whose it is.
//!
//! Guarantees: [`decode`] gives what [`encode`] was given, or says why it cannot be used; a text of another version, another
//! node, another machine or another API server is never used. The text is bounded: pods that do not fit are left out as a whole,
//! the last admitted first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core_references::trust::TrustBook;
use core_references::{IssuedToken, TokenAsk, references};
use core_runtime::runtime_class::RuntimeClassBook;
use core_runtime::service_links::ServiceBook;
use core_types::api::Pod;
use core_types::{KeyedKind, KeyedObject, KeyedRef, Mutability, PodExt, PodKey, PodUid, Secret, WallTime};
use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::memory::{Memory, may_start};

/// Version of the form.
const VERSION: u32 = 1;

/// Bound of pods with what they refer to, in bytes: a full node of pods with 200 KiB each, its Secrets counted.
pub const MAX_POD_BYTES: usize = 32 << 20;

/// Whose memory it is. Nothing of it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Name of the node.
    pub node_name: String,
    /// The machine's own ID, so that a copied disk starts nothing.
    pub machine: String,
    /// The API server that told it.
    pub server: String,
}

/// A memory as it was kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The memory.
    pub memory: Memory,
    /// When it was written.
    pub saved_at: WallTime,
}

/// A memory as text.
#[derive(Debug)]
pub struct Encoded {
    /// The text; it holds secrets in the clear.
    pub text: Secret<Vec<u8>>,
    /// Pods that did not fit.
    pub left_out: Vec<PodKey>,
}

/// Why a memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not what this agent writes.
    #[error("it is no memory of a kubelet: {0}")]
    Unreadable(String),
    /// Another version of the agent wrote it.
    #[error("it has form {found}, and this agent reads form {VERSION}")]
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// It is somebody else's.
    #[error("it is of {what} {found:?}, and this is {own:?}")]
    OtherOwner {
        /// What differs.
        what: &'static str,
        /// In the text.
        found: String,
        /// Here.
        own: String,
    },
}

#[derive(Deserialize)]
struct Head {
    version: u32,
    identity: Identity,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<P> {
    version: u32,
    identity: Identity,
    saved_at: WallTime,
    node: Option<Arc<Node>>,
    pods: Vec<P>,
    objects: Vec<Object>,
    tokens: Vec<Token>,
    services: Option<ServiceBook>,
    runtime_classes: Option<RuntimeClassBook>,
    trust: Option<TrustBook>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    is_secret: bool,
    namespace: String,
    name: String,
    content: Option<Content>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    uid: String,
    data: BTreeMap<String, String>,
    binary_data: BTreeMap<String, String>,
    #[serde(rename = "type")]
    type_: String,
    is_immutable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    pod: PodKey,
    pod_uid: PodUid,
    service_account: String,
    audiences: Vec<String>,
    expiration_secs: i64,
    token: String,
    expires_at: WallTime,
    lifetime_secs: u64,
}

/// The text of a memory.
///
/// # Errors
/// It has no JSON form, which would be an error of this agent.
pub fn encode(
    memory: &Memory,
    identity: &Identity,
    saved_at: WallTime,
) -> Result<Encoded, serde_json::Error> {
    let Fitting { pods, texts, left_out } = fitting(memory)?;
    let mut kept = Memory { pods, ..memory.clone() };
    kept.prune();
    let document = Document {
        version: VERSION,
        identity: identity.clone(),
        saved_at,
        node: kept.node,
        pods: texts,
        objects: kept
            .objects
            .iter()
            .map(|(object, content)| Object::of(object, content.as_deref()))
            .collect(),
        tokens: kept.tokens.iter().map(|(ask, token)| Token::of(ask, token)).collect(),
        services: kept.services,
        runtime_classes: kept.runtime_classes,
        trust: kept.trust,
    };
    Ok(Encoded { text: Secret::new(serde_json::to_vec(&document)?), left_out })
}

/// The memory in a text.
///
/// # Errors
/// The text is not this agent's, or not of this node.
pub fn decode(text: &[u8], own: &Identity) -> Result<Kept, FormatError> {
    // Its words may hold a part of the text, which must not be shown.
    let unreadable = |error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        FormatError::Unreadable(format!("{:?} error at {place}", error.classify()))
    };
    let Head { version, identity } = serde_json::from_slice(text).map_err(unreadable)?;
    if version != VERSION {
        return Err(FormatError::OtherVersion { found: version });
    }
    let pairs = [
        ("node", identity.node_name, &own.node_name),
        ("machine", identity.machine, &own.machine),
        ("API server", identity.server, &own.server),
    ];
    for (what, found, own) in pairs {
        if found != *own {
            return Err(FormatError::OtherOwner { what, found, own: own.clone() });
        }
    }
    let document: Document<Arc<Pod>> = serde_json::from_slice(text).map_err(unreadable)?;
    let objects = document.objects.into_iter().map(Object::into_entry).collect::<Result<_, _>>()?;
    let memory = Memory {
        node: document.node,
        pods: document.pods,
        objects,
        tokens: document.tokens.into_iter().map(Token::into_entry).collect(),
        services: document.services,
        runtime_classes: document.runtime_classes,
        trust: document.trust,
    };
    Ok(Kept { memory, saved_at: document.saved_at })
}

struct Fitting {
    pods: Vec<Arc<Pod>>,
    texts: Vec<Box<RawValue>>,
    left_out: Vec<PodKey>,
}

/// The pods that fit with what they refer to.
fn fitting(memory: &Memory) -> Result<Fitting, serde_json::Error> {
    let mut fitting = Fitting { pods: Vec::new(), texts: Vec::new(), left_out: Vec::new() };
    let (mut used, mut counted) = (0, std::collections::BTreeSet::new());
    for pod in &memory.pods {
        let text = serde_json::value::to_raw_value(pod)?;
        let needed: Vec<KeyedRef> = match may_start(pod) {
            true => references(pod).into_keys().filter(|object| !counted.contains(object)).collect(),
            false => Vec::new(),
        };
        let objects = needed.iter().filter_map(|object| memory.objects.get(object)?.as_deref());
        let bytes = text.get().len() + objects.map(size).sum::<usize>();
        if used + bytes > MAX_POD_BYTES {
            fitting.left_out.push(pod.key());
            continue;
        }
        used += bytes;
        counted.extend(needed);
        fitting.pods.push(Arc::clone(pod));
        fitting.texts.push(text);
    }
    Ok(fitting)
}

/// Bytes of an object in the text, roughly.
fn size(object: &KeyedObject) -> usize {
    let entries = object.data.iter().chain(&object.binary_data);
    entries.map(|(key, value)| key.len() + value.expose().len() / 3 * 4 + 16).sum()
}

impl Object {
    fn of(object: &KeyedRef, content: Option<&KeyedObject>) -> Self {
        let KeyedRef { kind, namespace, name } = object.clone();
        let content = content.map(|content| Content {
            uid: content.uid.clone(),
            data: texts(&content.data),
            binary_data: texts(&content.binary_data),
            type_: content.type_.clone(),
            is_immutable: content.mutability == Mutability::Immutable,
        });
        Self { is_secret: kind == KeyedKind::Secret, namespace, name, content }
    }

    fn into_entry(self) -> Result<(KeyedRef, Option<Arc<KeyedObject>>), FormatError> {
        let kind = if self.is_secret { KeyedKind::Secret } else { KeyedKind::ConfigMap };
        let object = KeyedRef { kind, namespace: self.namespace, name: self.name };
        let content = match self.content {
            Some(content) => Some(Arc::new(KeyedObject {
                uid: content.uid,
                data: bytes(content.data)?,
                binary_data: bytes(content.binary_data)?,
                type_: content.type_,
                mutability: match content.is_immutable {
                    true => Mutability::Immutable,
                    false => Mutability::Mutable,
                },
            })),
            None => None,
        };
        Ok((object, content))
    }
}

impl Token {
    fn of(ask: &TokenAsk, issued: &IssuedToken) -> Self {
        let TokenAsk { pod, pod_uid, service_account, audiences, expiration_secs } = ask.clone();
        Self {
            pod,
            pod_uid,
            service_account,
            audiences,
            expiration_secs,
            token: issued.token.expose().clone(),
            expires_at: issued.expires_at,
            lifetime_secs: issued.lifetime.as_secs(),
        }
    }

    fn into_entry(self) -> (TokenAsk, IssuedToken) {
        let issued = IssuedToken {
            token: Secret::new(self.token),
            expires_at: self.expires_at,
            lifetime: Duration::from_secs(self.lifetime_secs),
        };
        let Self { pod, pod_uid, service_account, audiences, expiration_secs, .. } = self;
        (TokenAsk { pod, pod_uid, service_account, audiences, expiration_secs }, issued)
    }
}

fn texts(data: &BTreeMap<String, Secret<Vec<u8>>>) -> BTreeMap<String, String> {
    data.iter().map(|(key, value)| (key.clone(), STANDARD.encode(value.expose()))).collect()
}

fn bytes(data: BTreeMap<String, String>) -> Result<BTreeMap<String, Secret<Vec<u8>>>, FormatError> {
    let entry = |(key, text): (String, String)| match STANDARD.decode(text) {
        Ok(value) => Ok((key, Secret::new(value))),
        Err(_) => Err(FormatError::Unreadable(format!("the value of key {key:?} is not base64"))),
    };
    data.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
