//! Pods that mean harm: the node goes on, its other pods too, and the agent's memory stays bounded.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::{
    LATER, Node, cgroup, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    status,
};

/// What the agent may need with all of these pods on it, in KiB. Without them it needs some 20 MiB.
const MAX_RESIDENT_KIB: u64 = 100 * 1024;

/// The agent's largest resident memory so far, in KiB.
fn peak_kib(node: &Node) -> u64 {
    let pid = node.agent.pid().expect("the agent runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A server on the node that answers each request with 100 MB and more, or with nothing at all.
fn serve_without_end(listener: TcpListener, is_silent: bool, stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if is_silent {
                silent.push(stream);
                silent.drain(..silent.len().saturating_sub(100));
                continue;
            }
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
                while stream.write_all(&[b'x'; 65536]).is_ok() {}
            });
        }
    });
}

fn http_probe(port: u16) -> Value {
    json!({ "httpGet": { "host": "127.0.0.1", "port": port }, "periodSeconds": 1, "timeoutSeconds": 1 })
}

#[test]
fn hostile_pods_disturb_neither_the_node_nor_another_pod() {
    let mut node = Node::prepared();
    node.agent.config["podPidsLimit"] = json!(64);
    node.agent.config["containerLogMaxSize"] = json!("1Mi");
    node.agent.config["containerLogMaxFiles"] = json!(2);
    node.start();
    let stop = Arc::new(AtomicBool::new(false));
    let listeners: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    for (listener, is_silent) in listeners.into_iter().zip([false, true]) {
        serve_without_end(listener, is_silent, Arc::clone(&stop));
    }
    let good = json!({ "exec": { "command": ["true"] }, "periodSeconds": 1, "timeoutSeconds": 20 });
    node.put(&pod(
        "good",
        json!({ "containers": [with(shell("main", IDLE), json!({ "livenessProbe": good }))] }),
    ));
    let good_id = status::id(&status::only(&node.ready("good")));

    let variables: Vec<Value> = (0..10_000)
        .map(|number| json!({ "name": format!("V{number}"), "value": format!("$(V{})x", number.max(1) - 1) }))
        .collect();
    let flat: Vec<Value> =
        (0..10_000).map(|number| json!({ "name": format!("V{number}"), "value": "$(V0)" })).collect();
    let many = with(shell("main", &format!("env | grep -c ^V; {IDLE}")), json!({ "env": flat }));
    node.put(&pod("many-variables", json!({ "containers": [many] })));
    let growing = with(shell("main", IDLE), json!({ "env": variables }));
    node.put(&pod("growing-variables", json!({ "containers": [growing] })));
    let farewell = "head -c 1048576 /dev/zero | tr '\\0' x > /dev/termination-log; exit 3";
    node.put(&pod(
        "long-farewell",
        json!({ "restartPolicy": "Never", "containers": [shell("main", farewell)] }),
    ));
    node.put(&pod(
        "endless-line",
        json!({ "containers": [shell("main", "while :; do printf xxxxxxxxxxxxxxxx; done")] }),
    ));
    let probed = |name: &str, probe: Value| {
        pod(name, json!({ "containers": [with(shell("main", IDLE), json!({ "readinessProbe": probe }))] }))
    };
    node.put(&probed("huge-answer", http_probe(ports[0])));
    node.put(&probed("no-answer", http_probe(ports[1])));
    let endless = json!({ "exec": { "command": ["yes"] }, "periodSeconds": 1, "timeoutSeconds": 1 });
    node.put(&probed("endless-output", endless));
    let deaf = json!({ "terminationGracePeriodSeconds": 1, "containers": [shell("main", "trap '' TERM INT HUP QUIT; while :; do sleep 1; done")] });
    node.put(&pod("deaf", deaf));
    // It would make 2,000 processes where no limit holds, not more: the machine is not only this test's.
    let bomb = "i=0; while [ $i -lt 2000 ]; do sleep 60 & i=$((i+1)); done; wait";
    node.put(&pod(
        "fork-bomb",
        json!({ "terminationGracePeriodSeconds": 1, "containers": [shell("main", bomb)] }),
    ));

    node.ready("deaf");
    node.ready("huge-answer");
    let bomb = format!("kubepods/besteffort/pod{}", status::uid(&node.pod("fork-bomb")));
    let limit = cgroup::dir(&node.instance, "pids", &bomb);
    eventually("the fork bomb to meet its limit", LATER, || {
        let read = |file: &str| fs::read_to_string(limit.join(file)).unwrap_or_default().trim().to_owned();
        let said = ["--previous=false", "--previous"]
            .map(|which| node.podwright().run(&["logs", which, "fork-bomb"]).all())
            .concat();
        let (max, current) = (read("pids.max"), read("pids.current"));
        let is_met = max == "64" && said.contains("can't fork");
        if is_met { Ok(()) } else { Err(format!("limit {max}, {current} now; it said: {said}")) }
    });
    let many = node.ready("many-variables");
    eventually("10,000 variables to arrive", LATER, || {
        let log = node.podwright().run(&["logs", "many-variables"]).ok();
        if log.trim() == "10000" { Ok(()) } else { Err(log) }
    });
    assert_eq!(status::restarts(&many), 0);
    let ended = node.phase("long-farewell", "Failed");
    let message =
        status::only(&ended)["state"]["terminated"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.len() == 4096 && message.bytes().all(|byte| byte == b'x'), "{} bytes", message.len());
    // What cannot be started is named, and waits.
    let growing =
        eventually("the pod whose variables grow without bound to be refused or run", LATER, || {
            let pod = node.pod("growing-variables");
            let words = pod["status"].to_string();
            if words.contains("waiting\":{\"message") || words.contains("\"running\"") {
                Ok(words)
            } else {
                Err(words)
            }
        });
    println!("variables that grow: {}", &growing[..growing.len().min(600)]);

    let no_answer = node.until("no-answer", "running and not ready", LATER, |pod| {
        pod["status"]["phase"] == "Running" && status::only(pod)["ready"] == false
    });
    assert_eq!(status::restarts(&no_answer), 0);
    eventually_true("the events of a target that does not answer", LATER, || {
        let events = node.podwright().run(&["events", "no-answer"]).ok();
        events.contains("context deadline exceeded")
    });
    let line = node.ready("endless-line");
    let dir = node.log_dir(&line).join("main");
    eventually_true("a line without end to be rotated", LATER, || {
        fs::read_dir(&dir).is_ok_and(|all| all.count() > 1)
    });
    let tail = node.podwright().run(&["logs", "endless-line", "--tail", "1"]);
    assert!(tail.code == 0 && tail.out.contains("xxxx"), "the end of a line without end can be read");

    // The deaf and the bomb end when their grace is over.
    for name in ["deaf", "fork-bomb"] {
        node.take(name);
        node.gone(name);
    }
    let good = node.pod("good");
    assert_eq!(
        (status::id(&status::only(&good)), status::restarts(&good)),
        (good_id, 0),
        "the other pod goes on"
    );
    assert_eq!(node.agent.healthz("/healthz").unwrap().status, 200);
    let peak = peak_kib(&node);
    println!("the agent's largest resident memory: {peak} KiB");
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB");
    stop.store(true, Ordering::Relaxed);
}
