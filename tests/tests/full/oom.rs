//! Processes that the kernel kills for lack of memory are told, with their containers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{
    Node, SOON, cgroup, eventually,
    manifest::{IDLE, pod, shell, with},
    status,
};

/// Uses more memory than the container has.
const HOG: &str = "head -c 200m /dev/zero | tail -c 200m > /dev/null";

fn limited(name: &str, script: &str) -> Value {
    let main = with(shell("main", script), json!({ "resources": { "limits": { "memory": "32Mi" } } }));
    pod(name, json!({ "restartPolicy": "Never", "containers": [main] }))
}

/// The kills that were told of processes in pod `name`.
#[track_caller]
fn kills(node: &Node, name: &str) -> Vec<Value> {
    let events = node.podwright().run(&["events", name, "--output=json"]).json();
    let all = events.as_array().into_iter().flatten();
    all.filter(|event| event["reason"] == "OOMKilled").cloned().collect()
}

fn count(kills: &[Value]) -> u64 {
    kills.iter().map(|kill| kill["count"].as_u64().unwrap()).sum()
}

/// Waits until each kill is told that the kernel has counted in the container of `pod`, more than `before` of them: before
/// the memory of the first process is free, the kernel may kill another. Gives their number.
#[track_caller]
fn all_told(node: &Node, pod: &Value, before: u64) -> u64 {
    let (uid, id) = (status::uid(pod), status::id(&status::only(pod)));
    let killed = cgroup::oom_kills(&node.instance, &format!("kubepods/burstable/pod{uid}/{id}"));
    assert!(killed > before, "{killed} kills");
    eventually(&format!("{killed} kills to be told"), SOON, || {
        let told = kills(node, "victim");
        if count(&told) == killed { Ok(killed) } else { Err(format!("{told:?}")) }
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
    let victim = node.ready("victim");

    let dead = node.until("dies", "told why it died", SOON, |pod| {
        let containers = status::containers(pod);
        let mut messages = containers.iter().filter_map(|c| c["state"]["terminated"]["message"].as_str());
        messages.any(|message| message.starts_with("The kernel killed process "))
    });
    let end = &status::only(&dead)["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{dead}");
    let of_dead = kills(&node, "dies");
    let event = of_dead.iter().find(|event| event["message"] == end["message"]).unwrap();
    assert_eq!(event["object"]["fieldPath"], "spec.containers{main}");
    let message = of_dead[0]["message"].as_str().unwrap();
    let parts = ["The kernel killed process \"tail\" (pid ", " used 32Mi of its limit of 32Mi."];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");

    assert_eq!(node.cri.sh_any("victim", "main", HOG).1, 137);
    let earlier = all_told(&node, &victim, 0);
    node.agent.stop(SOON).unwrap();
    assert_eq!(node.cri.sh_any("victim", "main", HOG).1, 137);
    node.start();
    all_told(&node, &victim, earlier);
    let of_dead = kills(&node, "dies");
    let processes: BTreeSet<String> = of_dead.iter().map(|kill| kill["message"].to_string()).collect();
    assert!(processes.contains(&end["message"].to_string()), "it is still told: {of_dead:?}");
    assert_eq!(count(&of_dead), processes.len() as u64, "each is told once: {of_dead:?}");
    assert_eq!(status::restarts(&node.ready("victim")), 0, "its first process lives");
}
