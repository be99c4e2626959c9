//! Static pods on a node of a cluster: what stands for them at the API server.

use lab::agent::is_ready;
use serde_json::json;
use tests::cluster::Member;
use tests::{LATER, SOON, eventually, manifest, status};

#[test]
fn a_static_pod_has_a_mirror_that_follows_it() {
    let mut member = Member::started("static-1");
    member.node.put(&manifest::idle("fixed"));
    let mirror = member.until("fixed-static-1", "ready", is_ready);
    let own = member.node.until("fixed-static-1", "ready", SOON, is_ready);
    let annotations = &mirror["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    let owner = &mirror["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("Node"), &json!("static-1"), &json!(true))
    );
    assert_ne!(status::uid(&mirror), status::uid(&own), "the server gives the mirror a UID of its own");
    assert_eq!(status::only(&mirror)["containerID"], status::only(&own)["containerID"]);

    // Deleting the mirror is no deletion of the pod: it is made anew.
    member.kubectl(&["delete", "pod", "fixed-static-1", "--timeout=60s"]);
    let again = member.until("fixed-static-1", "ready anew", |pod| {
        is_ready(pod) && status::uid(pod) != status::uid(&mirror)
    });
    assert_eq!(status::only(&again)["containerID"], status::only(&own)["containerID"]);
    assert_eq!(status::restarts(&again), 0);

    // Another manifest is another pod, and so another mirror; no manifest is none.
    member.node.put(&manifest::script("fixed", &format!("echo two; {}", manifest::IDLE)));
    let changed = member.until("fixed-static-1", "ready with the new manifest", |pod| {
        is_ready(pod) && status::uid(pod) != status::uid(&again)
    });
    assert_ne!(
        changed["metadata"]["annotations"]["kubernetes.io/config.hash"],
        annotations["kubernetes.io/config.hash"]
    );
    member.node.take("fixed");
    eventually("the mirror to go", LATER, || match member.pod("fixed-static-1") {
        None => Ok(()),
        Some(pod) => Err(pod["status"].to_string()),
    });
}
