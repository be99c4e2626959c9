//! Pods that the API server tells: their life from creation to deletion, and what the controllers make of their status.

use lab::agent::is_ready;
use serde_json::{Value, json};
use tests::cluster::{Member, bound};
use tests::{LATER, eventually, eventually_true, manifest, status};

fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

#[test]
fn a_pod_lives_from_kubectl_create_to_kubectl_delete() {
    let mut member = Member::started("pods-1");
    let script = format!("echo hello; {}", manifest::IDLE);
    let pod = bound("pods-1", manifest::script("web", &script));
    member.apply(&pod);
    let ready = member.until("web", "ready", is_ready);
    assert_eq!(phase(&ready), "Running");
    assert!(ready["status"]["podIPs"][0]["ip"].is_string(), "{}", ready["status"]);
    assert_eq!(ready["status"]["observedGeneration"], ready["metadata"]["generation"]);
    eventually_true("the container's words", LATER, || member.node.log_of("web", "main") == "hello\n");

    // Somebody else's condition stays when ours change.
    let foreign = json!({ "status": { "conditions": [{ "type": "example.com/gate", "status": "True" }] } });
    member.kubectl(&["patch", "pod", "web", "--subresource=status", "-p", &foreign.to_string()]);
    let before = status::conditions(&ready)["Ready"].clone();
    member.node.crash();
    let id = status::only(&ready)["containerID"].clone();
    member.node.ready("web");
    let after = member.until("web", "known as before", is_ready);
    assert_eq!(status::conditions(&after)["Ready"], before, "a restart of the agent flips nothing");
    assert_eq!(status::conditions(&after)["example.com/gate"].0, "True");
    assert_eq!(status::only(&after)["containerID"], id);

    // A pod of the same name comes right after: it waits for the first to be gone, and is another one.
    let old = status::uid(&after);
    member.kubectl(&["delete", "pod", "web", "--timeout=60s"]);
    let uid_dir = member.node.pod_dir(&old);
    eventually_true("the old pod's folder to go", LATER, || !uid_dir.exists());
    member.apply(&pod);
    let new = member.until("web", "ready again", is_ready);
    assert_ne!(status::uid(&new), old);

    // A pod that is deleted by force leaves the API server at once and the node soon after.
    member.kubectl(&["delete", "pod", "web", "--force", "--grace-period=0"]);
    member.node.cri.wait_removed("web");
}

#[test]
fn ends_are_told_and_controllers_act_on_them() {
    let member = Member::started("pods-2");
    let template = |script: &str, policy: &str, labels: Value| {
        let mut pod = bound("pods-2", manifest::script("x", script));
        pod["spec"]["restartPolicy"] = json!(policy);
        json!({ "metadata": { "labels": labels }, "spec": pod["spec"] })
    };
    member.apply(&json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "sum" },
        "spec": { "completions": 2, "parallelism": 1, "template": template("exit 0", "Never", json!({})) },
    }));
    let deployment = |script: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": { "app": "a" } },
                "template": template(script, "Always", json!({ "app": "a" })),
            },
        })
    };
    member.apply(&deployment(manifest::IDLE));
    member.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"]);
    member.kubectl(&["wait", "--for=condition=complete", "job/sum", "--timeout=120s"]);
    let done = member.kubectl(&["get", "pods", "-l=job-name=sum", "-o=jsonpath={.items[*].status.phase}"]);
    assert_eq!(done, "Succeeded Succeeded");

    member.apply(&deployment(&format!("echo two; {}", manifest::IDLE)));
    member.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"]);
    member.kubectl(&["delete", "deployment/app", "job/sum", "--cascade=foreground", "--timeout=120s"]);
    eventually("no pod of the node to be left", LATER, || {
        let left = member.kubectl(&["get", "pods", "--field-selector=spec.nodeName=pods-2", "-o=name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    eventually_true("nothing to be left in the runtime", LATER, || {
        member.node.cri.all_containers().is_empty()
    });
}
