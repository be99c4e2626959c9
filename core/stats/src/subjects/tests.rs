//! Which cgroups a view of the node leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::{Pod, PodStatus};
use core_types::runtime::{ContainerState, ContainerStatus, SandboxState, SandboxStatus, SandboxSummary};
use core_types::view::{Lifecycle, PodSource, PodView};
use core_types::{MonoTime, PodKey};

use super::*;

const AT: WallTime = WallTime::from_unix_secs(1_700_000_000);

fn observed() -> ObservedPod {
    let mut pod = ObservedPod::empty("u1".into(), PodKey::new("shop", "web"), MonoTime::from_secs(1));
    for (id, state) in [("s1", SandboxState::Ready), ("s0", SandboxState::NotReady)] {
        pod.sandboxes.push(ObservedSandbox(SandboxStatus {
            summary: SandboxSummary {
                id: id.into(),
                name: "web".into(),
                namespace: "shop".into(),
                uid: "u1".into(),
                attempt: 0,
                state,
                created_at: AT,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                runtime_handler: String::new(),
            },
            ips: Vec::new(),
            host_network: false,
        }));
    }
    for (id, state) in [("c1", ContainerState::Running), ("c0", ContainerState::Exited)] {
        pod.containers.push(container_of(id, state));
    }
    pod
}

fn container_of(id: &str, state: ContainerState) -> ObservedContainer {
    let status = ContainerStatus {
        id: id.into(),
        name: "main".into(),
        attempt: 0,
        state,
        created_at: AT,
        started_at: WallTime::from_unix_secs(1_700_000_001),
        finished_at: WallTime::default(),
        exit_code: 0,
        image: "app:1".into(),
        image_ref: String::new(),
        image_id: String::new(),
        reason: String::new(),
        message: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        mounts: Vec::new(),
        log_path: String::new(),
        resources: None,
        process: Default::default(),
    };
    ObservedContainer { sandbox_id: "s1".into(), status, termination_message: String::new() }
}

fn view(source: Option<PodSource>) -> NodeView {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": { "namespace": "shop", "name": "web", "uid": "u1" },
        "spec": { "containers": [{ "name": "main", "resources": { "requests": { "cpu": "1" } } }] },
    }))
    .expect("pod");
    let pod = PodView {
        pod: Arc::new(pod),
        status: Arc::new(PodStatus::default()),
        source,
        lifecycle: Lifecycle::Syncing,
        activity: None,
        problem: None,
        next_retry: None,
        events: Arc::new([]),
        is_observed: true,
        is_released: false,
        is_wanted: true,
    };
    NodeView {
        pods: Arc::new(BTreeMap::from([("u1".into(), Arc::new(pod))])),
        observed: Arc::new(BTreeMap::from([("u1".into(), Arc::new(observed()))])),
        ..NodeView::default()
    }
}

fn layout(root: &str) -> CgroupLayout {
    CgroupLayout { root: root.into(), driver: CgroupDriver::Cgroupfs, daemons: Vec::new() }
}

fn paths(group: &Group) -> Vec<String> {
    group.subjects.iter().map(|subject| subject.path.cgroupfs()).collect()
}

#[test]
fn the_machine_and_the_classes_come_first_below_the_configured_root() {
    let groups = groups(&NodeView::default(), &layout("/lab"));
    let [node] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!(paths(node), ["/", "/lab/kubepods", "/lab/kubepods/burstable", "/lab/kubepods/besteffort"]);
    assert_eq!(node.subjects[0].network, NetworkOf::Machine);
    assert!(node.subjects.iter().all(|subject| subject.labels == Labels::default()));
}

#[test]
fn a_pod_has_its_sandbox_and_what_runs() {
    let groups = groups(&view(Some(PodSource::File)), &layout("/"));
    let pod = &groups[1];
    let at = "/kubepods/burstable/podu1";
    assert_eq!(paths(pod), [at.to_owned(), format!("{at}/s1"), format!("{at}/c1")]);
    assert_eq!(pod.name, "shop/web (uid u1)");
    let [itself, sandbox, container] = pod.subjects.as_slice() else { panic!("{pod:?}") };
    let labels = Labels { namespace: "shop".into(), pod: "web".into(), ..Labels::default() };
    assert_eq!(itself.labels, labels);
    assert_eq!(sandbox.labels, Labels { name: "s1".into(), ..labels.clone() });
    let main = Labels { container: "main".into(), image: "app:1".into(), name: "c1".into(), ..labels };
    assert_eq!(container.labels, main);
    let networks = pod.subjects.iter().map(|subject| subject.network);
    assert!(networks.eq([NetworkOf::Nobody, NetworkOf::ItsProcesses, NetworkOf::Nobody]));
    assert_eq!(container.started_at, WallTime::from_unix_secs(1_700_000_001));
    assert!(itself.created_at.is_unset() && sandbox.created_at == AT);
}

#[test]
fn a_pod_that_only_the_runtime_knows_may_be_below_any_class() {
    let groups = groups(&view(None), &layout("/"));
    let paths = paths(&groups[1]);
    assert_eq!(paths.len(), 9);
    for class in ["", "/burstable", "/besteffort"] {
        assert!(paths.contains(&format!("/kubepods{class}/podu1/c1")), "{paths:?}");
    }
}

#[test]
fn systemd_has_slices_and_scopes_and_daemons_are_where_the_configuration_says() {
    let daemons = vec![(SystemContainer::Kubelet, "/system.slice/kubelet.service".to_owned())];
    let layout = CgroupLayout { driver: CgroupDriver::Systemd, daemons, ..layout("/") };
    let groups = groups(&view(Some(PodSource::File)), &layout);
    let node = ["/", "/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice"];
    let node = node
        .into_iter()
        .chain(["/kubepods.slice/kubepods-besteffort.slice", "/system.slice/kubelet.service"]);
    assert!(paths(&groups[0]).iter().map(String::as_str).eq(node), "{:?}", paths(&groups[0]));
    let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu1.slice";
    let below = ["", "/cri-containerd-s1.scope", "/cri-containerd-c1.scope"];
    assert_eq!(paths(&groups[1]), below.map(|name| format!("{pod}{name}")));
    let whose = groups[1].subjects.iter().map(|subject| subject.whose.clone());
    let uid = PodUid::from("u1");
    assert!(whose.eq([Whose::Pod(uid.clone()), Whose::Sandbox(uid.clone()), Whose::Container(uid)]));
}
