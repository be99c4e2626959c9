//! What has to work with every container runtime that is supported: the life of a pod, and every CRI call that is used.
//!
//! `cargo xtask test` runs these on each containerd.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use lab::{images, process::Signal};
use serde_json::json;
use tests::{
    LATER, Node, eventually,
    manifest::{self, pod, shell, with},
    runtime::kill_container,
    status,
};

/// Says who it is and stops at once when told to.
const TALKER: &str = "echo hello; echo trouble >&2; trap 'echo bye; exit 0' TERM; sleep 100000 & wait";

#[test]
fn a_pod_starts_restarts_and_goes() {
    let mut node = Node::started();
    node.put(&manifest::script("life", TALKER));
    let pod = node.ready("life");
    let first = status::only(&pod);
    assert_eq!(first["restartCount"], 0);
    assert_eq!(first["started"], true);
    assert!(first["state"]["running"]["startedAt"].is_string(), "{first}");
    let running = node.cri.running("life", "main");
    assert_eq!(status::id(&first), running.id.as_str());
    let logs = || node.agent.read_only("/healthz").map(|_| node.log_of("life", "main")).unwrap();
    eventually("the first words in the log", LATER, || {
        let log = logs();
        if log.contains("hello\n") && log.contains("trouble\n") { Ok(()) } else { Err(log) }
    });

    kill_container(node.instance.containerd(), &running.id);
    let pod =
        node.until("life", "restarted", LATER, |pod| status::restarts(pod) == 1 && lab::agent::is_ready(pod));
    let second = status::only(&pod);
    assert_ne!(status::id(&second), status::id(&first));
    assert_eq!(second["lastState"]["terminated"]["exitCode"], 137, "{second}");
    assert_eq!(second["lastState"]["terminated"]["containerID"], first["containerID"], "{second}");

    let (uid, log_dir) = (status::uid(&pod), node.log_dir(&pod));
    assert!(log_dir.join("main/1.log").is_file(), "the second run logs to a file of its own");
    node.take("life");
    node.gone("life");
    eventually("the pod's folder to be removed", LATER, || {
        if node.pod_dir(&uid).exists() { Err("it is there".to_owned()) } else { Ok(()) }
    });
    node.cri.wait_removed("life");
}

#[test]
fn a_pod_outlives_its_agent() {
    let mut node = Node::started();
    node.put(&manifest::idle("steady"));
    let before = node.ready("steady");
    let ids = node.cri.running_ids();
    node.crash();
    let after = node.ready("steady");
    assert_eq!(node.cri.running_ids(), ids);
    assert_eq!(status::verdicts(&after), status::verdicts(&before));
    assert_eq!(status::only(&after)["containerID"], status::only(&before)["containerID"]);
    node.take("steady");
    node.gone("steady");
}

#[test]
fn a_page_is_served_on_the_pods_ip_and_on_a_port_of_the_host() {
    let mut node = Node::started();
    let ports = json!([{ "containerPort": 8080, "hostPort": 18081 }]);
    let server =
        json!({ "name": "server", "image": images::WEB, "imagePullPolicy": "Never", "ports": ports });
    node.put(&pod("page", json!({ "containers": [server] })));
    let ip = status::ip(&node.ready("page"));
    assert_eq!(node.page(&format!("{ip}:8080")), images::PAGE);
    assert_eq!(node.page("127.0.0.1:18081"), images::PAGE);
    // The agent leaves in order and leaves the page where it is.
    let left = node.agent.stop(LATER).unwrap();
    assert!(left.success() || node.agent.pid().is_none(), "{left}");
    assert_eq!(node.page("127.0.0.1:18081"), images::PAGE);
}

#[test]
fn a_stubborn_container_is_killed_when_its_grace_is_over() {
    let mut node = Node::started();
    let spec = json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 2,
        "containers": [with(shell("main", manifest::STUBBORN), json!({}))],
    });
    node.put(&pod("stubborn", spec));
    node.ready("stubborn");
    let clock = lab::wait::Stopwatch::start();
    node.take("stubborn");
    node.gone("stubborn");
    let took = clock.elapsed().as_secs_f32();
    assert!((2.0..15.0).contains(&took), "gone after {took} s, the grace period being 2 s");
}

#[test]
fn every_cri_call_works_on_this_runtime() {
    let node = Node::prepared();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut test = Command::new(cargo);
    test.args(["test", "--quiet", "--package", "io-cri", "--test", "real_containerd", "--", "--nocapture"])
        .env("PODWRIGHT_CRI_ENDPOINT", node.instance.containerd().endpoint())
        .env("PODWRIGHT_TEST_IMAGE", images::BUSYBOX);
    let said = lab::command::output(&mut test).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(said.contains("1 passed") && !said.contains("skipped:"), "{said}");
}

#[test]
fn a_runtime_that_hangs_stops_nothing_but_itself() {
    let mut node = Node::started();
    node.put(&manifest::idle("before"));
    let before = node.ready("before");
    node.instance.containerd().freeze().unwrap();
    node.put(&manifest::idle("during"));
    for _ in 0..20 {
        let health = node.agent.healthz("/healthz").unwrap();
        assert_eq!((health.status, health.body.as_str()), (200, "ok"));
        assert!(lab::agent::is_ready(&node.pod("before")), "what was known stays known");
        lab::wait::let_pass(std::time::Duration::from_millis(100));
    }
    node.instance.containerd().thaw().unwrap();
    node.ready("during");
    assert_eq!(status::only(&node.pod("before"))["containerID"], status::only(&before)["containerID"]);
    assert!(node.agent.is_running());
    node.agent.signal(Signal::TERM).unwrap();
    node.agent.wait_exit(LATER).unwrap();
}
