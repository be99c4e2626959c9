//! Processes that the kernel kills for lack of memory are told, with their containers.

use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually,
    manifest::{IDLE, pod, shell, with},
    status,
};

/// Uses more memory than the container has.
const HOG: &str = "head -c 200m /dev/zero | tail -c 200m > /dev/null";

fn limited(name: &str, script: &str) -> Value {
    let main = with(shell("main", script), json!({ "resources": { "limits": { "memory": "32Mi" } } }));
    pod(name, json!({ "restartPolicy": "Never", "containers": [main] }))
}

/// Waits until kills in pod `name` were told `count` times, and gives what was told last.
#[track_caller]
fn told(node: &Node, name: &str, count: u64) -> Value {
    eventually(&format!("{count} kills in {name} to be told"), SOON, || {
        let events = node.podwright().run(&["events", name, "--output=json"]).json();
        let kills: Vec<Value> = events.as_array().into_iter().flatten().cloned().collect();
        let kills: Vec<Value> = kills.into_iter().filter(|event| event["reason"] == "OOMKilled").collect();
        let all: u64 = kills.iter().map(|event| event["count"].as_u64().unwrap()).sum();
        if all == count { Ok(kills.last().unwrap().clone()) } else { Err(events.to_string()) }
    })
}

#[test]
fn kills_are_told_with_container_use_and_limit_also_of_children_and_of_earlier() {
    let mut node = Node::prepared();
    // As it is on version 1, which knows no kill of a whole container.
    node.agent.config["singleProcessOOMKill"] = json!(true);
    node.start();
    node.put(&limited("victim", IDLE));
    node.put(&limited("dies", &format!("sleep 1; {HOG}")));
    node.ready("victim");

    let dead = node.phase("dies", "Failed");
    let event = told(&node, "dies", 1);
    let message = event["message"].as_str().unwrap();
    let parts = ["The kernel killed process \"tail\" (pid ", " used 32Mi of its limit of 32Mi."];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(event["object"]["fieldPath"], "spec.containers{main}");
    let ended = node.until("dies", "told why it died", SOON, |pod| {
        status::only(pod)["state"]["terminated"]["message"].as_str() == Some(message)
    });
    let end = &status::only(&ended)["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{dead}");

    let (_, code) = node.cri.sh_any("victim", "main", HOG);
    assert_eq!(code, 137);
    told(&node, "victim", 1);
    node.agent.stop(SOON).unwrap();
    assert_eq!(node.cri.sh_any("victim", "main", HOG).1, 137);
    node.start();
    told(&node, "victim", 2);
    told(&node, "dies", 1);
    assert_eq!(status::restarts(&node.ready("victim")), 0, "its first process lives");
}
