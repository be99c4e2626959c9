//! Lifecycle hooks and the active deadline of a pod.

use std::{fs, io::Read as _, io::Write as _, net::TcpListener, thread};

use core_types::runtime::ContainerState;
use lab::wait::Stopwatch;
use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually_true,
    manifest::{IDLE, pod, shell, with},
    status,
};

fn exec(script: &str) -> Value {
    json!({ "exec": { "command": ["/bin/sh", "-c", script] } })
}

#[test]
fn commands_run_after_the_start_and_before_the_stop() {
    let mut node = Node::started();
    let kept = tempfile::tempdir().unwrap();
    let volumes = json!([{ "name": "kept", "hostPath": { "path": kept.path() } }]);
    let script = "trap 'echo stopped >> /kept/order; exit 0' TERM; sleep 100000 & wait";
    let hooks = json!({
        "postStart": exec("echo started >> /kept/order"),
        "preStop": exec("sleep 3; echo leaving >> /kept/order"),
    });
    let main = with(
        shell("main", script),
        json!({ "lifecycle": hooks, "volumeMounts": [{ "name": "kept", "mountPath": "/kept" }] }),
    );
    node.put(&pod(
        "hooked",
        json!({ "terminationGracePeriodSeconds": 20, "containers": [main], "volumes": volumes }),
    ));
    node.ready("hooked");
    let order = || fs::read_to_string(kept.path().join("order")).unwrap_or_default();
    eventually_true("the postStart hook's word", SOON, || order() == "started\n");
    let clock = Stopwatch::start();
    node.take("hooked");
    node.gone("hooked");
    let took = clock.elapsed().as_secs_f32();
    assert_eq!(order(), "started\nleaving\nstopped\n");
    assert!((3.0..15.0).contains(&took), "{took} s");
}

#[test]
fn a_pre_stop_hook_gets_the_grace_and_no_more() {
    let mut node = Node::started();
    let endless = with(shell("main", IDLE), json!({ "lifecycle": { "preStop": exec("sleep 1000") } }));
    node.put(&pod("endless", json!({ "terminationGracePeriodSeconds": 4, "containers": [endless] })));
    node.ready("endless");
    let clock = Stopwatch::start();
    node.take("endless");
    node.gone("endless");
    let took = clock.elapsed().as_secs_f32();
    assert!((4.0..15.0).contains(&took), "{took} s");
}

#[test]
fn a_failed_post_start_hook_kills_the_container() {
    let mut node = Node::started();
    let lifecycle = json!({ "postStart": exec("echo no luck >&2; exit 3") });
    let script = "trap 'exit 9' TERM; sleep 100000 & wait";
    let main = with(shell("main", script), json!({ "lifecycle": lifecycle }));
    node.put(&pod("unlucky", json!({ "containers": [main] })));
    node.put(&pod("never", json!({ "restartPolicy": "Never", "containers": [main] })));
    node.waiting("unlucky", "CrashLoopBackOff");
    node.phase("never", "Failed");
    let running = |name: &str| node.cri.containers(name).iter().any(|c| c.state == ContainerState::Running);
    assert!(!running("unlucky") && !running("never"));
    assert!(status::restarts(&node.pod("unlucky")) >= 1);
}

#[test]
fn requests_go_to_the_pod_or_to_the_host_that_is_named() {
    let mut node = Node::started();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let get = json!({ "httpGet": { "host": "127.0.0.1", "port": port, "path": "/hello?who=me" } });
    let main = with(shell("main", IDLE), json!({ "lifecycle": { "postStart": get } }));
    node.put(&pod("caller", json!({ "containers": [main] })));
    // Nothing listens in this pod: its own address refuses, and the stop goes on.
    let refused = json!({ "httpGet": { "port": 81, "path": "/" } });
    let deaf = with(shell("main", IDLE), json!({ "lifecycle": { "preStop": refused } }));
    node.put(&pod("deaf", json!({ "containers": [deaf] })));
    node.ready("caller");
    node.ready("deaf");
    let asked = served.join().unwrap();
    assert!(asked.starts_with("GET /hello?who=me HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("kube-lifecycle/1.37"), "{asked}");
    let mark = node.log_mark();
    node.take("deaf");
    node.gone("deaf");
    node.logged(mark, &["FailedPreStopHook", "PreStopHook failed"]);
}

#[test]
fn a_pod_fails_when_it_was_active_for_too_long() {
    let mut node = Node::started();
    let spec = json!({ "activeDeadlineSeconds": 5, "containers": [shell("main", IDLE)] });
    node.put(&pod("short", spec));
    node.ready("short");
    let failed = node.phase("short", "Failed");
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded");
    assert_eq!(failed["status"]["message"], "Pod was active on the node longer than the specified deadline");
    eventually_true("the container to end", SOON, || {
        node.cri.containers("short").iter().all(|c| c.state != ContainerState::Running)
    });
    node.crash();
    assert_eq!(node.phase("short", "Failed")["status"]["reason"], "DeadlineExceeded");
}
