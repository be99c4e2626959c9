//! A node that runs short: the right pod goes, the others live, the condition comes and goes.

use std::{path::PathBuf, process::Command};

use core_types::runtime::ContainerState;
use serde_json::{Value, json};
use tests::{
    LATER, Node, eventually,
    manifest::{IDLE, pod, shell, with},
    status,
};

/// The size of the file system that holds the root directory.
const DISK_MIB: u64 = 96;
/// So much of the memory of the machine is left to pods.
const PODS_MIB: i64 = 600;

/// A small file system on the root directory of a node.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(node: &Node) -> Self {
        let dir = node.agent.root_dir();
        let options = format!("size={DISK_MIB}m,nr_inodes=4000");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir).status();
        assert!(mounted.unwrap().success(), "a tmpfs on {}", dir.display());
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mem_total_mib() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap() / 1024
}

/// How many more tasks the machine can have.
fn tasks_left() -> u64 {
    let number = |path: &str| std::fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap();
    let max = number("/proc/sys/kernel/pid_max").min(number("/proc/sys/kernel/threads-max"));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let tasks = load.split_whitespace().nth(3).unwrap().split_once('/').unwrap().1;
    max - tasks.parse::<u64>().unwrap()
}

/// A pod that asks for little memory, with a volume `data` at `/data`.
fn with_volume(name: &str, script: &str, volume: Value) -> Value {
    let main = with(
        shell("main", script),
        json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }], "resources": { "requests": { "memory": "8Mi" } } }),
    );
    pod(name, json!({ "containers": [main], "volumes": [{ "name": "data", "emptyDir": volume }] }))
}

fn outlook(node: &Node) -> Value {
    node.podwright().run(&["evict", "--dry-run", "--output=json"]).json()
}

/// Starts a pod as a person would.
#[track_caller]
fn run(node: &Node, pod: &Value) {
    node.podwright().run_with(&["run", "--no-wait", "-"], &pod.to_string()).ok();
}

/// Waits until a pod was evicted, and gives its message.
#[track_caller]
fn evicted(node: &mut Node, name: &str) -> String {
    let pod = node.until(name, "evicted", LATER, |pod| pod["status"]["reason"] == "Evicted");
    assert_eq!(pod["status"]["phase"], "Failed", "{pod}");
    pod["status"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_right_pods_go_when_the_node_runs_short_and_the_others_live() {
    let mut node = Node::prepared();
    let config = &mut node.agent.config;
    config["systemReserved"] = json!({ "memory": format!("{}Mi", mem_total_mib() - PODS_MIB) });
    config["evictionHard"] = json!({
        "memory.available": "150Mi", "nodefs.available": "40Mi", "nodefs.inodesFree": "1500",
        "pid.available": (tasks_left() - 900).to_string(),
    });
    config["evictionPressureTransitionPeriod"] = json!("12s");
    config["volumeStatsAggPeriod"] = json!("1s");
    let _disk = SmallDisk::on(&node);
    node.start();

    node.put(&with_volume("static", &format!("head -c 3m /dev/zero > /data/x; {IDLE}"), json!({})));
    run(&node, &with_volume("quiet", IDLE, json!({})));
    let quiet = status::only(&node.ready("quiet"))["containerID"].clone();
    node.ready("static");
    let rest = outlook(&node);
    assert_eq!(rest["pressures"], json!({ "memory": false, "disk": false, "pid": false }), "{rest}");

    // One after the other needs the node's attention, each for another reason.
    run(
        &node,
        &with_volume(
            "beyond",
            &format!("head -c 8m /dev/zero > /data/x; {IDLE}"),
            json!({ "sizeLimit": "5Mi" }),
        ),
    );
    run(&node, &with_volume("filler", &format!("head -c 60m /dev/zero > /data/x; {IDLE}"), json!({})));
    assert_eq!(evicted(&mut node, "beyond"), "Usage of EmptyDir volume \"data\" exceeds the limit \"5Mi\". ");
    let message = evicted(&mut node, "filler");
    let begin = "The node was low on resource: ephemeral-storage. Threshold quantity: 40Mi, available: ";
    assert!(message.starts_with(begin), "{message}");
    let inodes = "i=0; while [ $i -lt 3000 ]; do : > /data/$i; i=$((i+1)); done";
    run(&node, &with_volume("inodes", &format!("{inodes}; {IDLE}"), json!({})));
    let message = evicted(&mut node, "inodes");
    assert!(
        message.starts_with("The node was low on resource: inodes. Threshold quantity: 1500,"),
        "{message}"
    );
    let hog = "head -c 500m /dev/zero | tail -c 500m | sleep 100000";
    run(&node, &pod("hog", json!({ "containers": [shell("main", hog)] })));
    let message = evicted(&mut node, "hog");
    let begin = "The node was low on resource: memory. Threshold quantity: 150Mi, available: ";
    assert!(message.starts_with(begin) && message.contains("Container main was using "), "{message}");
    let bomb = "i=0; while [ $i -lt 1500 ]; do sleep 100000 & i=$((i+1)); done; wait";
    run(&node, &pod("bomb", json!({ "containers": [shell("main", bomb)] })));
    let message = evicted(&mut node, "bomb");
    assert!(message.starts_with("The node was low on resource: pids. "), "{message}");

    what_is_told(&node);
    for name in ["quiet", "static"] {
        let pod = node.ready(name);
        assert_eq!(status::restarts(&pod), 0, "{pod}");
    }
    assert_eq!(status::only(&node.ready("quiet"))["containerID"], quiet);
    eventually("the conditions to go", LATER, || {
        let now = outlook(&node)["pressures"].clone();
        let none = json!({ "memory": false, "disk": false, "pid": false });
        if now == none { Ok(()) } else { Err(now.to_string()) }
    });
    let running = node.cri.all_containers().iter().filter(|c| c.state == ContainerState::Running).count();
    assert_eq!(running, 2, "only the two that kept to what they asked for run");
}

/// Events, records and metrics of what happened.
#[track_caller]
fn what_is_told(node: &Node) {
    let why = node.podwright().run(&["why", "filler", "--output=json"]).json();
    assert_eq!(why["eviction"]["signal"], "nodefs.available", "{why}");
    assert_eq!(why["eviction"]["order"][0]["key"]["name"], "filler", "{why}");
    let screen = node.podwright().run(&["why", "filler"]).ok();
    assert!(screen.contains("pods were to go in this order:"), "{screen}");
    let events = node.podwright().run(&["events"]).ok();
    for part in ["EvictionThresholdMet", "Attempting to reclaim memory", "Evicted", "NodeAllocatableEnforced"]
    {
        assert!(events.contains(part), "{part} in {events}");
    }
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    for signal in ["nodefs.available", "nodefs.inodesFree", "pid.available", "emptydirfs.limit"] {
        let line = format!("kubelet_evictions{{eviction_signal=\"{signal}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    let screen = node.podwright().run(&["evict", "--dry-run"]).ok();
    assert!(screen.contains("Never: default/static-podwright-lab"), "{screen}");
}
