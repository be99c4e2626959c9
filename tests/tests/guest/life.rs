//! A pod's whole life on cgroup version 2, as the kernel's own files show it.

use std::path::Path;

use core_types::runtime::ContainerState;
use serde_json::{Value, json};
use tests::{
    Node, SOON, cgroup, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    status,
};

use crate::{is_version_2, read};

/// Uses more memory than the container has when it is told to, and says so when only the process that did was killed.
const HOG: &str = "until test -e /tmp/go; do sleep 0.1; done; \
    head -c 200m /dev/zero | tail -c 200m >/dev/null; echo survived; sleep 100000";

/// The number of `name` in a file of names and numbers.
fn count(dir: &Path, file: &str, name: &str) -> u64 {
    let text = read(dir, file);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {file}: {text}")).parse().unwrap()
}

fn hungry_pod() -> Value {
    let sized = |name, script, resources: Value| with(shell(name, script), json!({ "resources": resources }));
    let hog = json!({ "requests": { "cpu": "250m" }, "limits": { "cpu": "500m", "memory": "32Mi" } });
    let calm = json!({ "limits": { "cpu": "500m", "memory": "64Mi" } });
    let containers = [sized("hog", HOG, hog), sized("calm", IDLE, calm)];
    pod("hungry", json!({ "restartPolicy": "Never", "containers": containers }))
}

/// Pressure is there on the node and in the pod, as the summary shows it.
fn pressure_is_told(node: &Node, uid: &str) {
    eventually("the pressure of the node and the pod", SOON, || {
        let reply = node.agent.read_only("/stats/summary").map_err(|error| error.to_string())?;
        let summary: Value = serde_json::from_str(&reply.body).map_err(|error| error.to_string())?;
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let of_pod = pods.into_iter().find(|pod| pod["podRef"]["uid"] == uid).unwrap_or_default();
        let told = [&summary["node"], &of_pod]
            .iter()
            .all(|of| ["cpu", "memory", "io"].iter().all(|what| of[what]["psi"]["some"]["total"].is_u64()));
        if told { Ok(()) } else { Err(format!("{} {of_pod}", summary["node"])) }
    });
}

#[test]
fn a_pod_lives_from_its_start_to_the_kill_of_a_whole_container_and_its_end() {
    if !is_version_2() {
        return lab::skip("this machine has cgroup version 1");
    }
    let mut node = Node::prepared();
    node.agent.config["podPidsLimit"] = json!(321);
    node.start();
    node.put(&hungry_pod());
    let pod = node.ready("hungry");
    let uid = status::uid(&pod);
    let of_pod = cgroup::dir(&node.instance, "memory", &format!("kubepods/burstable/pod{uid}"));
    for (file, want) in [
        ("memory.max", (96 << 20).to_string()),
        ("cpu.max", "100000 100000".to_owned()),
        // 768 shares.
        ("cpu.weight", "30".to_owned()),
        ("pids.max", "321".to_owned()),
    ] {
        assert_eq!(read(&of_pod, file), want, "{file} of the pod");
    }
    let of_container = |name| of_pod.join(status::id(&status::container(&pod, name)));
    for (name, memory) in [("hog", 32 << 20), ("calm", 64 << 20)] {
        let dir = of_container(name);
        assert_eq!(read(&dir, "memory.oom.group"), "1", "{name}");
        assert_eq!(read(&dir, "memory.max"), memory.to_string(), "{name}");
        assert_eq!(read(&dir, "cpu.max"), "50000 100000", "{name}");
    }
    pressure_is_told(&node, &uid);

    node.cri.sh("hungry", "hog", "touch /tmp/go");
    let ended = node.until("hungry", "told of the kill", SOON, |pod| {
        status::container(pod, "hog")["state"]["terminated"].is_object()
    });
    let end = &status::container(&ended, "hog")["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{end}");
    assert!(status::container(&ended, "calm")["state"]["running"].is_object(), "{ended}");
    assert_eq!(count(&of_pod, "memory.events", "oom_group_kill"), 1);
    assert!(!of_container("hog").exists(), "its cgroup goes with it");
    assert!(!node.log_of("hungry", "hog").contains("survived"));
    eventually("the kills to be told", SOON, || {
        let events = node.podwright().run(&["events", "hungry"]).ok();
        let told = events.contains("OOMKilled") && events.contains("The kernel killed process");
        if told { Ok(()) } else { Err(events) }
    });

    node.take("hungry");
    node.gone("hungry");
    eventually_true("the pod's cgroup to go", SOON, || !of_pod.exists());
    assert!(node.cri.containers("hungry").iter().all(|c| c.state == ContainerState::Exited));
}
