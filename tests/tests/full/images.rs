//! Images: pull policies, failing pulls, sign-in to a registry.

use lab::{agent::is_ready, gate::Gate, images, registry::Access};
use serde_json::{Value, json};
use tests::{LATER, Node, SOON, eventually_true, manifest, status};

/// The base64 of `puller:open-sesame`.
const SIGN_IN: &str = "cHVsbGVyOm9wZW4tc2VzYW1l";

fn present(node: &Node, image: &str) -> bool {
    node.instance.containerd().ctr(&["images", "list", "--quiet"]).unwrap().lines().any(|line| line == image)
}

fn forget(node: &Node, image: &str) {
    node.instance.containerd().ctr(&["images", "remove", "--sync", image]).unwrap();
    eventually_true("the image to be gone", SOON, || !present(node, image));
}

fn pulls(node: &Node) -> u64 {
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    let line = "kubelet_runtime_operations_total{operation_type=\"pull_image\"} ";
    metrics.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn pull_policies_decide_when_the_registry_is_asked() {
    let mut node = Node::started();
    let registry = node.instance.registry(Access::Open).unwrap();
    let image = registry.push(node.instance.containerd(), images::BUSYBOX, "tools/busybox:1").unwrap();
    assert!(!present(&node, &image));

    node.put(&manifest::of_image("never", &image, "Never"));
    let never = node.waiting("never", "ErrImageNeverPull");
    let text = never["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(text, format!("Container image \"{image}\" is not present with pull policy of Never"));
    assert_eq!(pulls(&node), 0);

    node.put(&manifest::of_image("if-not-present", &image, "IfNotPresent"));
    node.ready("if-not-present");
    assert!(present(&node, &image));
    assert_eq!(pulls(&node), 1);
    node.put(&manifest::of_image("present", &image, "IfNotPresent"));
    node.ready("present");
    assert_eq!(pulls(&node), 1, "it was there");
    // Its image came by another pod; it looks again by itself.
    node.until("never", "Ready", LATER, is_ready);
    node.put(&manifest::of_image("always", &image, "Always"));
    node.ready("always");
    assert_eq!(pulls(&node), 2, "asked although it was there");

    // With the registry gone, what needs it fails and what does not starts.
    drop(registry);
    node.put(&manifest::of_image("always-gone", &image, "Always"));
    node.put(&manifest::of_image("present-gone", &image, "IfNotPresent"));
    node.ready("present-gone");
    let failed = node.waiting("always-gone", "ImagePullBackOff");
    assert_eq!(failed["image"], image);
}

#[test]
fn pods_share_pulls_and_no_more_run_than_allowed() {
    let mut node = Node::prepared();
    node.agent.config["serializeImagePulls"] = json!(false);
    node.agent.config["maxParallelImagePulls"] = json!(2);
    let registry = node.instance.registry(Access::Open).unwrap();
    let gate = Gate::before(registry.host()).unwrap();
    node.instance.containerd().allow_plain_registry(&gate.host()).unwrap();
    let image = |name: &str| {
        registry.push(node.instance.containerd(), images::BUSYBOX, name).unwrap();
        format!("{}/{name}", gate.host())
    };
    let (shared, second, third) = (image("a/busybox:1"), image("b/busybox:1"), image("c/busybox:1"));
    node.start();
    let wishes = [("one", &shared), ("two", &shared), ("three", &second), ("four", &third)];
    for (name, image) in wishes {
        node.put(&manifest::of_image(name, image, "Always"));
    }
    for (name, image) in wishes {
        let uid = status::uid(&node.until(name, "known", SOON, |pod| !status::uid(pod).is_empty()));
        node.logged(0, &["reason=\"Pulling\"", &format!("{image}\\\""), &uid]);
    }
    eventually_true("two pulls to be under way", SOON, || gate.waiting() == 2);
    // A whole pod comes up meanwhile: time enough for a third pull that should not be.
    node.put(&manifest::idle("bystander"));
    node.ready("bystander");
    assert_eq!(gate.waiting(), 2, "maxParallelImagePulls");
    gate.open();
    for (name, image) in wishes {
        let uid = status::uid(&node.ready(name));
        node.logged(0, &["reason=\"Pulled\"", "Successfully pulled image", image, "including waiting", &uid]);
    }
    assert_eq!(pulls(&node), 3, "two pods shared one");
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    for line in [
        "kubelet_image_pull_duration_seconds_count{image_size_in_bytes=\"0-10MB\"} 4",
        "kubelet_image_manager_ensure_image_requests_total{pull_policy=\"always\",present_locally=\"unknown\",pull_required=\"true\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn an_image_that_nobody_has_is_named_and_waited_for() {
    let mut node = Node::started();
    let registry = node.instance.registry(Access::Open).unwrap();
    let late = registry.push(node.instance.containerd(), images::BUSYBOX, "late/busybox:1").unwrap();
    let late = late.replace("/late/", "/later/");
    node.put(&manifest::of_image("lost", &late, "IfNotPresent"));
    node.put(&manifest::of_image("fine", images::BUSYBOX, "IfNotPresent"));
    node.put(&manifest::of_image("nonsense", "UPPER//case:::", "IfNotPresent"));
    let first = node.waiting("lost", "ErrImagePull");
    let text = first["state"]["waiting"]["message"].as_str().unwrap();
    assert!(text.contains(&late) && text.contains("not found"), "{text}");
    node.ready("fine");
    let nonsense = node.waiting("nonsense", "InvalidImageName");
    assert!(
        nonsense["state"]["waiting"]["message"].as_str().unwrap().contains("UPPER//case:::"),
        "{nonsense}"
    );
    let waiting = node.waiting("lost", "ImagePullBackOff");
    let text = waiting["state"]["waiting"]["message"].as_str().unwrap();
    assert!(text.starts_with(&format!("Back-off pulling image \"{late}\"")), "{text}");
    assert_eq!(node.pod("lost")["status"]["phase"], "Pending");
    // The image appears, and the pod starts by itself.
    registry.push(node.instance.containerd(), images::BUSYBOX, "later/busybox:1").unwrap();
    node.until("lost", "Ready", LATER, is_ready);
    assert_eq!(status::restarts(&node.pod("lost")), 0);
}

#[test]
fn credentials_of_the_node_open_a_private_registry() {
    let mut node = Node::prepared();
    let registry = node.instance.registry(Access::SignIn).unwrap();
    let image = registry.push(node.instance.containerd(), images::BUSYBOX, "private/busybox:1").unwrap();
    node.put(&manifest::of_image("private", &image, "Always"));
    node.start();
    let refused = node.waiting("private", "ErrImagePull");
    let text = refused["state"]["waiting"]["message"].as_str().unwrap();
    assert!(text.contains(&image), "{text}");
    let auths = |auth: Value| json!({ "auths": { registry.host(): auth } }).to_string();
    std::fs::write(node.agent.root_dir().join("config.json"), auths(json!({ "auth": SIGN_IN }))).unwrap();
    node.until("private", "Ready", LATER, is_ready);
    forget_by_pod(&mut node, "private", &image);
    // The other spelling, with the two apart.
    let apart = json!({ "username": lab::registry::USER, "password": lab::registry::PASSWORD });
    std::fs::write(node.agent.root_dir().join("config.json"), auths(apart)).unwrap();
    node.put(&manifest::of_image("private-2", &image, "Always"));
    node.ready("private-2");
    let log = node.agent.log();
    assert!(
        !log.contains(lab::registry::PASSWORD) && !log.contains(SIGN_IN),
        "the log gives the password away"
    );
}

fn forget_by_pod(node: &mut Node, name: &str, image: &str) {
    node.take(name);
    node.gone(name);
    node.cri.wait_removed(name);
    forget(node, image);
}
