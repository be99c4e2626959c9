//! Pods get other sizes while they run, and restart only where their resize policy asks for it.

use std::fs;

use serde_json::{Value, json};
use tests::{
    Node, SOON,
    cgroup::{Limits, limits},
    eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    status,
};

const MIB: u64 = 1 << 20;
/// Exit codes of `podwright`.
const FAILED: i32 = 1;
const TIMEOUT: i32 = 3;

fn sized(cpu: &str, memory: &str, limit_cpu: &str, limit_memory: &str) -> Value {
    json!({
        "requests": { "cpu": cpu, "memory": memory },
        "limits": { "cpu": limit_cpu, "memory": limit_memory },
    })
}

fn one(name: &str, script: &str, more: Value) -> Value {
    pod(name, json!({ "containers": [with(shell("main", script), more)] }))
}

fn value(cpu_shares: u64, cpu_quota_us: u64, memory_mib: u64) -> Limits {
    Limits { cpu_shares, cpu_quota_us: Some(cpu_quota_us), memory_bytes: Some(memory_mib * MIB) }
}

/// Limits of the pod's cgroup and of its container `main`.
fn limits_of(node: &Node, pod: &Value) -> [Limits; 2] {
    let dir = format!("kubepods/burstable/pod{}", status::uid(pod));
    let main = format!("{dir}/{}", status::id(&status::container(pod, "main")));
    [limits(&node.instance, &dir), limits(&node.instance, &main)]
}

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn is_settled(pod: &Value) -> bool {
    condition(pod, "PodResizePending").is_none() && condition(pod, "PodResizeInProgress").is_none()
}

#[test]
fn a_pod_is_resized_without_a_restart_and_says_so() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let manifest = one("web", IDLE, json!({ "resources": sized("100m", "32Mi", "200m", "64Mi") }));
    podwright.run_with(&["run", "-"], &manifest.to_string()).ok();
    let before = node.ready("web");
    assert_eq!(limits_of(&node, &before), [value(102, 20_000, 64), value(102, 20_000, 64)]);
    assert_eq!(before["status"]["observedGeneration"], 1);

    let said = podwright.run(&["resize", "web", "--cpu", "300m", "--memory-limit", "128Mi"]).ok();
    assert!(said.contains("pod default/web resized"), "{said}");
    let after = node.pod("web");
    assert_eq!(status::uid(&after), status::uid(&before), "it is the same pod");
    let (old, new) = (status::only(&before), status::only(&after));
    assert_eq!((&old["containerID"], &new["restartCount"]), (&new["containerID"], &json!(0)));
    assert_eq!(limits_of(&node, &after), [value(307, 30_000, 128), value(307, 30_000, 128)]);
    assert_eq!(new["resources"], sized("300m", "32Mi", "300m", "128Mi"));
    assert_eq!(new["allocatedResources"], json!({ "cpu": "300m", "memory": "32Mi" }));
    assert_eq!(after["status"]["observedGeneration"], 2);
    assert_eq!(after["status"]["allocatedResources"]["cpu"], "300m");
    assert!(is_settled(&after), "{after}");
    for (reason, text) in
        [("ResizeStarted", "Pod resize started: "), ("ResizeCompleted", "Pod resize completed: ")]
    {
        node.logged(0, &[reason, text, "\\\"generation\\\":2"]);
    }
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    for line in [
        "kubelet_container_requested_resizes_total{operation=\"increase\",requirement=\"limits\",resource=\"memory\"} 1",
        "kubelet_pod_resize_duration_milliseconds_count{success=\"true\"} 1",
        "kubelet_pod_in_progress_resizes 0",
    ] {
        let parts: Vec<&str> = line.split(['{', '}', ',']).collect();
        let found = metrics.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no {line}");
    }

    // The manifest of old again: only sizes differ, so the pod goes back to them where it stands.
    let said = podwright.run_with(&["run", "-"], &manifest.to_string()).ok();
    assert!(said.contains("default/web resized"), "{said}");
    let back = node.until("web", "its old size", SOON, |pod| {
        is_settled(pod) && status::only(pod)["resources"] == sized("100m", "32Mi", "200m", "64Mi")
    });
    assert_eq!(status::only(&back)["containerID"], old["containerID"]);
    assert_eq!(limits_of(&node, &back), [value(102, 20_000, 64), value(102, 20_000, 64)]);
    let said = podwright.run_with(&["run", "-"], &manifest.to_string()).ok();
    assert!(said.contains("default/web unchanged"), "{said}");
}

#[test]
fn a_resize_policy_restarts_the_container_and_only_for_its_resource() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let policy = json!([{ "resourceName": "memory", "restartPolicy": "RestartContainer" }]);
    let more = json!({ "resources": sized("100m", "32Mi", "200m", "64Mi"), "resizePolicy": policy });
    podwright.run_with(&["run", "-"], &one("web", IDLE, more).to_string()).ok();
    podwright.run(&["resize", "web", "--cpu", "150m"]).ok();
    let pod = node.pod("web");
    assert_eq!(status::restarts(&pod), 0);
    assert_eq!(limits_of(&node, &pod), [value(153, 15_000, 64), value(153, 15_000, 64)]);
    podwright.run(&["resize", "web", "--memory-limit", "96Mi"]).ok();
    let pod = node.until("web", "a restart", SOON, |pod| {
        lab::agent::is_ready(pod) && status::restarts(pod) == 1 && is_settled(pod)
    });
    assert_eq!(limits_of(&node, &pod), [value(153, 15_000, 96), value(153, 15_000, 96)]);
    node.logged(0, &["Container main resize requires restart"]);
}

#[test]
fn the_resources_of_the_pod_as_a_whole_are_resized() {
    let node = Node::started();
    let podwright = node.podwright();
    let whole = sized("100m", "32Mi", "200m", "64Mi");
    let manifest = pod("web", json!({ "resources": whole, "containers": [shell("main", IDLE)] }));
    podwright.run_with(&["run", "-"], &manifest.to_string()).ok();
    podwright.run(&["resize", "web", "--whole", "--cpu-limit", "400m", "--memory", "128Mi"]).ok();
    let pod = node.pod("web");
    assert_eq!(status::restarts(&pod), 0);
    assert_eq!(limits_of(&node, &pod), [value(102, 40_000, 128), value(409, 40_000, 128)]);
}

#[test]
fn a_resize_without_room_waits_and_one_below_what_is_used_is_an_error() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let fill = format!("dd if=/dev/zero of=/dev/shm/full bs=1M count=40; {IDLE}");
    let more = json!({ "resources": sized("100m", "16Mi", "200m", "96Mi") });
    podwright.run_with(&["run", "-"], &one("web", &fill, more).to_string()).ok();
    let before = node.ready("web");

    let said =
        podwright.run(&["resize", "web", "--cpu-request", "900", "--cpu-limit", "1000", "--timeout", "2s"]);
    assert_eq!(said.code, TIMEOUT, "{said:?}");
    assert!(
        said.err.contains("Deferred") && said.err.contains("Node didn't have enough resource: cpu"),
        "{said:?}"
    );
    let pod = node.pod("web");
    let pending = condition(&pod, "PodResizePending").unwrap();
    assert_eq!((&pending["reason"], &pending["observedGeneration"]), (&json!("Deferred"), &json!(2)));
    assert_eq!(status::only(&pod)["allocatedResources"]["cpu"], "100m", "it keeps what it has");
    let why = podwright.run(&["why", "web"]).ok();
    assert!(why.contains("the new sizes wait: Node didn't have enough resource: cpu"), "{why}");
    podwright.run(&["resize", "web", "--cpu-request", "100m", "--cpu-limit", "200m"]).ok();
    assert!(is_settled(&node.pod("web")));

    let shm = || node.cri.sh("web", "main", "du -sm /dev/shm | cut -f1");
    eventually("the container to use its memory", SOON, || match shm().trim().parse::<u64>() {
        Ok(40..) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let said = podwright.run(&["resize", "web", "--memory-limit", "24Mi", "--timeout", "5s"]);
    assert_eq!(said.code, TIMEOUT, "{said:?}");
    let pod = node.pod("web");
    let progress = condition(&pod, "PodResizeInProgress").unwrap();
    assert_eq!(progress["reason"], "Error");
    let message = progress["message"].as_str().unwrap();
    assert!(message.starts_with("cannot decrease memory limits: "), "{message}");
    assert!(message.contains(&format!("memory limit ({}) below current usage", 24 * MIB)), "{message}");
    assert_eq!(
        limits_of(&node, &pod),
        [value(102, 20_000, 96), value(102, 20_000, 96)],
        "nothing was touched"
    );
    node.cri.sh("web", "main", "rm /dev/shm/full");
    let pod = node.until("web", "the smaller size", SOON, is_settled);
    assert_eq!(limits_of(&node, &pod), [value(102, 20_000, 24), value(102, 20_000, 24)]);
    assert_eq!(status::only(&pod)["containerID"], status::only(&before)["containerID"]);

    let said = podwright.run(&["resize", "web", "--cpu", "100m", "--memory", "24Mi"]);
    assert_eq!(said.code, FAILED, "{said:?}");
    assert!(said.err.contains("Pod QOS Class may not change as a result of resizing"), "{said:?}");
}

#[test]
fn what_changed_while_the_agent_was_away_is_resized_and_what_it_knew_is_kept() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let more = json!({ "resources": sized("100m", "32Mi", "200m", "64Mi") });
    podwright.run_with(&["run", "-"], &one("web", IDLE, more).to_string()).ok();
    let before = node.ready("web");
    let root = node.agent.root_dir();
    let allocated = root.join("allocated_pods_state");
    eventually_true("the checkpoint to be written", SOON, || {
        fs::read_to_string(&allocated).is_ok_and(|text| text.contains(&status::uid(&before)))
    });

    node.agent.kill().unwrap();
    let file = root.join("podwright/manifests/default_web.json");
    let mut stored: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    stored["spec"]["containers"][0]["resources"] = sized("300m", "32Mi", "600m", "128Mi");
    fs::write(&file, stored.to_string()).unwrap();
    node.start();
    let pod = node.until("web", "its new size", SOON, |pod| {
        let ready = lab::agent::is_ready(pod) && is_settled(pod);
        ready && status::only(pod)["resources"]["limits"]["cpu"] == "600m"
    });
    assert_eq!(status::only(&pod)["containerID"], status::only(&before)["containerID"]);
    assert_eq!(limits_of(&node, &pod), [value(307, 60_000, 128), value(307, 60_000, 128)]);

    // A file that somebody spoilt is set aside: the pod keeps what it has.
    let has_new_size = || fs::read_to_string(&allocated).is_ok_and(|text| text.contains("300m"));
    eventually_true("the checkpoint to follow", SOON, has_new_size);
    node.agent.kill().unwrap();
    let text = fs::read_to_string(&allocated).unwrap();
    fs::write(&allocated, text.replace("300m", "301m")).unwrap();
    let mark = node.log_mark();
    node.start();
    node.logged(mark, &["allocated_pods_state", "set aside", "checkpoint is corrupted"]);
    let pod = node.until("web", "ready again", SOON, |pod| lab::agent::is_ready(pod) && is_settled(pod));
    assert_eq!(status::only(&pod)["containerID"], status::only(&before)["containerID"]);
    assert_eq!(limits_of(&node, &pod), [value(307, 60_000, 128), value(307, 60_000, 128)]);
    assert!(root.join("allocated_pods_state.corrupt").exists());
    eventually_true("a sound checkpoint", SOON, has_new_size);
}
