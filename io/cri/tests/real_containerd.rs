//! One pod from start to end on a real runtime. Runs when `PODWRIGHT_CRI_ENDPOINT` names its socket and
//! `PODWRIGHT_TEST_IMAGE` an image in its store that has a busybox shell; says that it is skipped otherwise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use core_metrics::Registry;
use core_types::runtime::{
    ContainerConfig, ContainerState, ImageSpec, KeyValue, LinuxResources, NamespaceMode, RuntimeEvent,
    RuntimeEventKind, SandboxConfig, SandboxState, StreamRequest,
};
use core_types::{ContainerId, PodUid, SandboxId, keys};
use futures_util::StreamExt;
use io_cri::{CriClient, CriOptions};
use ports::runtime::{RuntimeError, RuntimeEvents, RuntimeResult};
use ports::{ContainerRuntime, ImageService};

const PATIENCE: Duration = Duration::from_secs(30);
/// Says so, lives until it is told to stop, and ends with a code of its own.
const SCRIPT: &str = "echo out $GREETING; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done";

struct Pod {
    config: SandboxConfig,
    uid: PodUid,
    cgroup: String,
}

fn pod(logs: &Path, network: NamespaceMode) -> Pod {
    let uid = PodUid::from(format!("podwright-cri-test-{}", std::process::id()));
    let cgroup = format!("/{uid}");
    let labels = BTreeMap::from([
        (keys::POD_NAME_LABEL.to_owned(), "smoke".to_owned()),
        (keys::POD_NAMESPACE_LABEL.to_owned(), "default".to_owned()),
        (keys::POD_UID_LABEL.to_owned(), uid.to_string()),
    ]);
    let mut config = SandboxConfig {
        name: "smoke".to_owned(),
        namespace: "default".to_owned(),
        uid: Some(uid.clone()),
        hostname: "smoke".to_owned(),
        log_directory: logs.display().to_string(),
        labels,
        ..Default::default()
    };
    config.linux.cgroup_parent = cgroup.clone();
    config.linux.security.namespaces.network = network;
    Pod { config, uid, cgroup }
}

fn container(pod: &Pod, image: &str) -> ContainerConfig {
    let mut config = ContainerConfig {
        name: "main".to_owned(),
        image: ImageSpec { image: image.to_owned(), ..Default::default() },
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), SCRIPT.to_owned()],
        envs: vec![KeyValue { key: "GREETING".to_owned(), value: "grüße".to_owned() }],
        labels: pod.config.labels.clone(),
        log_path: "main.log".to_owned(),
        ..Default::default()
    };
    config.resources = LinuxResources { cpu_shares: 100, memory_limit_bytes: 64 << 20, ..Default::default() };
    config.security.namespaces.network = pod.config.linux.security.namespaces.network;
    config.security.namespaces.pid = NamespaceMode::Container;
    config
}

/// The answer, or `None` and a line on the terminal when the runtime does not know the call.
fn if_implemented<T>(call: &str, answer: RuntimeResult<T>) -> Option<T> {
    match answer {
        Err(RuntimeError::Unimplemented { .. }) => {
            println!("{call}: not implemented by this runtime");
            None
        }
        answer => Some(answer.unwrap()),
    }
}

async fn until(events: &mut RuntimeEvents, kind: RuntimeEventKind, id: &ContainerId) -> RuntimeEvent {
    let wanted = async {
        loop {
            let event = events.next().await.expect("the stream goes on").unwrap();
            if event.kind == kind && event.container_id == *id {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("no {kind:?} of {id}"))
}

#[tokio::test]
async fn a_pod_runs_from_start_to_end() {
    let (Ok(endpoint), Ok(image)) =
        (std::env::var("PODWRIGHT_CRI_ENDPOINT"), std::env::var("PODWRIGHT_TEST_IMAGE"))
    else {
        println!("skipped: PODWRIGHT_CRI_ENDPOINT and PODWRIGHT_TEST_IMAGE name no runtime and image");
        return;
    };
    let client = CriClient::connect(&CriOptions::new(endpoint), &Registry::new()).unwrap();
    let network = look_around(&client, &image).await;
    let logs = tempfile::tempdir().unwrap();
    let pod = pod(logs.path(), network);
    let mut events = if_implemented("GetContainerEvents", client.events().await);

    let sandbox = client.run_sandbox(&pod.config, "").await.unwrap();
    look_at_sandbox(&client, &pod, &sandbox, network).await;
    let id = client.create_container(&sandbox, &container(&pod, &image), &pod.config).await.unwrap();
    assert_eq!(client.container_status(&id).await.unwrap().state, ContainerState::Created);
    client.start_container(&id).await.unwrap();
    if let Some(events) = &mut events {
        let started = until(events, RuntimeEventKind::Started, &id).await;
        assert_eq!(started.pod_uid.as_ref(), Some(&pod.uid));
    }
    use_container(&client, &pod, &sandbox, &id).await;

    client.stop_container(&id, Duration::from_secs(20)).await.unwrap();
    let ended = client.container_status(&id).await.unwrap();
    assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, 7));
    assert!(ended.finished_at >= ended.started_at && !ended.started_at.is_unset());
    if let Some(events) = &mut events {
        until(events, RuntimeEventKind::Stopped, &id).await;
    }
    let log = std::fs::read_to_string(logs.path().join("main.log")).unwrap();
    assert!(log.contains(" stdout F out grüße\n") && log.contains(" stderr F err\n"), "{log}");

    clean_up(&client, &sandbox, &id).await;
    for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        // Only where this runtime made it; a cgroup with processes is not removed.
        let _ = std::fs::remove_dir(controller.unwrap().path().join(pod.cgroup.trim_start_matches('/')));
    }
}

async fn look_around(client: &CriClient, image: &str) -> NamespaceMode {
    let version = client.version().await.unwrap();
    println!("{} {} (CRI {})", version.name, version.version, version.api_version);
    let status = client.status().await.unwrap();
    assert!(status.runtime_ready.ok, "{:?}", status.runtime_ready);
    println!("network ready: {}; handlers: {:?}", status.network_ready.ok, status.handlers);
    if let Some(driver) = if_implemented("RuntimeConfig", client.cgroup_driver().await) {
        println!("cgroup driver {driver:?}");
    }
    let (images, _) = client.image_filesystems().await.unwrap();
    assert!(!images.is_empty() && !images[0].mountpoint.is_empty());
    let spec = |image: &str| ImageSpec { image: image.to_owned(), ..Default::default() };
    let found = client.image_status(&spec(image)).await.unwrap().expect("the test image is in the store");
    assert!(client.list_images().await.unwrap().iter().any(|listed| listed.id == found.id));
    let missing = spec("podwright.test/none:1");
    assert_eq!(client.image_status(&missing).await.unwrap(), None);
    client.remove_image(&missing).await.unwrap();
    if status.network_ready.ok { NamespaceMode::Pod } else { NamespaceMode::Node }
}

async fn look_at_sandbox(client: &CriClient, pod: &Pod, sandbox: &SandboxId, network: NamespaceMode) {
    let status = client.sandbox_status(sandbox).await.unwrap();
    assert_eq!((&status.summary.uid, status.summary.state), (&pod.uid, SandboxState::Ready));
    assert_eq!(status.host_network, network == NamespaceMode::Node);
    assert_eq!(status.ips.is_empty(), network == NamespaceMode::Node, "{:?}", status.ips);
    let listed = client.list_sandboxes(Some(&pod.uid)).await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [sandbox]);
    assert!(client.list_sandboxes(Some(&PodUid::from("nobody"))).await.unwrap().is_empty());
    assert!(client.list_sandboxes(None).await.unwrap().iter().any(|one| one.id == *sandbox));
}

async fn use_container(client: &CriClient, pod: &Pod, sandbox: &SandboxId, id: &ContainerId) {
    let status = client.container_status(id).await.unwrap();
    assert_eq!((status.name.as_str(), status.state), ("main", ContainerState::Running));
    assert!(!status.image_ref.is_empty() && !status.image_id.is_empty());
    let listed = client.list_containers(Some(&pod.uid)).await.unwrap();
    assert_eq!((listed.len(), &listed[0].id, &listed[0].sandbox_id), (1, id, sandbox));

    let shell = |script: &str| ["/bin/sh", "-c", script].map(ToOwned::to_owned);
    let output = client.exec_sync(id, &shell("echo hello; exit 3"), PATIENCE).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.exit_code), (&b"hello\n"[..], 3));
    let error = client.exec_sync(id, &shell("exec sleep 30"), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Timeout { .. }), "{error:?}");
    let stream = StreamRequest { command: vec!["true".to_owned()], stdout: true, ..Default::default() };
    assert!(!client.exec_url(id, &stream).await.unwrap().is_empty());
    assert!(
        !client
            .attach_url(id, &StreamRequest { stdout: true, ..Default::default() })
            .await
            .unwrap()
            .is_empty()
    );
    assert!(!client.port_forward_url(sandbox, &[80]).await.unwrap().is_empty());

    let stats = client.container_stats(id).await.unwrap();
    assert!(stats.memory.unwrap().working_set_bytes.unwrap() > 0);
    assert!(client.list_container_stats().await.unwrap().iter().any(|one| one.id == *id));
    if let Some(stats) = if_implemented("PodSandboxStats", client.sandbox_stats(sandbox).await) {
        assert!(stats.container(id).is_some());
    }
    let larger = LinuxResources { memory_limit_bytes: 128 << 20, ..Default::default() };
    client.update_container_resources(id, &larger).await.unwrap();
    if_implemented(
        "UpdatePodSandboxResources",
        client.update_sandbox_resources(sandbox, None, Some(&larger)).await,
    );
    client.reopen_container_log(id).await.unwrap();
}

async fn clean_up(client: &CriClient, sandbox: &SandboxId, id: &ContainerId) {
    for _ in 0..2 {
        client.stop_container(id, Duration::ZERO).await.unwrap();
        client.remove_container(id).await.unwrap();
    }
    assert!(client.container_status(id).await.unwrap_err().is_not_found());
    for _ in 0..2 {
        client.stop_sandbox(sandbox).await.unwrap();
        client.remove_sandbox(sandbox).await.unwrap();
    }
    assert!(client.sandbox_status(sandbox).await.unwrap_err().is_not_found());
}
