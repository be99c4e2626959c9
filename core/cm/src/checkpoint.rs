//! The files `allocated_pods_state` and `actuated_pods_state`, byte for byte as upstream's kubelet reads and writes them
//! (CONTRACT 7.4), so that a node can switch between the two.
//!
//! `{"data": "<JSON of the entries>", "checksum": <FNV-1a 32 of "(string)" and data>}`. Sizes of memory volumes, which
//! upstream keeps for a feature that is off, are not read and are written as null.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::PodUid;
use core_types::api::ResourceRequirements;
use serde::{Deserialize, Serialize};

use crate::pod_resources::PodResources;

/// Resources of all pods. Cheap to clone: it is handed over whole to whoever writes it.
pub type ResourceBook = BTreeMap<PodUid, Arc<PodResources>>;

/// What upstream's dump of a text begins with before it is hashed.
const DUMP_PREFIX: &str = "(string)";

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is not what upstream or this agent writes.
    #[error("it is not a checkpoint of pod resources")]
    Unreadable(#[source] serde_json::Error),
    /// Its content was changed or cut.
    #[error("checkpoint is corrupted: its checksum is {found}, that of its content {computed}")]
    Corrupted {
        /// In the file.
        found: u64,
        /// Of its content.
        computed: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct File {
    data: String,
    checksum: u64,
}

#[derive(Serialize, Deserialize)]
struct Data {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    entries: BTreeMap<PodUid, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "ContainerResources", default)]
    containers: Option<BTreeMap<String, ResourceRequirements>>,
    #[serde(rename = "PodLevelResources", default)]
    whole: Option<ResourceRequirements>,
    #[serde(rename = "EmptyDirVolumeLimits", default, skip_deserializing)]
    volumes: Option<()>,
}

/// The file of these resources.
pub fn encode(book: &ResourceBook) -> Vec<u8> {
    let entries = book.iter().map(|(uid, own)| {
        let entry =
            Entry { containers: Some(own.containers.clone()), whole: own.whole.clone(), volumes: None };
        (uid.clone(), entry)
    });
    // Maps with text keys and texts as values always have a JSON form.
    let data = serde_json::to_string(&Data { entries: entries.collect() }).unwrap_or_default();
    let checksum = checksum(&data);
    serde_json::to_vec(&File { data, checksum }).unwrap_or_default()
}

/// The resources in a file.
///
/// # Errors
/// The file is not a checkpoint, or not as it was written.
pub fn decode(file: &[u8]) -> Result<ResourceBook, CheckpointError> {
    let File { data, checksum: found } = serde_json::from_slice(file).map_err(CheckpointError::Unreadable)?;
    let computed = checksum(&data);
    if found != computed {
        return Err(CheckpointError::Corrupted { found, computed });
    }
    let Data { entries } = serde_json::from_str(&data).map_err(CheckpointError::Unreadable)?;
    let of = |entry: Entry| {
        let containers = entry.containers.unwrap_or_default();
        Arc::new(PodResources { containers, whole: entry.whole })
    };
    Ok(entries.into_iter().map(|(uid, entry)| (uid, of(entry))).collect())
}

/// FNV-1a with 32 bits over the dump of a text.
fn checksum(data: &str) -> u64 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let bytes = DUMP_PREFIX.bytes().chain(data.bytes());
    u64::from(bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From upstream's own test of the format.
    const UPSTREAMS: &str = r#"{"data":"{\"entries\":{\"pod1\":{\"ContainerResources\":{\"container1\":{\"requests\":{\"cpu\":\"1Ki\",\"memory\":\"1Ki\"}}}}}}","checksum":1178570812}"#;

    #[test]
    fn upstreams_file_is_read_and_ours_has_upstreams_form() {
        let book = decode(UPSTREAMS.as_bytes()).unwrap();
        let uid = PodUid::from("pod1");
        let requests = book[&uid].containers["container1"].requests.as_ref().unwrap();
        assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("1Ki", "1Ki"));
        let ours = String::from_utf8(encode(&book)).unwrap();
        let data = r#"{\"entries\":{\"pod1\":{\"ContainerResources\":{\"container1\":{\"requests\":{\"cpu\":\"1Ki\",\"memory\":\"1Ki\"}}},\"PodLevelResources\":null,\"EmptyDirVolumeLimits\":null}}}"#;
        assert!(ours.starts_with(&format!(r#"{{"data":"{data}","checksum":"#)), "{ours}");
        assert_eq!(decode(ours.as_bytes()).unwrap(), book);
        assert_eq!(encode(&ResourceBook::new()), br#"{"data":"{}","checksum":694314937}"#);
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let changed = UPSTREAMS.replace("1Ki", "2Ki");
        assert!(matches!(decode(changed.as_bytes()), Err(CheckpointError::Corrupted { .. })));
        assert!(matches!(decode(&UPSTREAMS.as_bytes()[..50]), Err(CheckpointError::Unreadable(_))));
        assert!(matches!(decode(b"[]"), Err(CheckpointError::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
