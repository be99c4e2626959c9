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

/// A limit: its property as systemd says it, and the controller, file and content of the pod's cgroup.
struct Limit {
    property: &'static str,
    said: &'static str,
    controller: &'static str,
    file: &'static str,
    content: &'static str,
}

/// The limits that the pod of the test has.
fn limits() -> [Limit; 4] {
    let limit =
        |property, said, controller, file, content| Limit { property, said, controller, file, content };
    if is_version_2() {
        return [
            limit("MemoryMax", "67108864", "memory", "memory.max", "67108864"),
            limit("TasksMax", "321", "pids", "pids.max", "321"),
            limit("CPUWeight", "10", "cpu", "cpu.weight", "10"),
            limit("CPUQuotaPerSecUSec", "500ms", "cpu", "cpu.max", "50000 100000"),
        ];
    }
    [
        limit("MemoryLimit", "67108864", "memory", "memory.limit_in_bytes", "67108864"),
        limit("TasksMax", "321", "pids", "pids.max", "321"),
        limit("CPUShares", "256", "cpu", "cpu.shares", "256"),
        limit("CPUQuotaPerSecUSec", "500ms", "cpu", "cpu.cfs_quota_us", "50000"),
    ]
}

#[test]
fn pods_are_slices_that_systemd_knows_with_their_limits() {
    if !Path::new("/run/systemd/system").is_dir() {
        return lab::skip("systemd does not run this machine");
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
    let path = format!("{root}-kubepods.slice/{class}.slice/{unit}");
    let dir = |controller: &str| cgroup::dir(&node.instance, controller, &path);
    let assert_limits = || {
        for limit in limits() {
            assert_eq!(property(&unit, limit.property), limit.said, "{} as systemd says it", limit.property);
            assert_eq!(read(&dir(limit.controller), limit.file), limit.content, "{}", limit.file);
        }
    };
    assert_limits();
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Slice"), format!("{class}.slice"));

    let id = status::id(&status::only(&pod));
    if is_version_2() {
        let scope = dir("memory").join(format!("cri-containerd-{id}.scope"));
        assert_eq!(read(&scope, "memory.oom.group"), "1", "what has no property is set too");
    }
    let process = pid_of(node.instance.containerd(), &node.cri.running("sliced", "main").id);
    let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let place = format!("{unit}/cri-containerd-{id}.scope");
    let of_memory = cgroup.lines().find(|line| is_version_2() || line.contains(":memory:"));
    assert!(of_memory.is_some_and(|line| line.ends_with(&place)), "{cgroup}");

    // What systemd writes anew is what was set.
    run(&["systemctl", "daemon-reload"]);
    assert_limits();
    let of_pod = limits().map(|limit| dir(limit.controller));

    node.crash();
    assert_eq!(status::restarts(&node.ready("sliced")), 0, "it is found again");
    node.take("sliced");
    node.gone("sliced");
    eventually_true("the pod's slice to go", SOON, || of_pod.iter().all(|dir| !dir.exists()));
    eventually_true("systemd to know it no more", SOON, || property(&unit, "ActiveState") == "inactive");
}
