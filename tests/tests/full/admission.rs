//! Pods that the node does not take, pods that end for one that must run, and the signal that stops a container.

use lab::wait::Stopwatch;
use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime, status,
};

fn requesting(name: &str, priority: i32, milli: u64) -> Value {
    let resources = json!({ "resources": { "requests": { "cpu": format!("{milli}m") } } });
    let containers = json!([with(shell("main", IDLE), resources)]);
    pod(name, json!({ "priority": priority, "containers": containers }))
}

#[test]
fn pods_are_taken_refused_and_ended_as_upstream_does() {
    let mut node = Node::prepared();
    node.agent.config["featureGates"] = json!({ "ContainerStopSignals": true });
    node.start();
    refused(&mut node);
    ended_for_another(&mut node);
    // containerd 1.6 knows no signal but the image's.
    if !runtime::is_1_6() {
        stopped_by_its_own_signal(&mut node);
    }
}

fn refused(node: &mut Node) {
    let idle = |more: Value| with(json!({ "containers": [shell("main", IDLE)] }), more);
    let port = |name: &str| {
        let ports = json!({ "ports": [{ "containerPort": 80, "hostPort": 18080, "hostIP": "127.0.0.1" }] });
        pod(name, json!({ "containers": [with(shell("main", IDLE), ports)] }))
    };
    node.put(&port("first"));
    node.ready("first");
    node.put(&port("second"));
    node.put(&requesting("huge", 0, 1_000_000));
    node.put(&pod("elsewhere", idle(json!({ "nodeSelector": { "disk": "ssd" } }))));
    node.put(&pod("windows", idle(json!({ "os": { "name": "windows" } }))));
    for (name, reason, message) in [
        (
            "second",
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        ),
        // A static pod is critical: others would end for it, if that were any use.
        (
            "huge",
            "UnexpectedAdmissionError",
            "Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: error \
             finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: ",
        ),
        (
            "elsewhere",
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            "windows",
            "PodOSNotSupported",
            "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS",
        ),
    ] {
        let failed = node.phase(name, "Failed");
        assert_eq!(failed["status"]["reason"], reason, "{name}");
        let text = failed["status"]["message"].as_str().unwrap_or_default();
        assert!(text.starts_with(message), "{name}: {text}");
        assert_eq!(status::containers(&failed), Vec::<Value>::new(), "{name}: nothing of it ran");
        assert!(node.cri.containers(name).is_empty(), "{name}");
    }
    // The port is free when its holder has gone, but what was refused stays refused.
    assert_eq!(node.pod("first")["status"]["phase"], "Running");
    for name in ["first", "second", "huge", "elsewhere", "windows"] {
        node.take(name);
    }
    node.gone("first");
}

fn ended_for_another(node: &mut Node) {
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let most = cores * 600;
    node.put(&requesting("humble", 1, most));
    node.put(&requesting("bystander", 5, 10));
    let (humble, bystander) = (node.ready("humble"), node.ready("bystander"));
    node.put(&requesting("important", 10, most));
    let important = node.ready("important");
    let failed = node.phase("humble", "Failed");
    assert_eq!(status::uid(&failed), status::uid(&humble));
    assert_eq!(failed["status"]["reason"], "Preempting");
    assert_eq!(failed["status"]["message"], "Preempted in order to admit critical pod");
    let conditions = failed["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let told = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
    assert_eq!(told["message"], "Pod was preempted by Kubelet to accommodate a critical pod.");
    eventually_true("the end of the one to show", SOON, || {
        status::only(&node.pod("humble"))["state"]["terminated"]["finishedAt"].is_string()
    });
    let time =
        |of: &Value, state: &str, at: &str| status::only(of)["state"][state][at].as_str().unwrap().to_owned();
    let (end, start) =
        (time(&node.pod("humble"), "terminated", "finishedAt"), time(&important, "running", "startedAt"));
    assert!(end <= start, "it ended at {end}, the other started at {start}");
    assert_eq!(status::id(&status::only(&node.pod("bystander"))), status::id(&status::only(&bystander)));
}

fn stopped_by_its_own_signal(node: &mut Node) {
    let script = "trap '' TERM; trap 'exit 0' USR1; while :; do sleep 0.1; done";
    let main = with(shell("main", script), json!({ "lifecycle": { "stopSignal": "SIGUSR1" } }));
    let spec =
        json!({ "os": { "name": "linux" }, "terminationGracePeriodSeconds": 60, "containers": [main] });
    node.put(&pod("signal", spec));
    let ready = node.ready("signal");
    assert_eq!(status::only(&ready)["stopSignal"], "SIGUSR1");
    let watch = Stopwatch::start();
    node.take("signal");
    node.gone("signal");
    assert!(watch.elapsed().as_secs() < 40, "it was killed only after its grace");
}
