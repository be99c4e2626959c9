//! What pods ask for in the files of cgroup version 2: protected and throttled memory, and sizes that change in place.

use serde_json::{Value, json};
use tests::{
    HugePages, Node, cgroup,
    manifest::{IDLE, pod, shell, with},
    status,
};

use crate::{is_version_2, read};

const MIB: u64 = 1 << 20;

fn sized(name: &str, resources: Value) -> Value {
    let main = with(shell("main", IDLE), json!({ "resources": resources }));
    pod(name, json!({ "containers": [main] }))
}

/// A file of the cgroup of a pod and of that of its only container.
fn files(node: &Node, class: &str, pod: &Value, file: &str) -> [String; 2] {
    let of_pod = cgroup::dir(&node.instance, "memory", &format!("kubepods{class}/pod{}", status::uid(pod)));
    let of_container = of_pod.join(status::id(&status::only(pod)));
    [read(&of_pod, file), read(&of_container, file)]
}

#[test]
fn memory_is_protected_by_class_and_throttled_before_its_limit() {
    if !is_version_2() {
        return lab::skip("this machine has cgroup version 1");
    }
    let mut node = Node::prepared();
    node.agent.config["memoryReservationPolicy"] = json!("TieredReservation");
    node.agent.config["memoryThrottlingFactor"] = json!(0.5);
    node.start();
    let limits = json!({ "cpu": "100m", "memory": "64Mi" });
    node.put(&sized("guaranteed", json!({ "limits": limits })));
    node.put(&sized("burstable", json!({ "requests": { "memory": "32Mi" }, "limits": limits })));
    let (whole, half) = ((64 * MIB).to_string(), (32 * MIB).to_string());
    let none = || ["0".to_owned(), "0".to_owned()];

    let pod = node.ready("guaranteed");
    assert_eq!(files(&node, "", &pod, "memory.min"), [whole.clone(), whole]);
    assert_eq!(files(&node, "", &pod, "memory.low"), none());
    assert_eq!(files(&node, "", &pod, "memory.high"), ["max", "max"]);

    let pod = node.ready("burstable");
    assert_eq!(files(&node, "/burstable", &pod, "memory.min"), none());
    assert_eq!(files(&node, "/burstable", &pod, "memory.low"), [half.clone(), half]);
    let [_, high] = files(&node, "/burstable", &pod, "memory.high");
    assert_eq!(high, (48 * MIB).to_string(), "half way from the request to the limit");
}

#[test]
fn a_pod_is_resized_in_place() {
    if !is_version_2() {
        return lab::skip("this machine has cgroup version 1");
    }
    let mut node = Node::started();
    let podwright = node.podwright();
    let resources = json!({ "limits": { "cpu": "200m", "memory": "64Mi" }, "requests": { "cpu": "50m", "memory": "32Mi" } });
    podwright.run_with(&["run", "-"], &sized("web", resources).to_string()).ok();
    let before = node.ready("web");
    let in_force = |pod: &Value| {
        (files(&node, "/burstable", pod, "cpu.max"), files(&node, "/burstable", pod, "memory.max"))
    };
    let all = |cpu: &str, mib: u64| {
        let (cpu, memory) = (cpu.to_owned(), (mib * MIB).to_string());
        ([cpu.clone(), cpu], [memory.clone(), memory])
    };
    assert_eq!(in_force(&before), all("20000 100000", 64));
    for (cpu, memory, want) in
        [("300m", "128Mi", all("30000 100000", 128)), ("100m", "48Mi", all("10000 100000", 48))]
    {
        podwright.run(&["resize", "web", "--cpu-limit", cpu, "--memory-limit", memory]).ok();
        let after = node.pod("web");
        assert_eq!(in_force(&after), want);
        let (old, new) = (status::only(&before), status::only(&after));
        assert_eq!((&new["containerID"], &new["restartCount"]), (&old["containerID"], &json!(0)));
        assert_eq!(new["resources"]["limits"], json!({ "cpu": cpu, "memory": memory }));
    }
}

#[test]
fn a_container_uses_huge_pages_up_to_its_limit() {
    if !is_version_2() {
        return lab::skip("this machine has cgroup version 1");
    }
    let Some(pages) = HugePages::reserve(8) else {
        return lab::skip("the kernel cannot set 8 huge pages aside");
    };
    let mut node = Node::started();
    let limits = json!({ "hugepages-2Mi": "8Mi", "memory": "32Mi", "cpu": "50m" });
    let mut pod = sized("huge", json!({ "limits": limits }));
    pod["spec"]["volumes"] = json!([{ "name": "huge", "emptyDir": { "medium": "HugePages" } }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "huge", "mountPath": "/huge" }]);
    node.put(&pod);
    // containerd leaves containers without a limit of their own; that of the pod holds them.
    let ready = node.ready("huge");
    let [of_pod, _] = files(&node, "", &ready, "hugetlb.2MB.max");
    assert_eq!(of_pod, (8 * MIB).to_string());
    node.cri.sh("huge", "main", "fallocate -l 8M /huge/a");
    assert_eq!(pages.free(), 4);
    let (said, code) = node.cri.sh_any("huge", "main", "fallocate -l 2M /huge/b");
    assert_ne!(code, 0, "four pages are free, and none of them is for this pod: {said}");
}
