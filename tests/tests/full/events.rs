//! Events on a real node: upstream's words, kept over a kill and beyond the life of a pod, shown by `podwright events`.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};
use tests::{
    LATER, Node, SOON, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
};

/// `[type, reason, message]` of a pod's events, in their order.
fn told(node: &Node, name: &str) -> Vec<[String; 3]> {
    let events: Value = node.podwright().run(&["events", name, "-o", "json"]).json();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = events.as_array().cloned().unwrap_or_default();
    events.iter().map(|event| ["eventType", "reason", "message"].map(|key| text(event, key))).collect()
}

fn has(told: &[[String; 3]], kind: &str, reason: &str, message: &str) -> bool {
    told.iter().any(|[k, r, m]| k == kind && r == reason && m.starts_with(message))
}

#[test]
fn events_have_upstreams_words_and_outlive_agents_and_pods() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let probe = json!({ "exec": { "command": ["sh", "-c", "echo not yet; exit 1"] }, "periodSeconds": 1 });
    node.put(&pod(
        "probed",
        json!({ "containers": [with(shell("main", IDLE), json!({ "readinessProbe": probe }))] }),
    ));
    node.put(&pod("crashing", json!({ "containers": [shell("main", "exit 3")] })));
    node.waiting("crashing", "CrashLoopBackOff");
    let mut follower = podwright.follow(&["events", "-f"]);
    let crashing = eventually("the events of a crash loop", SOON, || {
        let told = told(&node, "crashing");
        if has(&told, "Warning", "BackOff", "Back-off restarting failed container main in pod crashing-") {
            Ok(told)
        } else {
            Err(format!("{told:?}"))
        }
    });
    for (reason, message) in [("Created", "Container created"), ("Started", "Container started")] {
        assert!(has(&crashing, "Normal", reason, message), "{reason} in {crashing:?}");
    }
    assert!(has(&crashing, "Normal", "Pulled", "Container image \""), "{crashing:?}");
    eventually_true("the probe to be told of", SOON, || {
        has(&told(&node, "probed"), "Warning", "Unhealthy", "Readiness probe failed: not yet")
    });
    let all = podwright.run(&["events"]).ok();
    assert!(all.contains("Starting kubelet.") && all.contains("node/"), "{all}");
    assert!(all.contains("pod/default/crashing-") && all.contains("[main]"), "{all}");

    // A gone pod is remembered, and so is everything after a kill in the middle of it.
    node.take("crashing");
    node.gone("crashing");
    eventually_true("the last event to be written", SOON, || {
        let journal = node.agent.root_dir().join("podwright/events/journal");
        fs::read_to_string(journal).is_ok_and(|text| text.contains("BackOff"))
    });
    node.crash();
    let remembered = told(&node, "crashing");
    for event in &crashing {
        assert!(remembered.contains(event), "{event:?} was forgotten: {remembered:?}");
    }
    let why = podwright.run(&["why", "crashing"]).ok();
    assert!(why.contains(": gone") && why.contains("BackOff"), "{why}");
    follower.until("BackOff", LATER);

    // A broken line is no trouble, and is kept for whoever wants to see it.
    node.agent.kill().unwrap();
    let dir = node.agent.root_dir().join("podwright/events");
    let mut file = fs::OpenOptions::new().append(true).open(dir.join("journal")).unwrap();
    file.write_all(b"0123456789abcdef {\"name\":\"forged\"}\nhalf a li").unwrap();
    drop(file);
    node.start();
    eventually_true("the agent to be back", LATER, || podwright.run(&["events"]).code == 0);
    for event in &crashing {
        assert!(told(&node, "crashing").contains(event), "{event:?} was forgotten");
    }
    assert!(fs::read_to_string(dir.join("journal.corrupt")).unwrap().contains("forged"));
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    assert!(metrics.contains("podwright_events_total{type=\"Normal\",reason=\"Starting\"} 1"), "{metrics}");
}
