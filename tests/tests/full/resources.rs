//! Requests and limits become cgroup values of the container, the pod and its QoS class.

use core_types::runtime::ContainerState;
use serde_json::{Value, json};
use tests::{
    Node, SOON,
    cgroup::{Limits, dir, limits},
    eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime::pid_of,
    status,
};

const MIB: u64 = 1 << 20;

fn sized(name: &str, requests: Value, limits: Value) -> Value {
    with(shell(name, IDLE), json!({ "resources": { "requests": requests, "limits": limits } }))
}

#[test]
fn requests_and_limits_become_cgroup_values() {
    let mut node = Node::started();
    let guaranteed = json!({ "cpu": "250m", "memory": "64Mi" });
    let spec = json!({ "containers": [sized("a", guaranteed.clone(), guaranteed.clone()), sized("b", json!({}), guaranteed)] });
    node.put(&pod("guaranteed", spec));
    let spec = json!({ "containers": [
        sized("a", json!({ "cpu": "100m", "memory": "16Mi" }), json!({ "cpu": "500m", "memory": "32Mi" })),
        sized("b", json!({ "cpu": "300m" }), json!({})),
    ] });
    node.put(&pod("burstable", spec));
    node.put(&pod("best", json!({ "containers": [shell("a", IDLE)] })));
    let [guaranteed, burstable, best] = ["guaranteed", "burstable", "best"].map(|name| node.ready(name));
    for (pod, class) in [(&guaranteed, "Guaranteed"), (&burstable, "Burstable"), (&best, "BestEffort")] {
        assert_eq!(pod["status"]["qosClass"], class);
    }
    let value = |cpu_shares: u64, cpu_quota_us: Option<u64>, memory_mib: Option<u64>| Limits {
        cpu_shares,
        cpu_quota_us,
        memory_bytes: memory_mib.map(|mib| mib * MIB),
    };
    let of_pod = |class: &str, pod: &Value| format!("kubepods{class}/pod{}", status::uid(pod));
    let of_container = |class: &str, pod: &Value, name: &str| {
        format!("{}/{}", of_pod(class, pod), status::id(&status::container(pod, name)))
    };
    for (path, want) in [
        (of_pod("", &guaranteed), value(512, Some(50_000), Some(128))),
        (of_container("", &guaranteed, "a"), value(256, Some(25_000), Some(64))),
        (of_container("", &guaranteed, "b"), value(256, Some(25_000), Some(64))),
        (of_pod("/burstable", &burstable), value(409, None, None)),
        (of_container("/burstable", &burstable, "a"), value(102, Some(50_000), Some(32))),
        (of_container("/burstable", &burstable, "b"), value(307, None, None)),
        (of_pod("/besteffort", &best), value(2, None, None)),
        (of_container("/besteffort", &best, "a"), value(2, None, None)),
    ] {
        assert_eq!(limits(&node.instance, &path), want, "{path}");
    }
    assert_eq!(limits(&node.instance, "kubepods/besteffort").cpu_shares, 2);
    // The class follows its pods within a minute, upstream's interval.
    tests::eventually("the burstable class to get its pods' shares", tests::LATER, || {
        let seen = limits(&node.instance, "kubepods/burstable").cpu_shares;
        if seen == 409 { Ok(()) } else { Err(format!("{seen}")) }
    });
    let process = pid_of(node.instance.containerd(), &node.cri.running("best", "a").id);
    let adjustment = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
    assert_eq!(adjustment.trim(), "1000");
    for name in ["guaranteed", "burstable", "best"] {
        node.take(name);
    }
    for (name, path) in [
        ("guaranteed", of_pod("", &guaranteed)),
        ("burstable", of_pod("/burstable", &burstable)),
        ("best", of_pod("/besteffort", &best)),
    ] {
        node.gone(name);
        for controller in ["cpu", "memory"] {
            let dir = dir(&node.instance, controller, &path);
            eventually_true(&format!("{} to go", dir.display()), SOON, || !dir.exists());
        }
    }
    eventually_true("the burstable class to have no shares of pods that are gone", SOON, || {
        limits(&node.instance, "kubepods/burstable").cpu_shares == 2
    });
}

#[test]
fn resources_of_the_pod_as_a_whole_and_overhead_become_cgroup_values() {
    let mut node = Node::started();
    let whole = json!({ "requests": { "cpu": "300m", "memory": "64Mi" }, "limits": { "cpu": "500m", "memory": "96Mi" } });
    let spec = json!({
        "resources": whole, "overhead": { "cpu": "50m", "memory": "8Mi" },
        "containers": [
            sized("own", json!({ "cpu": "100m" }), json!({ "cpu": "200m", "memory": "32Mi" })),
            sized("shared", json!({}), json!({})),
        ],
    });
    node.put(&pod("whole", spec));
    let same = json!({ "cpu": "200m", "memory": "32Mi" });
    let spec =
        json!({ "resources": { "requests": same, "limits": same }, "containers": [shell("main", IDLE)] });
    node.put(&pod("level", spec));
    let (whole, level) = (node.ready("whole"), node.ready("level"));
    assert_eq!(whole["status"]["qosClass"], "Burstable");
    assert_eq!(level["status"]["qosClass"], "Guaranteed");
    let value = |cpu_shares: u64, cpu_quota_us: u64, memory_mib: u64| Limits {
        cpu_shares,
        cpu_quota_us: Some(cpu_quota_us),
        memory_bytes: Some(memory_mib * MIB),
    };
    let (of_whole, of_level) = (
        format!("kubepods/burstable/pod{}", status::uid(&whole)),
        format!("kubepods/pod{}", status::uid(&level)),
    );
    let container =
        |path: &str, pod: &Value, name: &str| format!("{path}/{}", status::id(&status::container(pod, name)));
    for (path, want) in [
        (of_whole.clone(), value(358, 55_000, 104)),
        (container(&of_whole, &whole, "own"), value(102, 20_000, 32)),
        // A container without limits of its own has the pod's; without a request its shares are those of the limit.
        (container(&of_whole, &whole, "shared"), value(512, 50_000, 96)),
        (of_level.clone(), value(204, 20_000, 32)),
        (container(&of_level, &level, "main"), value(204, 20_000, 32)),
    ] {
        assert_eq!(limits(&node.instance, &path), want, "{path}");
    }
}

#[test]
fn a_runtime_class_has_no_effect_without_an_api_server_and_that_is_told() {
    let mut node = Node::started();
    node.put(&pod("classy", json!({ "runtimeClassName": "kata", "containers": [shell("main", IDLE)] })));
    node.ready("classy");
    node.logged(0, &["runtimeClassName", "kata", "no effect without an API server"]);
}

#[test]
fn a_container_over_its_memory_limit_is_killed_and_says_so() {
    let mut node = Node::started();
    let limit = json!({ "memory": "16Mi" });
    let hungry = with(shell("main", "tail -c 100m /dev/zero"), json!({ "resources": { "limits": limit } }));
    node.put(&pod("hungry", json!({ "restartPolicy": "Never", "containers": [hungry] })));
    let ended = status::only(&node.phase("hungry", "Failed"))["state"]["terminated"].clone();
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{ended}");
    assert!(node.cri.containers("hungry").iter().all(|c| c.state == ContainerState::Exited));
}
