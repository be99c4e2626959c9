//! The API server stops, hangs and comes back: what runs goes on, and what happened meanwhile is told.

use lab::agent::is_ready;
use serde_json::Value;
use tests::cluster::{apply, bound, own_plane, prepared, until};
use tests::{LATER, manifest, runtime, status};

fn restarted_to(count: u64) -> impl Fn(&Value) -> bool {
    move |pod| is_ready(pod) && status::restarts(pod) >= count
}

#[test]
fn pods_go_on_without_the_api_server_and_statuses_are_told_when_it_is_back() {
    let mut plane = own_plane();
    let mut node = prepared(&plane, "off-1");
    node.put(&manifest::idle("fixed"));
    node.start();
    apply(&plane, "off-1", &bound("off-1", manifest::idle("web")));
    let before = until(&plane, "web", "ready", is_ready);
    until(&plane, "fixed-off-1", "ready", is_ready);

    plane.stop_api_server().unwrap();
    let main = node.cri.running("web", "main").id;
    runtime::kill_container(node.instance.containerd(), &main);
    node.until("web", "restarted without the API server", LATER, restarted_to(1));
    // An agent that starts while nobody tells it what to run keeps what runs, and its static pods.
    let running = node.cri.running_ids();
    node.crash();
    node.until("fixed-off-1", "ready", LATER, is_ready);
    assert_eq!(node.cri.running_ids(), running);

    plane.start_api_server().unwrap();
    let after = until(&plane, "web", "told as restarted", restarted_to(1));
    assert_eq!(status::uid(&after), status::uid(&before));
    assert_eq!(node.cri.running_ids(), running, "nothing was restarted because the server was away");

    // It hangs: connections stay open and nothing answers. What was deleted meanwhile goes when it wakes up.
    plane.pause_api_server().unwrap();
    let main = node.cri.running("web", "main").id;
    runtime::kill_container(node.instance.containerd(), &main);
    node.until("web", "restarted while the API server hangs", LATER, restarted_to(2));
    plane.resume_api_server().unwrap();
    until(&plane, "web", "told as restarted again", restarted_to(2));
    let gone = plane.kubectl(&["delete", "pod", "web", "--timeout=90s"]).unwrap();
    assert!(gone.contains("deleted"), "{gone}");
    node.cri.wait_removed("web");
}
