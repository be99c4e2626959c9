//! The file with a pod's ID mapping, in the form in which upstream's kubelet writes it.

use core_types::PodUid;
use core_types::runtime::{IdMapping, UserNamespace};
use serde::{Deserialize, Serialize};

/// Most bytes that are read of a file: the form has one mapping each for users and groups.
pub const MAX_FILE_BYTES: usize = 4096;

/// Why a file is not a mapping that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingsFileError {
    /// Not JSON of the right form.
    #[error("invalid user namespace mappings file: {0}")]
    Form(String),
    /// Not one mapping each, equal for users and groups, that maps root.
    #[error("invalid user namespace configuration: {0}")]
    Mapping(&'static str),
    /// A block of another size.
    #[error("wrong user namespace length {0}")]
    Length(u32),
    /// A block that does not begin where blocks begin.
    #[error("wrong user namespace offset specified {0}")]
    Offset(u32),
    /// Not among the node's IDs.
    #[error("id {0} is out of range")]
    OutOfRange(u32),
    /// The pod holds another block.
    #[error("different user namespace range already used by pod {:?}", .uid.as_str())]
    Different {
        /// Pod.
        uid: PodUid,
    },
    /// Another pod holds the block.
    #[error("range picked for pod {:?} already taken", .uid.as_str())]
    Taken {
        /// Pod.
        uid: PodUid,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mappings {
    #[serde(default)]
    uid_mappings: Vec<Mapping>,
    #[serde(default)]
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The content of the file.
pub fn encode(namespace: &UserNamespace) -> Vec<u8> {
    let list = |mappings: &[IdMapping]| {
        let one = |mapping: &IdMapping| Mapping {
            host_id: mapping.host_id,
            container_id: mapping.container_id,
            length: mapping.length,
        };
        mappings.iter().map(one).collect()
    };
    let mappings = Mappings { uid_mappings: list(&namespace.uids), gid_mappings: list(&namespace.gids) };
    serde_json::to_vec(&mappings).expect("numbers in lists are JSON")
}

/// The mapping in the content of a file.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn decode(content: &[u8]) -> Result<IdMapping, MappingsFileError> {
    let mappings: Mappings =
        serde_json::from_slice(content).map_err(|error| MappingsFileError::Form(error.to_string()))?;
    let wrong = |what| Err(MappingsFileError::Mapping(what));
    match (mappings.uid_mappings.as_slice(), mappings.gid_mappings.as_slice()) {
        ([user], [group]) if user != group => wrong("GID and UID mapping should be identical"),
        ([user], [_]) if user.container_id != 0 => wrong("UID 0 must be mapped"),
        ([user], [_]) => Ok(IdMapping { host_id: user.host_id, container_id: 0, length: user.length }),
        ([_], _) => wrong("GID and UID mappings should be identical."),
        _ => wrong("no more than one mapping allowed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_upstreams() {
        let mapping = IdMapping { host_id: 131_072, container_id: 0, length: 65536 };
        let namespace = UserNamespace { uids: vec![mapping], gids: vec![mapping] };
        let content = "{\"uidMappings\":[{\"hostId\":131072,\"containerId\":0,\"length\":65536}],\
                       \"gidMappings\":[{\"hostId\":131072,\"containerId\":0,\"length\":65536}]}";
        assert_eq!(String::from_utf8(encode(&namespace)).unwrap(), content);
        assert_eq!(decode(content.as_bytes()), Ok(mapping));
    }

    #[test]
    fn what_is_no_mapping_is_refused_in_upstreams_words() {
        let one = |host: u32, container: u32| {
            format!("{{\"hostId\":{host},\"containerId\":{container},\"length\":65536}}")
        };
        let file =
            |users: &str, groups: &str| format!("{{\"uidMappings\":[{users}],\"gidMappings\":[{groups}]}}");
        let (a, b) = (one(131_072, 0), one(196_608, 0));
        for (content, problem) in [
            (String::new(), "invalid user namespace mappings file: "),
            ("[]x".to_owned(), "invalid user namespace mappings file: "),
            ("{}".to_owned(), "invalid user namespace configuration: no more than one mapping allowed."),
            (file(&format!("{a},{b}"), &a), "no more than one mapping allowed."),
            (file(&a, ""), "GID and UID mappings should be identical."),
            (file(&a, &b), "GID and UID mapping should be identical"),
            (file(&one(131_072, 1), &one(131_072, 1)), "UID 0 must be mapped"),
            (file(&a, &a).replace("131072", "-1"), "invalid user namespace mappings file: "),
        ] {
            let error = decode(content.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(problem), "{content}: {error}");
        }
    }
}
