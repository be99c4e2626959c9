//! AppArmor profiles as a process inside and the kernel show them.

use std::fs;

use serde_json::{Value, json};
use tests::{
    LATER, Node,
    manifest::{IDLE, pod, shell, with},
};

use crate::{is_guest, run};

/// A profile that takes writing one file away and nothing else.
const NO_SECRET: &str = "profile podwright-no-secret flags=(attach_disconnected, mediate_deleted) {\n\
    file,\n network,\n capability,\n signal,\n umount,\n deny /tmp/secret w,\n}\n";

/// The profile that the runtime makes where none is asked for.
const DEFAULT: &str = "cri-containerd.apparmor.d (enforce)";

fn armored(name: &str, of_pod: Value, of_container: Value) -> Value {
    let main = with(shell("main", IDLE), json!({ "securityContext": of_container }));
    pod(name, json!({ "securityContext": of_pod, "containers": [main] }))
}

fn profile(kind: &str) -> Value {
    json!({ "appArmorProfile": { "type": kind } })
}

fn local(name: &str) -> Value {
    json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": name } })
}

fn load(node: &Node, text: &str) {
    let file = node.instance.dir().join("profile");
    fs::write(&file, text).unwrap();
    run(&["apparmor_parser", "--replace", "--skip-cache", &file.to_string_lossy()]);
}

#[test]
fn profiles_confine_containers_and_one_that_is_not_loaded_stops_its_container() {
    if !is_guest() {
        return lab::skip("this is no guest machine, and its kernel may have no AppArmor");
    }
    let mut node = Node::prepared();
    load(&node, NO_SECRET);
    node.start();
    node.put(&armored("unasked", json!({}), json!({})));
    node.put(&armored("default", profile("RuntimeDefault"), json!({})));
    node.put(&armored("free", profile("RuntimeDefault"), profile("Unconfined")));
    node.put(&armored("almighty", json!({}), json!({ "privileged": true })));
    node.put(&armored("local", profile("Unconfined"), local("podwright-no-secret")));
    node.put(&armored("absent", json!({}), local("podwright-absent")));
    for (name, want) in [
        ("unasked", DEFAULT),
        ("default", DEFAULT),
        ("free", "unconfined"),
        ("almighty", "unconfined"),
        ("local", "podwright-no-secret (enforce)"),
    ] {
        node.until(name, "Ready", LATER, lab::agent::is_ready);
        assert_eq!(node.cri.sh(name, "main", "cat /proc/1/attr/current").trim(), want, "{name}");
    }
    let (said, denied) = node.cri.sh_any("local", "main", "touch /tmp/secret");
    assert!(denied != 0 && said.contains("Permission denied"), "{denied} {said}");
    node.cri.sh("local", "main", "touch /tmp/other");

    let waiting = node.waiting("absent", "CreateContainerError");
    let message = waiting["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("podwright-absent"), "{message}");
    assert!(node.cri.containers("absent").is_empty(), "nothing weaker takes its place");
}
