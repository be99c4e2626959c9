//! Pods and measurements for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::Pod;
use serde_json::json;

use crate::ranking::Candidate;
use crate::usage::{ContainerUse, DiskUse, PodUse};

const MIB: u64 = 1 << 20;

/// An API pod with one container `main`, requests in the order given, and an emptyDir `data` of at most 100Mi.
pub(crate) fn pod(name: &str, priority: i32, requests: &[(&str, &str)]) -> Pod {
    let requests: BTreeMap<_, _> = requests.iter().copied().collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name,
            "annotations": { "kubernetes.io/config.source": "api" },
        },
        "spec": {
            "priority": priority,
            "containers": [{ "name": "main", "resources": {
                "requests": requests, "limits": { "ephemeral-storage": "200Mi" } } }],
            "volumes": [{ "name": "data", "emptyDir": { "sizeLimit": "100Mi" } }],
        },
    }))
    .expect("a pod")
}

pub(crate) fn candidate(pod: Pod, usage: impl Into<Option<PodUse>>) -> Candidate {
    Candidate { pod: Arc::new(pod), usage: usage.into() }
}

/// What the pod of [`pod`] uses.
pub(crate) struct Use;

impl Use {
    pub(crate) fn memory(mib: u64) -> PodUse {
        let bytes = Some(mib * MIB);
        let main =
            ContainerUse { name: "main".to_owned(), working_set_bytes: bytes, ..ContainerUse::default() };
        PodUse { working_set_bytes: bytes, containers: vec![main], ..PodUse::default() }
    }

    pub(crate) fn processes(count: u64) -> PodUse {
        PodUse { processes: Some(count), ..PodUse::default() }
    }

    pub(crate) fn disk(layer_mib: u64, log_mib: u64, volume_mib: u64) -> PodUse {
        let part = |mib: u64| DiskUse { bytes: Some(mib * MIB), inodes: Some(mib) };
        let main = ContainerUse {
            name: "main".to_owned(),
            rootfs: part(layer_mib),
            logs: part(log_mib),
            ..ContainerUse::default()
        };
        PodUse {
            containers: vec![main],
            volumes: [("data".to_owned(), part(volume_mib))].into(),
            ephemeral_bytes: Some((layer_mib + log_mib + volume_mib) * MIB),
            ..PodUse::default()
        }
    }
}
