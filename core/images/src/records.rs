//! What is kept on disk of pulls, in upstream's form (CONTRACT 3.16, 7.4): an intent before a pull begins, a record after it
//! has ended well. Either kubelet reads what the other wrote.
//!
//! Files are named `sha256-<hash>` after the image as the pod writes it (intents) or as the runtime calls it (records).
//! What is written has the version v1beta1; v1alpha1, which older kubelets wrote, is read too.

use std::collections::BTreeMap;

use core_types::WallTime;
use core_types::api::Time;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::credential::{Credential, CredentialSource, ObjectName, hex};

/// Beginning of the names of both kinds of files.
pub const FILE_PREFIX: &str = "sha256-";
/// Largest record that is read, in bytes. It holds at most some hundred names of secrets.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

const GROUP: &str = "kubelet.config.k8s.io";
const VERSION: &str = "v1beta1";
const OLD_VERSION: &str = "v1alpha1";
const INTENT: &str = "ImagePullIntent";
const RECORD: &str = "ImagePulledRecord";

/// The name of the file for an image.
pub fn file_name(image: &str) -> String {
    format!("{FILE_PREFIX}{}", hex(&Sha256::digest(image)))
}

/// A secret that opened the registry for an image, and the hash of the credential in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretProof {
    /// The secret.
    pub name: ObjectName,
    /// Hash of the credential; empty when it is not known.
    pub credential_hash: String,
}

/// Who may use an image under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every pod of the node.
    Node,
    /// Pods that show one of these.
    Shown {
        /// Secrets, by namespace, name and UID.
        secrets: Vec<SecretProof>,
        /// Service accounts, by namespace, name and UID.
        accounts: Vec<ObjectName>,
    },
}

impl Access {
    /// Who may use what this credential pulled.
    pub fn by_credential(credential: &Credential) -> Self {
        match &credential.source {
            CredentialSource::Node => Self::Node,
            CredentialSource::Secret(name) => {
                let credential_hash = credential.hash.clone();
                let secret = SecretProof { name: name.clone(), credential_hash };
                Self::Shown { secrets: vec![secret], accounts: Vec::new() }
            }
            CredentialSource::ServiceAccount(name) => {
                Self::Shown { secrets: Vec::new(), accounts: vec![name.clone()] }
            }
        }
    }
}

/// An image that a kubelet has pulled, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledRecord {
    /// When something of it changed last.
    pub updated_at: WallTime,
    /// What the runtime calls the image.
    pub image_ref: String,
    /// Who may use it, by its name without tag and digest as pods write it.
    pub access: BTreeMap<String, Access>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON that it should be, or with fields that nobody knows.
    #[error("not a record of this kind: {0}")]
    Json(#[source] serde_json::Error),
    /// Of another kind or version.
    #[error("{found} is not {GROUP}/{VERSION} or {GROUP}/{OLD_VERSION} {wanted}")]
    Kind {
        /// What the file says.
        found: String,
        /// The kind.
        wanted: &'static str,
    },
}

/// What was read, and whether it is in the version that is written today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<T> {
    /// Content.
    pub content: T,
    /// Version of the file.
    pub form: Form,
}

/// Version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The one that is written.
    Current,
    /// An older one: write it again.
    Old,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntentFile {
    kind: String,
    api_version: String,
    image: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordFile {
    kind: String,
    api_version: String,
    last_updated_time: Option<Time>,
    image_ref: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    credential_mapping: BTreeMap<String, AccessFile>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AccessFile {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kubernetes_secrets: Vec<SecretFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kubernetes_service_accounts: Vec<AccountFile>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    node_pods_accessible: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecretFile {
    uid: String,
    namespace: String,
    name: String,
    credential_hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    uid: String,
    namespace: String,
    name: String,
}

/// The content of an intent's file.
pub fn encode_intent(image: &str) -> Vec<u8> {
    line(&IntentFile { kind: INTENT.to_owned(), api_version: api_version(), image: image.to_owned() })
}

/// The image of an intent's file.
pub fn decode_intent(content: &[u8]) -> Result<Decoded<String>, RecordError> {
    let file: IntentFile = serde_json::from_slice(content).map_err(RecordError::Json)?;
    let form = form(&file.kind, &file.api_version, INTENT)?;
    Ok(Decoded { content: file.image, form })
}

/// The content of a record's file.
pub fn encode_record(record: &PulledRecord) -> Vec<u8> {
    line(&RecordFile {
        kind: RECORD.to_owned(),
        api_version: api_version(),
        last_updated_time: Some(record.updated_at.to_api_secs()),
        image_ref: record.image_ref.clone(),
        credential_mapping: record
            .access
            .iter()
            .map(|(image, access)| (image.clone(), AccessFile::from(access)))
            .collect(),
    })
}

/// The record of a file.
pub fn decode_record(content: &[u8]) -> Result<Decoded<PulledRecord>, RecordError> {
    let file: RecordFile = serde_json::from_slice(content).map_err(RecordError::Json)?;
    let form = form(&file.kind, &file.api_version, RECORD)?;
    let content = PulledRecord {
        updated_at: file.last_updated_time.as_ref().map_or(WallTime::default(), WallTime::from_api),
        image_ref: file.image_ref,
        access: file.credential_mapping.into_iter().map(|(image, file)| (image, file.into())).collect(),
    };
    Ok(Decoded { content, form })
}

fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

fn form(kind: &str, api_version: &str, wanted: &'static str) -> Result<Form, RecordError> {
    match api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/')) {
        Some(VERSION) if kind == wanted => Ok(Form::Current),
        Some(OLD_VERSION) if kind == wanted => Ok(Form::Old),
        _ => Err(RecordError::Kind { found: format!("{api_version} {kind}"), wanted }),
    }
}

fn line(file: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and maps with string keys: nothing that JSON cannot say.
    let mut content = serde_json::to_vec(file).unwrap_or_default();
    content.push(b'\n');
    content
}

impl From<&Access> for AccessFile {
    fn from(access: &Access) -> Self {
        match access {
            Access::Node => Self { node_pods_accessible: true, ..Self::default() },
            Access::Shown { secrets, accounts } => Self {
                kubernetes_secrets: secrets.iter().map(SecretFile::from).collect(),
                kubernetes_service_accounts: accounts.iter().map(AccountFile::from).collect(),
                node_pods_accessible: false,
            },
        }
    }
}

impl From<AccessFile> for Access {
    fn from(file: AccessFile) -> Self {
        if file.node_pods_accessible {
            return Self::Node;
        }
        let name = |uid, namespace, name| ObjectName { namespace, name, uid };
        Self::Shown {
            secrets: file
                .kubernetes_secrets
                .into_iter()
                .map(|secret| SecretProof {
                    name: name(secret.uid, secret.namespace, secret.name),
                    credential_hash: secret.credential_hash,
                })
                .collect(),
            accounts: file
                .kubernetes_service_accounts
                .into_iter()
                .map(|account| name(account.uid, account.namespace, account.name))
                .collect(),
        }
    }
}

impl From<&SecretProof> for SecretFile {
    fn from(proof: &SecretProof) -> Self {
        let ObjectName { namespace, name, uid } = proof.name.clone();
        Self { uid, namespace, name, credential_hash: proof.credential_hash.clone() }
    }
}

impl From<&ObjectName> for AccountFile {
    fn from(account: &ObjectName) -> Self {
        let ObjectName { namespace, name, uid } = account.clone();
        Self { uid, namespace, name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as upstream's kubelet writes them.
    const UPSTREAM_INTENT: &str = "{\"kind\":\"ImagePullIntent\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"image\":\"docker.io/testing/test:latest\"}\n";
    const UPSTREAM_RECORD: &str = "{\"kind\":\"ImagePulledRecord\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"lastUpdatedTime\":\"2024-10-21T12:26:40Z\",\"imageRef\":\"testimage-anonpull\",\"credentialMapping\":{\"docker.io/testing/test\":{\"nodePodsAccessible\":true},\"r.io/b\":{\"kubernetesSecrets\":[{\"uid\":\"u\",\"namespace\":\"ns\",\"name\":\"s\",\"credentialHash\":\"h\"}],\"kubernetesServiceAccounts\":[{\"uid\":\"v\",\"namespace\":\"ns\",\"name\":\"sa\"}]}}}\n";

    #[test]
    fn files_are_upstreams_byte_for_byte() {
        let intent = decode_intent(UPSTREAM_INTENT.as_bytes()).unwrap();
        assert_eq!((intent.content.as_str(), intent.form), ("docker.io/testing/test:latest", Form::Current));
        assert_eq!(encode_intent(&intent.content), UPSTREAM_INTENT.as_bytes());
        let record = decode_record(UPSTREAM_RECORD.as_bytes()).unwrap();
        assert_eq!(record.form, Form::Current);
        assert_eq!(record.content.access["docker.io/testing/test"], Access::Node);
        assert_eq!(String::from_utf8(encode_record(&record.content)).unwrap(), UPSTREAM_RECORD, "{record:?}");
        // `printf docker.io/testing/test:latest | sha256sum`
        assert!(file_name("docker.io/testing/test:latest").starts_with("sha256-"));
        assert_eq!(file_name("").len(), "sha256-".len() + 64);
        assert_eq!(file_name(""), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn old_versions_are_read_and_what_is_strange_is_refused() {
        let old = UPSTREAM_INTENT.replace("v1beta1", "v1alpha1");
        assert_eq!(decode_intent(old.as_bytes()).unwrap().form, Form::Old);
        for broken in [
            "",
            "{}",
            "[]",
            &UPSTREAM_INTENT.replace("v1beta1", "v2"),
            &UPSTREAM_INTENT.replace("ImagePullIntent", "ImagePulledRecord"),
            &UPSTREAM_INTENT.replace("\"image\"", "\"picture\""),
        ] {
            assert!(decode_intent(broken.as_bytes()).is_err(), "{broken}");
            assert!(decode_record(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
