//! Restart rules of single containers, and restarts of all containers of a pod.

use serde_json::{Value, json};
use tests::{
    Node, SOON,
    manifest::{IDLE, pod, shell, with},
    status,
};

fn rule(action: &str) -> Value {
    let rule = json!({ "action": action, "exitCodes": { "operator": "In", "values": [42] } });
    json!({ "restartPolicy": "Never", "restartPolicyRules": [rule] })
}

fn data(container: Value) -> Value {
    with(container, json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }))
}

/// A container that runs `first` the first time and `then` after that.
fn changing(name: &str, first: &str, then: &str) -> Value {
    let script = format!("if test -e /data/{name}; then {then}; else touch /data/{name}; {first}; fi");
    data(shell(name, &script))
}

#[test]
fn rules_of_containers_restart_one_or_all() {
    let mut node = Node::started();
    let volumes = json!([{ "name": "data", "emptyDir": {} }]);
    let init = with(changing("init", "exit 1", "exit 0"), json!({ "restartPolicy": "OnFailure" }));
    let again = with(changing("main", "exit 42", "exit 0"), rule("Restart"));
    node.put(&pod(
        "one",
        json!({ "restartPolicy": "Never", "volumes": volumes, "initContainers": [init], "containers": [again] }),
    ));
    let init = data(shell("init", "echo x >> /data/init"));
    let sidecar = with(shell("side", IDLE), json!({ "restartPolicy": "Always" }));
    // It asks for the restart when it is told to.
    let main = with(
        changing("main", "until test -e /data/go; do sleep 0.1; done; exit 42", IDLE),
        rule("RestartAllContainers"),
    );
    let spec = json!({
        "restartPolicy": "Never", "volumes": volumes,
        "initContainers": [init, sidecar], "containers": [main, shell("other", IDLE)],
    });
    node.put(&pod("all", spec));

    let before = node.ready("all");
    assert_eq!(status::verdicts(&before)["AllContainersRestarting"], "False");
    node.cri.sh("all", "main", "touch /data/go");
    let after = node.until("all", "ready with new containers", SOON, |pod| {
        lab::agent::is_ready(pod) && status::container(pod, "main")["restartCount"] == 1
    });
    for name in ["init", "side", "main", "other"] {
        let (old, new) = (status::container(&before, name), status::container(&after, name));
        assert_ne!(old["containerID"], new["containerID"], "{name}");
        assert_eq!(new["restartCount"], 1, "{name}: {new}");
        let last = &new["lastState"]["terminated"];
        assert_eq!(
            (&last["reason"], &last["exitCode"]),
            (&json!("RestartingAllContainers"), &json!(137)),
            "{name}"
        );
    }
    assert_eq!(status::ip(&before), status::ip(&after), "the sandbox stays");
    assert_eq!(status::verdicts(&after)["AllContainersRestarting"], "False");
    assert_eq!(node.cri.sh("all", "main", "wc -l < /data/init").trim(), "2", "the init container ran again");
    let logs = node.log_dir(&after).join("main");
    assert!(logs.join("0.log").exists() && logs.join("1.log").exists(), "both logs stay: {}", logs.display());

    let one = node.phase("one", "Succeeded");
    for name in ["init", "main"] {
        assert_eq!(status::container(&one, name)["restartCount"], 1, "{name}: {one}");
    }
}
