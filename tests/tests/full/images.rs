//! Images: pull policies, failing pulls, sign-in to a registry.

use lab::{agent::is_ready, gate::Gate, images, registry::Access};
use serde_json::{Value, json};
use tests::{LATER, Node, SOON, eventually_true, manifest, runtime, status};

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

/// What the only container of pod `name` says of a pull that failed; `ErrImagePull` passes into `ImagePullBackOff` with the next
/// sync, which tells the same.
#[track_caller]
fn failed_pull(node: &mut Node, name: &str) -> String {
    let why = |pod: &Value| status::containers(pod).first().map(|of| of["state"]["waiting"].clone());
    let has_failed = |why: &Value| why["reason"] == "ErrImagePull" || why["reason"] == "ImagePullBackOff";
    let pod =
        node.until(name, "its pull to have failed", SOON, |pod| why(pod).is_some_and(|why| has_failed(&why)));
    why(&pod).unwrap()["message"].as_str().unwrap().to_owned()
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
    let text = failed_pull(&mut node, "lost");
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
    let text = failed_pull(&mut node, "private");
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

/// A credential plugin that says what it was told to say, and notes that it was asked.
fn write_plugin(dir: &std::path::Path, registry: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    let login = json!({ "username": lab::registry::USER, "password": lab::registry::PASSWORD });
    let answer = json!({
        "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry", "auth": { registry: login },
    });
    std::fs::write(dir.join("answer.json"), answer.to_string()).unwrap();
    let script = format!("#!/bin/sh\ncat >> {0}/asked\ncat {0}/$ANSWER\n", dir.display());
    std::fs::write(dir.join("bin/login"), script).unwrap();
    std::fs::set_permissions(dir.join("bin/login"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let provider = json!({
        "name": "login", "matchImages": [registry], "defaultCacheDuration": "1h",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "env": [{ "name": "ANSWER", "value": "answer.json" }],
    });
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [provider],
    });
    std::fs::create_dir_all(dir.join("config")).unwrap();
    std::fs::write(dir.join("config/login.yaml"), config.to_string()).unwrap();
}

#[test]
fn plugins_open_a_private_registry_and_what_they_pulled_is_recorded() {
    let mut node = Node::prepared();
    let registry = node.instance.registry(Access::SignIn).unwrap();
    let image = registry.push(node.instance.containerd(), images::BUSYBOX, "private/busybox:1").unwrap();
    let plugins = node.agent.root_dir().join("../plugins");
    write_plugin(&plugins, registry.host());
    node.agent.flags = vec![
        format!("--image-credential-provider-config={}", plugins.join("config").display()),
        format!("--image-credential-provider-bin-dir={}", plugins.join("bin").display()),
    ];
    node.start();
    node.put(&manifest::of_image("first", &image, "Always"));
    node.ready("first");
    let pulls = pulls(&node);
    node.put(&manifest::of_image("second", &image, "Always"));
    node.ready("second");
    let asked = std::fs::read_to_string(plugins.join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 1, "its answer holds for an hour: {asked}");
    assert!(asked.contains(&format!("\"image\":\"{}/private/busybox\"", registry.host())), "{asked}");

    let manager = node.agent.root_dir().join("image_manager");
    let files = |kind: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(manager.join(kind)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    eventually_true("the intents to go", SOON, || files("pulling").is_empty());
    let records = files("pulled");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    let content: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(
        (&content["kind"], &content["apiVersion"]),
        (&json!("ImagePulledRecord"), &json!("kubelet.config.k8s.io/v1beta1"))
    );
    let access = json!({ format!("{}/private/busybox", registry.host()): { "nodePodsAccessible": true } });
    assert_eq!(content["credentialMapping"], access);
    let image_ref = content["imageRef"].as_str().unwrap();
    assert!(image_ref.starts_with("sha256:"), "{content}");

    // With the record the image is there for every pod; without, it must be pulled once more.
    node.put(&manifest::of_image("third", &image, "IfNotPresent"));
    let third = status::uid(&node.ready("third"));
    node.logged(0, &[&third, "already present on machine and can be accessed by the pod"]);
    assert_eq!(self::pulls(&node), pulls + 1);
    node.agent.stop(SOON).unwrap();
    std::fs::write(record, "{}").unwrap();
    let mark = node.log_mark();
    node.start();
    node.logged(mark, &["set aside", "corrupt-sha256-"]);
    node.put(&manifest::of_image("fourth", &image, "IfNotPresent"));
    node.ready("fourth");
    assert_eq!(self::pulls(&node), 1, "proved by a pull");
    eventually_true("the record to be back", SOON, || record.exists());
    let log = node.agent.log();
    assert!(!log.contains(lab::registry::PASSWORD), "the log gives the password away");
}

#[test]
fn images_are_volumes() {
    let mut node = Node::started();
    let with_volume = |name: &str, image: &str, mount: Value| {
        let script = format!(
            "cat /data/index.html; (echo x > /data/new) 2> /dev/null || echo refused; {}",
            manifest::IDLE
        );
        let main = manifest::with(manifest::shell("main", &script), json!({ "volumeMounts": [mount] }));
        let volume = json!({ "name": "files", "image": { "reference": image, "pullPolicy": "Never" } });
        manifest::pod(
            name,
            json!({ "containers": [main, manifest::shell("aside", manifest::IDLE)], "volumes": [volume] }),
        )
    };
    node.put(&with_volume(
        "whole",
        images::WEB,
        json!({ "name": "files", "mountPath": "/data", "subPath": "www" }),
    ));
    if runtime::is_1_6() {
        let waiting = node.waiting("whole", "CreateContainerError");
        let message = waiting["state"]["waiting"]["message"].as_str().unwrap();
        assert!(
            message.contains("volume \"files\": ") && message.contains("use containerd 2.1"),
            "{message}"
        );
        return;
    }
    let whole = node.ready("whole");
    eventually_true("the page of the image", SOON, || {
        node.log_of("whole", "main") == format!("{}refused\n", images::PAGE)
    });
    let mounts = &status::container(&whole, "main")["volumeMounts"];
    assert_eq!((&mounts[0]["name"], &mounts[0]["mountPath"]), (&json!("files"), &json!("/data")));

    let missing = "podwright.test/missing:1";
    node.put(&with_volume("missing", missing, json!({ "name": "files", "mountPath": "/data" })));
    let waiting = node.waiting("missing", "ErrImageNeverPull");
    let text = waiting["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(text, format!("Container image \"{missing}\" is not present with pull policy of Never"));
    node.until("missing", "the container without the volume running", SOON, |pod| {
        !status::container(pod, "aside")["state"]["running"].is_null()
    });
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    let line = "kubelet_image_volume_mounted_succeed_total 1";
    assert!(metrics.contains(line), "{line} in {metrics}");
}

#[test]
fn the_policy_says_who_may_use_an_image_that_is_there() {
    let mut node = Node::prepared();
    node.agent.config["imagePullCredentialsVerificationPolicy"] = json!("NeverVerifyAllowlistedImages");
    node.agent.config["preloadedImagesVerificationAllowlist"] =
        json!(["podwright.test/busybox", "podwright.test/pause"]);
    node.instance.containerd().ctr(&["images", "tag", images::BUSYBOX, "podwright.test/other:1"]).unwrap();
    node.start();
    node.put(&manifest::idle("allowed"));
    node.ready("allowed");
    // It is there, but no pod may use it without proof.
    node.put(&manifest::of_image("other", "podwright.test/other:1", "Never"));
    node.waiting("other", "ErrImageNeverPull");
    let why = node.podwright().run(&["why", "other"]).ok();
    assert!(why.contains("podwright.test/other:1"), "{why}");
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    for line in [
        "kubelet_imagemanager_image_mustpull_checks_total{result=\"mustAuthenticate\"}",
        "kubelet_imagemanager_image_mustpull_checks_total{result=\"credentialPolicyAllowed\"}",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
