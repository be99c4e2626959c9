//! Pods from a manifest URL.

use serde_json::json;
use tests::{
    Node, SOON, eventually, eventually_true,
    manifest::{self, IDLE},
    manifest_server::{HEADER, ManifestServer},
    status,
};

#[test]
fn pods_of_a_url_come_change_and_go() {
    let mut node = Node::prepared();
    let server = ManifestServer::start();
    let list = |pods: &[serde_json::Value]| {
        json!({ "apiVersion": "v1", "kind": "PodList", "items": pods }).to_string()
    };
    server.answer(200, &manifest::idle("first").to_string());
    node.agent.config["staticPodURL"] = json!(server.url());
    node.agent.config["staticPodURLHeader"] = json!({ HEADER.0: [HEADER.1] });
    node.agent.config["httpCheckFrequency"] = json!("1s");
    node.put(&manifest::idle("by-file"));
    node.start();
    let first = node.ready("first");
    node.ready("by-file");
    assert_eq!(first["metadata"]["annotations"]["kubernetes.io/config.source"], "http");
    let (served, refused) = server.counts();
    assert!(served > 0 && refused == 0, "every request carries the header: {served} {refused}");
    server.answer(200, &list(&[manifest::idle("first"), manifest::idle("second")]));
    node.ready("second");
    assert_eq!(status::only(&node.pod("first"))["containerID"], status::only(&first)["containerID"]);

    // What cannot be read changes nothing, and is named.
    for (status_code, body, says) in [(500, "broken", "500"), (200, "{ half", "line 1"), (200, "", "empty")] {
        let mark = node.log_mark();
        server.answer(status_code, body);
        node.logged(mark, &[&server.url(), says]);
        assert!(node.podwright().run(&["ps"]).err.contains(&server.url()));
        assert_eq!(status::only(&node.pod("first"))["containerID"], status::only(&first)["containerID"]);
    }
    server.answer(200, &list(&[manifest::idle("second")]));
    node.gone("first");
    eventually_true("the problem to be forgotten", SOON, || {
        !node.podwright().run(&["ps"]).err.contains("warning")
    });
    assert!(!node.agent.log().contains(HEADER.1), "the log gives the password away");

    // The server is away while the agent starts: what runs is not taken for unwanted.
    let ids = node.cri.running_ids();
    node.agent.kill().unwrap();
    server.answer(503, "later");
    let (served, _) = server.counts();
    node.start();
    node.ready("by-file");
    eventually("the agent to ask twice", SOON, || {
        let (now, _) = server.counts();
        if now >= served + 3 { Ok(()) } else { Err(format!("{now}")) }
    });
    assert_eq!(node.cri.running_ids(), ids);
    server.answer(200, &list(&[manifest::script("second", IDLE)]));
    node.ready("second");
    assert_eq!(node.cri.running_ids(), ids);
}
