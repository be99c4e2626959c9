//! Cgroups of the machine's daemons are held to what is reserved for them.

use std::fs;

use serde_json::json;
use tests::{
    LATER, Node,
    cgroup::{self, Limits},
    eventually, manifest,
};

/// Hierarchies in which a cgroup of daemons must be.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "systemd"];

fn make(node: &Node, name: &str) {
    for controller in CONTROLLERS {
        let dir = cgroup::dir(&node.instance, controller, name);
        // Of a version 2 machine all are one.
        fs::create_dir_all(dir).unwrap();
    }
}

fn events(node: &Node) -> String {
    node.podwright().run(&["events"]).ok()
}

#[test]
fn daemons_are_held_to_what_is_reserved_for_them() {
    let mut node = Node::prepared();
    let root = node.instance.cgroups().path();
    make(&node, "system");
    let before = cgroup::limits(&node.instance, "system");
    assert_eq!(before.memory_bytes, None);
    let config = &mut node.agent.config;
    config["enforceNodeAllocatable"] = json!(["pods", "system-reserved", "kube-reserved-compressible"]);
    config["systemReserved"] = json!({ "cpu": "250m", "memory": "64Mi", "pid": "500" });
    config["systemReservedCgroup"] = json!(format!("{root}/system"));
    config["kubeReserved"] = json!({ "cpu": "500m", "memory": "32Mi" });
    config["kubeReservedCgroup"] = json!(format!("{root}/kube"));
    node.start();
    let limits = eventually("the limits of the system", LATER, || {
        let limits = cgroup::limits(&node.instance, "system");
        if limits.memory_bytes.is_some() { Ok(limits) } else { Err(format!("{limits:?}")) }
    });
    assert_eq!(limits.memory_bytes, Some(64 << 20));
    // Version 2 has weights, which do not hold every number of shares.
    assert!((250..=264).contains(&limits.cpu_shares), "{limits:?}");
    let pids = fs::read_to_string(cgroup::dir(&node.instance, "pids", "system").join("pids.max")).unwrap();
    assert_eq!(pids.trim(), "500");
    let kube = format!("Failed to enforce Kube Reserved Cgroup Limits on \"{root}/kube\"");
    eventually("the missing cgroup to be told", LATER, || {
        let events = events(&node);
        let told = events.contains(&kube) && events.contains("Updated limits on system reserved cgroup");
        if told { Ok(()) } else { Err(events) }
    });

    node.put(&manifest::idle("runs"));
    node.ready("runs");
    make(&node, "kube");
    let limits = eventually("the limits of the kubelet's own", LATER, || {
        let limits = cgroup::limits(&node.instance, "kube");
        if (500..=520).contains(&limits.cpu_shares) { Ok(limits) } else { Err(format!("{limits:?}")) }
    });
    let Limits { memory_bytes, .. } = limits;
    assert_eq!(memory_bytes, None, "only what can be shared is held");
    node.ready("runs");
}
