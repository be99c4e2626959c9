//! What the agent writes on sandboxes and containers, by which it, or upstream's kubelet, takes them over.

use std::collections::BTreeMap;

use core_types::keys;
use lab::agent::Make;
use serde_json::{Value, json};
use tests::{
    Node, SOON,
    manifest::{self, pod, shell, with},
    node::full_name,
    status,
};

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn labels_and_annotations_are_upstreams() {
    let mut node = Node::started();
    let ports = json!([{ "name": "http", "containerPort": 8080, "hostPort": 18085 }, { "containerPort": 53, "protocol": "UDP" }]);
    let main = with(
        shell("main", manifest::IDLE),
        json!({ "ports": ports, "terminationMessagePath": "/tmp/last", "terminationMessagePolicy": "FallbackToLogsOnError" }),
    );
    let spec =
        json!({ "terminationGracePeriodSeconds": 7, "containers": [main, shell("plain", manifest::IDLE)] });
    let mut marked = pod("marked", spec);
    marked["metadata"]["labels"] = json!({ "app": "shop", "tier": "front" });
    marked["metadata"]["annotations"] = json!({ "example.com/note": "of the pod" });
    node.put(&marked);
    let pod = node.ready("marked");
    let (uid, name) = (status::uid(&pod), full_name("marked"));

    let sandbox = node.cri.sandbox(&node.cri.sandboxes("marked")[0].id).summary;
    assert_eq!(
        (sandbox.name.as_str(), sandbox.namespace.as_str(), sandbox.attempt),
        (name.as_str(), "default", 0)
    );
    assert_eq!(sandbox.uid.as_str(), uid);
    let of_pod = [
        (keys::POD_NAME_LABEL, name.as_str()),
        (keys::POD_NAMESPACE_LABEL, "default"),
        (keys::POD_UID_LABEL, uid.as_str()),
    ];
    let mut labels = owned(&of_pod);
    labels.extend(owned(&[("app", "shop"), ("tier", "front")]));
    assert_eq!(sandbox.labels, labels);
    let seen = pod["metadata"]["annotations"][keys::CONFIG_SEEN_ANNOTATION].as_str().unwrap();
    let annotations = owned(&[
        ("example.com/note", "of the pod"),
        (keys::CONFIG_SOURCE_ANNOTATION, "file"),
        (keys::CONFIG_HASH_ANNOTATION, &uid),
        (keys::CONFIG_SEEN_ANNOTATION, seen),
    ]);
    assert_eq!(sandbox.annotations, annotations);

    // The hashes are upstream's of {"image":"podwright.test/busybox:1","name":...}, computed with upstream's own packages.
    let ports = json!([
        { "name": "http", "hostPort": 18085, "containerPort": 8080, "protocol": "TCP" },
        { "containerPort": 53, "protocol": "UDP" },
    ]);
    for (container, hash, path, policy, ports) in [
        ("main", MAIN_HASH, "/tmp/last", "FallbackToLogsOnError", Some(ports)),
        ("plain", PLAIN_HASH, "/dev/termination-log", "File", None),
    ] {
        let status = node.cri.running("marked", container);
        let mut labels = owned(&of_pod);
        labels.extend(owned(&[(keys::CONTAINER_NAME_LABEL, container)]));
        assert_eq!(status.labels, labels, "{container}");
        let annotations = owned(&[
            (keys::CONTAINER_HASH_ANNOTATION, hash),
            (keys::CONTAINER_RESTART_COUNT_ANNOTATION, "0"),
            (keys::CONTAINER_TERMINATION_MESSAGE_PATH_ANNOTATION, path),
            (keys::CONTAINER_TERMINATION_MESSAGE_POLICY_ANNOTATION, policy),
            (keys::POD_TERMINATION_GRACE_PERIOD_ANNOTATION, "7"),
        ]);
        let mut found = status.annotations.clone();
        let found_ports = found.remove(keys::CONTAINER_PORTS_ANNOTATION);
        assert_eq!(found, annotations, "{container}");
        // It is read as JSON; the order of its keys means nothing.
        assert_eq!(
            found_ports.map(|text| serde_json::from_str::<Value>(&text).unwrap()),
            ports,
            "{container}"
        );
        assert_eq!(status.attempt, 0, "{container}");
        assert!(status.log_path.ends_with(&format!("{container}/0.log")), "{}", status.log_path);
    }
}

/// Of `main` with the test image.
const MAIN_HASH: &str = "2fd4d9c";
/// Of `plain` with the test image.
const PLAIN_HASH: &str = "2da3a481";

#[test]
fn upstreams_kubelet_and_ours_take_over_from_each_other() {
    let upstream = lab::parts::upstream_kubelet().unwrap();
    let mut node = Node::started();
    let both = json!([
        shell("a", manifest::IDLE),
        with(shell("b", manifest::IDLE), json!({ "ports": [{ "containerPort": 8080, "hostPort": 18086 }] })),
    ]);
    // Static UIDs are each implementation's own, so the pod brings one.
    let mut shared = pod("shared", json!({ "containers": both }));
    shared["metadata"]["uid"] = json!("5b0ae3b5-2f83-4f6c-9c71-7f1d4c1f9d11");
    node.put(&shared);
    let before = node.ready("shared");
    let ids = node.cri.running_ids();
    assert_eq!(ids.len(), 2);
    node.agent.stop(SOON).unwrap();

    let mut theirs = node.instance.agent_made_by(Make::Upstream, upstream).unwrap();
    theirs.start().unwrap();
    theirs.wait_ready("shared", SOON).unwrap();
    assert_eq!(node.cri.running_ids(), ids, "upstream's kubelet took over ours");
    theirs.stop(SOON).unwrap();

    node.start();
    let after = node.ready("shared");
    assert_eq!(node.cri.running_ids(), ids, "ours took over upstream's");
    assert!(status::containers(&after).iter().all(|c| c["restartCount"] == 0), "{after}");
    assert_eq!(status::uid(&after), status::uid(&before));
}

#[test]
fn sizes_are_handed_over_between_upstreams_kubelet_and_ours() {
    let upstream = lab::parts::upstream_kubelet().unwrap();
    let mut node = Node::started();
    let sized = |cpu: &str| {
        let resources = json!({ "requests": { "cpu": "100m", "memory": "16Mi" }, "limits": { "cpu": cpu, "memory": "64Mi" } });
        let main = with(shell("main", manifest::IDLE), json!({ "resources": resources }));
        let mut sized = pod("sized", json!({ "containers": [main] }));
        sized["metadata"]["uid"] = json!("5b0ae3b5-2f83-4f6c-9c71-7f1d4c1f9d12");
        sized
    };
    let limit = |pod: &Value| status::container(pod, "main")["resources"]["limits"]["cpu"].clone();
    let quota = |node: &Node, pod: &Value| {
        let id = status::id(&status::container(pod, "main"));
        let path = format!("kubepods/burstable/pod{}/{id}", status::uid(pod));
        tests::cgroup::limits(&node.instance, &path).cpu_quota_us
    };
    node.put(&sized("200m"));
    node.ready("sized");
    let ids = node.cri.running_ids();
    // A static pod that brings its UID is resized in place by both.
    node.put(&sized("300m"));
    let pod = node.until("sized", "its new limit", SOON, |pod| limit(pod) == "300m");
    assert_eq!(quota(&node, &pod), Some(30_000));
    node.agent.stop(SOON).unwrap();

    let mut theirs = node.instance.agent_made_by(Make::Upstream, upstream).unwrap();
    theirs.start().unwrap();
    theirs.wait_ready("sized", SOON).unwrap();
    node.put(&sized("400m"));
    let pod = theirs.wait_pod("sized", "upstream's new limit", SOON, |pod| limit(pod) == "400m").unwrap();
    assert_eq!(quota(&node, &pod), Some(40_000));
    theirs.stop(SOON).unwrap();

    node.start();
    let pod = node.until("sized", "the limit that upstream set", SOON, |pod| {
        lab::agent::is_ready(pod) && limit(pod) == "400m"
    });
    assert_eq!(quota(&node, &pod), Some(40_000));
    assert_eq!(node.cri.running_ids(), ids, "nothing was restarted");
    let file = node.agent.root_dir().join("allocated_pods_state");
    assert!(!file.with_extension("corrupt").exists() && !node.agent.log().contains("set aside"));
}
