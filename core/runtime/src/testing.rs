//! Pods and pictures of pods for the tests of this crate.

use core_types::api::Pod;
use core_types::runtime::{ContainerState, ContainerStatus, SandboxState, SandboxStatus, SandboxSummary};
use core_types::{
    ContainerId, MonoTime, ObservedContainer, ObservedPod, ObservedSandbox, PodExt, SandboxId, WallTime, keys,
};
use serde_json::{Value, json};

use crate::backoff::Now;
use crate::hash::container_hash;

/// Both clocks `secs` seconds after their starts.
pub(crate) fn now_at(secs: u64) -> Now {
    Now { mono: MonoTime::from_secs(secs), wall: WallTime::from_unix_secs(1_700_000_000 + secs as i64) }
}

/// A pod of the given restart policy; an init container named `side...` is a sidecar.
pub(crate) fn pod(restart_policy: &str, init: &[&str], containers: &[&str]) -> Pod {
    let container = |name: &&str| {
        let mut container = json!({"name": name, "image": format!("image-{name}")});
        if name.starts_with("side") {
            container["restartPolicy"] = "Always".into();
        }
        container
    };
    pod_with(json!({
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": 30,
        "initContainers": init.iter().map(container).collect::<Vec<_>>(),
        "containers": containers.iter().map(container).collect::<Vec<_>>(),
    }))
}

/// The pod `shop/web` with the given spec.
pub(crate) fn pod_with(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "uid-1"}, "spec": spec
    }))
    .unwrap()
}

/// Instance `attempt` of a container of the pod, in the sandbox `sandbox-0`.
pub(crate) fn observed_container(
    pod: &Pod,
    name: &str,
    attempt: u32,
    state: ContainerState,
) -> ObservedContainer {
    let refs = pod.container_refs();
    let hash = refs.iter().find(|container| container.spec.name == name).map(|c| container_hash(c.spec));
    let annotations = [
        (keys::CONTAINER_RESTART_COUNT_ANNOTATION.to_owned(), attempt.to_string()),
        (keys::CONTAINER_HASH_ANNOTATION.to_owned(), format!("{:x}", hash.unwrap_or_default())),
    ];
    ObservedContainer {
        sandbox_id: SandboxId::from("sandbox-0"),
        status: ContainerStatus {
            id: ContainerId::from(format!("{name}-{attempt}")),
            name: name.to_owned(),
            attempt,
            state,
            created_at: WallTime::from_unix_secs(1_700_000_000 + i64::from(attempt)),
            started_at: WallTime::from_unix_secs(1_700_000_000 + i64::from(attempt)),
            finished_at: WallTime::default(),
            exit_code: 0,
            image: String::new(),
            image_ref: String::new(),
            image_id: String::new(),
            reason: String::new(),
            message: String::new(),
            labels: Default::default(),
            annotations: annotations.into_iter().collect(),
            mounts: Vec::new(),
            log_path: String::new(),
            resources: None,
            process: Default::default(),
        },
        termination_message: String::new(),
    }
}

/// Sandbox `sandbox-<attempt>` of the pod, with an IP when it is ready.
pub(crate) fn observed_sandbox(pod: &Pod, attempt: u32, ready: bool) -> ObservedSandbox {
    ObservedSandbox(SandboxStatus {
        summary: SandboxSummary {
            id: SandboxId::from(format!("sandbox-{attempt}")),
            name: pod.key().name.to_string(),
            namespace: pod.key().namespace.to_string(),
            uid: pod.uid(),
            attempt,
            state: if ready { SandboxState::Ready } else { SandboxState::NotReady },
            created_at: WallTime::from_unix_secs(1_700_000_000 + i64::from(attempt)),
            labels: Default::default(),
            annotations: Default::default(),
            runtime_handler: String::new(),
        },
        ips: if ready { vec!["10.0.0.2".to_owned()] } else { Vec::new() },
        host_network: pod.is_host_network(),
    })
}

/// A picture of the pod with `sandbox-0` and the given containers, newest first.
pub(crate) fn observed(pod: &Pod, ready: bool, containers: Vec<ObservedContainer>) -> ObservedPod {
    ObservedPod {
        sandboxes: vec![observed_sandbox(pod, 0, ready)],
        containers,
        ..ObservedPod::empty(pod.uid(), pod.key(), MonoTime::ZERO)
    }
}
