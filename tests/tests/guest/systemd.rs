//! Pods whose cgroups are slices of systemd, made over its real bus.

use std::{fs, path::Path};

use lab::CgroupDriver;
use serde_json::json;
use tests::{
    Node, SOON, cgroup, eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime::pid_of,
    status,
};

use crate::{is_version_2, read, run};

/// What systemd says of a property of a unit.
fn property(unit: &str, name: &str) -> String {
    run(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
}

#[test]
fn pods_are_slices_that_systemd_knows_with_their_limits() {
    if !is_version_2() || !Path::new("/run/systemd/system").is_dir() {
        return lab::skip("systemd does not run this machine, or with cgroup version 1");
    }
    let mut node = Node::prepared_with(CgroupDriver::Systemd);
    node.agent.config["podPidsLimit"] = json!(321);
    node.start();
    let resources = json!({ "requests": { "cpu": "250m" }, "limits": { "cpu": "500m", "memory": "64Mi" } });
    let main = with(shell("main", IDLE), json!({ "resources": resources }));
    node.put(&pod("sliced", json!({ "containers": [main] })));
    let pod = node.ready("sliced");

    let root = node.instance.cgroups().path().trim_start_matches('/').replace('-', "_");
    let class = format!("{root}-kubepods-burstable");
    let unit = format!("{class}-pod{}.slice", status::uid(&pod).replace('-', "_"));
    let dir = format!("{root}-kubepods.slice/{class}.slice/{unit}");
    let dir = cgroup::dir(&node.instance, "memory", &dir);
    for (name, file, told, want) in [
        ("MemoryMax", "memory.max", "67108864", "67108864"),
        ("TasksMax", "pids.max", "321", "321"),
        ("CPUWeight", "cpu.weight", "10", "10"),
        ("CPUQuotaPerSecUSec", "cpu.max", "500ms", "50000 100000"),
    ] {
        assert_eq!(property(&unit, name), told, "{name} as systemd says it");
        assert_eq!(read(&dir, file), want, "{file}");
    }
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Slice"), format!("{class}.slice"));

    let id = status::id(&status::only(&pod));
    let scope = dir.join(format!("cri-containerd-{id}.scope"));
    assert_eq!(read(&scope, "memory.oom.group"), "1", "what has no property is set too");
    let process = pid_of(node.instance.containerd(), &node.cri.running("sliced", "main").id);
    let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    assert!(cgroup.trim().ends_with(&format!("{unit}/cri-containerd-{id}.scope")), "{cgroup}");

    // What systemd writes anew is what was set.
    run(&["systemctl", "daemon-reload"]);
    assert_eq!((read(&dir, "memory.max"), read(&dir, "pids.max")), ("67108864".into(), "321".into()));

    node.crash();
    assert_eq!(status::restarts(&node.ready("sliced")), 0, "it is found again");
    node.take("sliced");
    node.gone("sliced");
    eventually_true("the pod's slice to go", SOON, || !dir.exists());
    eventually_true("systemd to know it no more", SOON, || property(&unit, "ActiveState") == "inactive");
}
