//! Dead containers, and what is left of pods that nobody knows, go; what a person may still ask for stays.

use std::fs;

use core_types::runtime::ContainerState;
use serde_json::json;
use tests::{
    LATER, Node, SOON, eventually, eventually_true,
    manifest::{pod, shell},
    status,
};

#[test]
fn dead_containers_beyond_the_limit_and_logs_of_unknown_pods_go() {
    let mut node = Node::prepared();
    node.agent.flags = vec!["--maximum-dead-containers-per-container=2".to_owned()];
    node.agent.config["featureGates"] = json!({ "KubeletCrashLoopBackOffMax": true });
    node.agent.config["crashLoopBackOff"] = json!({ "maxContainerRestartPeriod": "1s" });
    let logs = node.agent.pod_logs_dir();
    let ghost = logs.join("default_ghost_4711");
    let foreign = logs.join("of-somebody-else");
    fs::create_dir_all(ghost.join("main")).unwrap();
    fs::create_dir_all(&foreign).unwrap();
    node.start();
    node.put(&pod("crashing", json!({ "containers": [shell("main", "echo once; exit 1")] })));

    let count =
        |pod: &_| status::containers(pod).iter().map(|c| c["restartCount"].as_i64().unwrap()).sum::<i64>();
    let crashed = node.until("crashing", "restarted three times", LATER, |pod| count(pod) >= 3);
    let dir = node.log_dir(&crashed).join("main");
    eventually("the oldest instance to go, with its log", LATER, || {
        let containers = node.cri.containers("crashing");
        let dead = containers.iter().filter(|c| c.state == ContainerState::Exited).count();
        let gone = !containers.iter().any(|c| c.attempt == 0) && !dir.join("0.log").exists();
        if gone && dead >= 1 { Ok(()) } else { Err(format!("{dead} dead, {containers:?}")) }
    });
    eventually_true("the youngest container to have its log", SOON, || {
        let newest = node.cri.containers("crashing").iter().map(|c| c.attempt).max().unwrap();
        dir.join(format!("{newest}.log")).exists()
    });
    let after = node.pod("crashing");
    assert!(count(&after) >= 3, "the count of restarts outlives what is removed: {after}");

    eventually_true("the logs of a pod that nobody knows to go", LATER, || !ghost.exists());
    assert!(foreign.exists(), "what no kubelet made stays");
}
