//! Probes of real containers: readiness, liveness and startup, by command, HTTP and TCP.

use serde_json::{Value, json};
use tests::{
    Node, SOON,
    manifest::{IDLE, pod, shell, with},
    status,
};

fn ready(pod: &Value) -> String {
    status::conditions(pod)["Ready"].0.clone()
}

fn probed(name: &str, script: &str, probes: Value) -> Value {
    pod(name, json!({ "containers": [with(shell("main", script), probes)] }))
}

#[test]
fn readiness_by_command_and_http_follows_the_container() {
    let mut node = Node::started();
    let exec =
        json!({ "exec": { "command": ["cat", "/tmp/ready"] }, "periodSeconds": 1, "failureThreshold": 1 });
    node.put(&probed("by-exec", IDLE, json!({ "readinessProbe": exec })));
    let http = json!({ "httpGet": { "port": "web", "path": "/ok.html" }, "periodSeconds": 1, "failureThreshold": 1 });
    let ports = json!([{ "name": "web", "containerPort": 8080 }]);
    let serve = "mkdir -p /tmp/www; httpd -p 8080 -h /tmp/www; sleep 100000 & wait";
    node.put(&probed("by-http", serve, json!({ "readinessProbe": http, "ports": ports })));
    let tcp = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 });
    node.put(&probed("by-tcp", serve, json!({ "readinessProbe": tcp })));
    for name in ["by-exec", "by-http"] {
        let pod = node.until(name, "running and not ready", SOON, |pod| {
            pod["status"]["phase"] == "Running" && status::only(pod)["started"] == true
        });
        assert_eq!((ready(&pod).as_str(), &status::only(&pod)["ready"]), ("False", &json!(false)));
    }
    node.ready("by-tcp");
    node.cri.sh("by-exec", "main", "touch /tmp/ready");
    node.cri.sh("by-http", "main", "echo hello > /tmp/www/ok.html");
    for name in ["by-exec", "by-http"] {
        node.ready(name);
    }
    node.crash();
    for name in ["by-exec", "by-http", "by-tcp"] {
        assert_eq!(status::only(&node.ready(name))["restartCount"], 0);
    }
    node.cri.sh("by-exec", "main", "rm /tmp/ready");
    node.cri.sh("by-http", "main", "rm /tmp/www/ok.html");
    for name in ["by-exec", "by-http"] {
        let pod = node.until(name, "not ready any more", SOON, |pod| ready(pod) == "False");
        assert_eq!(status::restarts(&pod), 0);
    }
}

#[test]
fn a_failed_liveness_probe_restarts_and_a_startup_probe_holds_it_back() {
    let mut node = Node::started();
    let exec = |test: &str| json!({ "exec": { "command": ["sh", "-c", test] }, "periodSeconds": 1, "failureThreshold": 1 });
    node.put(&probed("lively", IDLE, json!({ "livenessProbe": exec("! test -e /tmp/sick") })));
    let startup = with(exec("test -e /tmp/started"), json!({ "failureThreshold": 1000 }));
    let slow = json!({ "startupProbe": startup, "livenessProbe": exec("test -e /tmp/started") });
    node.put(&probed("slow", IDLE, slow));
    let before = status::id(&status::only(&node.ready("lively")));
    node.cri.sh("lively", "main", "touch /tmp/sick");
    let after = node.until("lively", "restarted", SOON, |pod| {
        status::restarts(pod) == 1 && status::only(pod)["state"]["running"].is_object()
    });
    assert_ne!(status::id(&status::only(&after)), before);
    let slow = node.until("slow", "running", SOON, |pod| pod["status"]["phase"] == "Running");
    let main = status::only(&slow);
    assert_eq!((&main["started"], status::restarts(&slow)), (&json!(false), 0));
    node.cri.sh("slow", "main", "touch /tmp/started");
    let slow = node.ready("slow");
    assert_eq!((&status::only(&slow)["started"], status::restarts(&slow)), (&json!(true), 0));
}
