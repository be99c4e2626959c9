//! The API server refuses, dawdles, or is cut off without a word: what runs goes on, and what happened is told when it can be.

use std::time::Duration;

use lab::agent::is_ready;
use serde_json::Value;
use tests::api_proxy::{ApiProxy, Fault};
use tests::cluster::{apply, bound, prepared, shared_plane, until};
use tests::{LATER, eventually_true, manifest, runtime, status};

const NODE: &str = "faulty-1";

fn restarted(pod: &Value) -> bool {
    is_ready(pod) && status::restarts(pod) == 1
}

#[test]
fn pods_go_on_and_are_told_of_whatever_the_api_server_does() {
    let plane = shared_plane();
    let mut node = prepared(&plane, NODE);
    let proxy = ApiProxy::start(&plane, NODE);
    node.agent.flags.retain(|flag| !flag.starts_with("--kubeconfig="));
    node.agent.flags.push(format!("--kubeconfig={}", proxy.kubeconfig().display()));
    node.start();
    let faults = [
        ("api-busy", Some(Fault::Answer(429))),
        ("api-broken", Some(Fault::Answer(500))),
        ("api-slow", Some(Fault::Slow(Duration::from_secs(4)))),
        ("api-cut-off", None),
    ];
    apply(&plane, NODE, &bound(NODE, manifest::idle("api-steady")));
    for (name, _) in faults {
        apply(&plane, NODE, &bound(NODE, manifest::idle(name)));
    }
    let steady = until(&plane, "api-steady", "ready", is_ready);
    for (name, _) in faults {
        until(&plane, name, "ready", is_ready);
    }
    for (name, fault) in faults {
        match fault {
            Some(fault) => proxy.set(fault),
            // Connections stay open and nothing comes any more, as when a firewall forgets them.
            None => assert!(proxy.freeze() > 0),
        }
        let main = node.cri.running(name, "main").id;
        runtime::kill_container(node.instance.containerd(), &main);
        node.until(name, "restarted", LATER, restarted);
        if let Some(Fault::Answer(_)) = fault {
            eventually_true("several requests to be refused", LATER, || proxy.met() > 3);
            let known = tests::cluster::pod(&plane, name).unwrap();
            assert_eq!(status::restarts(&known), 0, "nothing could be told");
        }
        proxy.set(Fault::None);
        until(&plane, name, "told as restarted", restarted);
    }
    // What came while the old connections were dead is seen over new ones.
    apply(&plane, NODE, &bound(NODE, manifest::idle("api-late")));
    until(&plane, "api-late", "ready", is_ready);
    let after = until(&plane, "api-steady", "ready", is_ready);
    assert_eq!(status::only(&after)["containerID"], status::only(&steady)["containerID"]);
    assert_eq!(status::conditions(&after), status::conditions(&steady), "no condition has flipped");
}
