//! The API server stops, hangs and comes back: what runs goes on, what was told before starts again after a reboot of the machine,
//! and what happened meanwhile is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lab::ControlPlane;
use lab::agent::is_ready;
use serde_json::{Value, json};
use tests::cluster::{apply, bound, own_plane, prepared, until};
use tests::{LATER, Node, SOON, eventually_true, manifest, runtime, status};

fn restarted_to(count: u64) -> impl Fn(&Value) -> bool {
    move |pod| is_ready(pod) && status::restarts(pod) >= count
}

#[test]
fn pods_go_on_without_the_api_server_and_statuses_are_told_when_it_is_back() {
    let mut plane = own_plane();
    let mut node = prepared(&plane, "off-1");
    node.put(&manifest::idle("fixed"));
    node.start();
    apply(&plane, "off-1", &bound("off-1", manifest::idle("web")));
    let before = until(&plane, "web", "ready", is_ready);
    until(&plane, "fixed-off-1", "ready", is_ready);

    plane.stop_api_server().unwrap();
    let main = node.cri.running("web", "main").id;
    runtime::kill_container(node.instance.containerd(), &main);
    node.until("web", "restarted without the API server", LATER, restarted_to(1));
    // An agent that starts while nobody tells it what to run keeps what runs, and its static pods.
    let running = node.cri.running_ids();
    node.crash();
    node.until("fixed-off-1", "ready", LATER, is_ready);
    assert_eq!(node.cri.running_ids(), running);

    plane.start_api_server().unwrap();
    let after = until(&plane, "web", "told as restarted", restarted_to(1));
    assert_eq!(status::uid(&after), status::uid(&before));
    assert_eq!(node.cri.running_ids(), running, "nothing was restarted because the server was away");

    // It hangs: connections stay open and nothing answers. What was deleted meanwhile goes when it wakes up.
    plane.pause_api_server().unwrap();
    let main = node.cri.running("web", "main").id;
    runtime::kill_container(node.instance.containerd(), &main);
    node.until("web", "restarted while the API server hangs", LATER, restarted_to(2));
    plane.resume_api_server().unwrap();
    until(&plane, "web", "told as restarted again", restarted_to(2));
    let gone = plane.kubectl(&["delete", "pod", "web", "--timeout=90s"]).unwrap();
    assert!(gone.contains("deleted"), "{gone}");
    node.cri.wait_removed("web");
}

/// Where a pod finds its token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// In no file but one that is encrypted, and in memory.
const PASSWORD: &str = "a-password-that-nobody-may-read";

/// A pod that reads a Secret and a ConfigMap, as variable and as file, and has the token of its service account.
fn reader(node: &str, name: &str) -> Value {
    let main = manifest::with(
        manifest::shell("main", manifest::IDLE),
        json!({
            "env": [{ "name": "GREETING",
                "valueFrom": { "configMapKeyRef": { "name": "off-settings", "key": "greeting" } } }],
            "volumeMounts": [{ "name": "words", "mountPath": "/words" }],
        }),
    );
    let words = json!({ "name": "words", "secret": { "secretName": "off-words" } });
    let mut pod = bound(node, manifest::pod(name, json!({ "containers": [main], "volumes": [words] })));
    pod["spec"]["automountServiceAccountToken"] = json!(true);
    pod
}

fn apply_objects(plane: &ControlPlane, scope: &str) {
    let meta = |name: &str| json!({ "name": name });
    apply(
        plane,
        scope,
        &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": meta("off-words"),
            "stringData": { "password": PASSWORD } }),
    );
    apply(
        plane,
        scope,
        &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("off-settings"),
            "data": { "greeting": "hello-from-the-map" } }),
    );
}

/// What a reboot of the machine leaves of pods: nothing in the runtime, and nothing in memory.
fn reboot(node: &mut Node, pods: &[&str]) {
    assert!(node.agent.stop(Duration::from_secs(10)).unwrap().success());
    for name in pods {
        node.cri.wipe(name);
        node.cri.wait_removed(name);
    }
    let pods = node.agent.root_dir().join("pods");
    for mount in mounts_below(&pods) {
        assert!(Command::new("umount").arg(&mount).status().unwrap().success(), "{}", mount.display());
    }
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut below: Vec<_> = points.filter(|point| point.starts_with(dir)).collect();
    below.reverse();
    below
}

/// Files below a directory, without what is mounted there, that hold one of these texts.
fn files_with(dir: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let patterns = texts.iter().flat_map(|text| ["-e", text]);
    let found = Command::new("find")
        .arg(dir)
        .args(["-xdev", "-type", "f", "-exec", "grep", "-l", "-a", "-F"])
        .args(patterns)
        .args(["{}", "+"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&found.stdout).lines().map(PathBuf::from).collect()
}

#[test]
fn pods_start_again_after_a_reboot_without_the_api_server() {
    let mut plane = own_plane();
    let mut node = prepared(&plane, "off-2");
    node.start();
    apply_objects(&plane, "off-2");
    for name in ["keeps", "leaves"] {
        apply(&plane, "off-2", &reader("off-2", name));
    }
    let before = until(&plane, "keeps", "ready", is_ready);
    until(&plane, "leaves", "ready", is_ready);
    let token = node.cri.sh("keeps", "main", &format!("cat {TOKEN}"));
    let own = node.agent.root_dir().join("podwright");
    let sealed = own.join("offline.sealed");
    eventually_true("what the server told to be kept", SOON, || sealed.exists());

    reboot(&mut node, &["keeps", "leaves"]);
    plane.stop_api_server().unwrap();
    let mark = node.log_mark();
    node.start();
    node.logged(mark, &["OfflineStart", "2 pods are started"]);
    for name in ["keeps", "leaves"] {
        node.ready(name);
    }
    assert_eq!(node.cri.sh("keeps", "main", "cat /words/password"), PASSWORD);
    assert_eq!(node.cri.sh("keeps", "main", "echo -n $GREETING"), "hello-from-the-map");
    assert_eq!(node.cri.sh("keeps", "main", &format!("cat {TOKEN}")), token, "the token is still good");
    let host =
        node.podwright().run(&["exec", "keeps", "--", "/bin/sh", "-c", "echo $KUBERNETES_SERVICE_HOST"]);
    assert!(!host.ok().trim().is_empty(), "it is told of the API server's service");
    let why = node.podwright().run(&["why", "keeps"]).ok();
    assert!(why.contains("Offline"), "{why}");
    let page = node.agent.read_only("/metrics").unwrap().body;
    assert!(page.contains("podwright_offline_pods 2"), "{page}");
    assert_eq!(files_with(&node.agent.root_dir(), &[PASSWORD, &token]), Vec::<PathBuf>::new());

    // One is deleted when the server is back.
    let running = node.cri.running("keeps", "main").id;
    plane.start_api_server().unwrap();
    plane.kubectl(&["delete", "pod", "leaves", "--timeout=60s"]).unwrap();
    let after = until(&plane, "keeps", "told as it runs now", |pod| {
        is_ready(pod)
            && status::only(pod)["containerID"].as_str().is_some_and(|id| id.ends_with(running.as_str()))
    });
    assert_eq!(status::uid(&after), status::uid(&before));
    node.cri.wait_removed("leaves");
    node.logged(mark, &["OfflineStartEnded"]);
    assert_eq!(node.cri.running("keeps", "main").id, running, "it was not restarted");
    assert!(!node.podwright().run(&["why", "keeps"]).ok().contains("Offline"));

    // A broken file is set aside; switched off, nothing is kept.
    let mut content = std::fs::read(&sealed).unwrap();
    *content.last_mut().unwrap() ^= 1;
    assert!(node.agent.stop(Duration::from_secs(10)).unwrap().success());
    std::fs::write(&sealed, content).unwrap();
    let mark = node.log_mark();
    node.start();
    node.logged(mark, &["it is set aside as", "offline.sealed.corrupt"]);
    node.ready("keeps");
    assert!(node.agent.stop(Duration::from_secs(10)).unwrap().success());
    node.agent.flags.push("--offline-start=false".to_owned());
    node.start();
    let left = || std::fs::read_dir(&own).unwrap().filter_map(Result::ok).map(|entry| entry.file_name());
    let left: Vec<_> = left().filter(|name| name.to_string_lossy().starts_with("offline")).collect();
    assert!(left.is_empty(), "{left:?}");
    node.ready("keeps");
    assert_eq!(node.cri.running("keeps", "main").id, running);
}
