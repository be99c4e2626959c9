//! The private control plane on the real machine: kubectl, identities and their rights, and that nothing of it stays.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lab::{
    ControlPlane, ControlPlaneParts,
    control_plane::{Identity, Validity},
    process, sweep_stale, wait,
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

/// Tells the test below to play the run that gets killed, and where to note its folder.
const VICTIM: &str = "PODWRIGHT_LAB_CLUSTER_VICTIM";

fn control_plane() -> ControlPlane {
    ControlPlane::new(&ControlPlaneParts::ready().expect("parts")).expect("a control plane")
}

fn processes_of(dir: &Path) -> Vec<String> {
    let below = format!("{}/", dir.display());
    let table = process::table();
    let ours = table.iter().filter(|entry| entry.args.iter().any(|arg| arg.contains(&below)));
    ours.map(|entry| entry.program.clone()).collect()
}

fn node(name: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } })
}

fn write_object(plane: &ControlPlane, object: &serde_json::Value) -> String {
    let file = plane.dir().join("object.json");
    std::fs::write(&file, object.to_string()).expect("written");
    file.display().to_string()
}

#[test]
fn identities_have_the_rights_of_a_real_cluster_and_closing_leaves_nothing() {
    let plane = control_plane();
    let version = plane.kubectl(&["version"]).expect("a version");
    assert!(version.contains("Server Version: v1.37.2"), "{version}");

    let own = plane.node_kubeconfig("n1").expect("a kubeconfig");
    let who = plane.kubectl_as(&own, &["auth", "whoami", "-o=json"]).expect("an identity");
    assert!(who.contains("system:node:n1") && who.contains("system:nodes"), "{who}");
    let object = write_object(&plane, &node("n1"));
    plane.kubectl_as(&own, &["create", "-f", &object]).expect("a node makes its own object");
    let object = write_object(&plane, &node("n2"));
    let refused = plane.kubectl_as(&own, &["create", "-f", &object]).expect_err("not another's");
    assert!(format!("{refused:#}").contains("is not allowed to modify node"), "{refused:#}");
    let refused = plane.kubectl_as(&own, &["get", "secrets", "-A"]).expect_err("not all secrets");
    assert!(format!("{refused:#}").contains("Forbidden"), "{refused:#}");

    let expired = Identity { user: "admin", group: "system:masters", validity: Validity::Expired };
    let expired = plane.kubeconfig("expired", expired).expect("a kubeconfig");
    assert!(plane.kubectl_as(&expired, &["get", "nodes"]).is_err());
    let forged = plane.token_kubeconfig("forged", "abcdef.0123456789abcdef").expect("a kubeconfig");
    assert!(plane.kubectl_as(&forged, &["get", "nodes"]).is_err());

    let dir = plane.dir().to_owned();
    assert_eq!(processes_of(&dir).len(), 4, "{:?}", processes_of(&dir));
    plane.close().expect("closed");
    assert!(!dir.exists() && processes_of(&dir).is_empty(), "{:?}", processes_of(&dir));
}

#[test]
fn pods_are_scheduled_and_tokens_and_bootstrap_requests_are_served() {
    let plane = control_plane();
    let own = plane.node_kubeconfig("n1").expect("a kubeconfig");
    let object = write_object(&plane, &node("n1"));
    plane.kubectl_as(&own, &["create", "-f", &object]).expect("created");
    wait::until("the status of the node to be taken", LIMIT, || {
        let known = plane.kubectl_as(&own, &["get", "--raw=/api/v1/nodes/n1"])?;
        let mut ready: serde_json::Value = serde_json::from_str(&known)?;
        ready["status"] = json!({
            "capacity": { "cpu": "1", "memory": "1Gi", "pods": "10" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "T", "message": "t" }],
        });
        let object = write_object(&plane, &ready);
        // The cluster's controllers may have tainted the node since it was read; a node may not take that back.
        let replaced = plane.kubectl_as(&own, &["replace", "--raw=/api/v1/nodes/n1/status", "-f", &object]);
        Ok(match replaced {
            Ok(_) => wait::Look::Done(()),
            Err(error) => wait::Look::Waiting(format!("{error:#}")),
        })
    })
    .expect("taken");
    plane
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        }))
        .expect("a pod");
    wait::until("the pod to be bound", LIMIT, || {
        let bound = plane.kubectl(&["get", "pod", "p", "-o=jsonpath={.spec.nodeName}"])?;
        Ok(if bound == "n1" { wait::Look::Done(()) } else { wait::Look::Waiting(bound) })
    })
    .expect("bound");
    let token = plane.kubectl(&["create", "token", "default"]).expect("a token");
    let account = plane.token_kubeconfig("account", token.trim()).expect("a kubeconfig");
    let who = plane.kubectl_as(&account, &["auth", "whoami", "-o=json"]).expect("an identity");
    assert!(who.contains("system:serviceaccount:default:default"), "{who}");
    let bootstrap = plane.bootstrap_kubeconfig().expect("a kubeconfig");
    let may = plane.kubectl_as(&bootstrap, &["auth", "can-i", "create", "certificatesigningrequests"]);
    assert_eq!(may.expect("an answer").trim(), "yes");
    plane.close().expect("closed");
}

#[test]
fn the_api_server_stops_pauses_and_comes_back() {
    let mut plane = control_plane();
    plane.kubectl(&["create", "configmap", "kept"]).expect("created");
    let get = ["--request-timeout=2s", "get", "configmap", "kept"];
    plane.pause_api_server().expect("paused");
    plane.kubectl(&get).expect_err("nothing answers");
    plane.resume_api_server().expect("resumed");
    plane.kubectl(&get).expect("answers");
    plane.stop_api_server().expect("stopped");
    plane.kubectl(&get).expect_err("nobody listens");
    plane.start_api_server().expect("started");
    plane.kubectl(&get).expect("nothing was lost");
    plane.close().expect("closed");
}

#[test]
fn what_a_killed_run_left_is_swept_away() {
    if let Some(note) = std::env::var_os(VICTIM) {
        let plane = control_plane();
        plane.pause_api_server().expect("paused");
        std::fs::write(note, format!("{}\n", plane.dir().display())).expect("noted");
        wait::let_pass(LIMIT);
        panic!("nobody killed this run");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("note");
    let mut victim = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "what_a_killed_run_left_is_swept_away"])
        .env(VICTIM, &note)
        .stdout(Stdio::null())
        .spawn()
        .expect("a victim");
    let noted = || std::fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n'));
    wait::until_true("the victim to be up", LIMIT, noted).expect("up");
    victim.kill().expect("killed");
    victim.wait().expect("ended");
    let dir = PathBuf::from(std::fs::read_to_string(&note).expect("a note").trim());
    assert!(dir.exists(), "nothing was left, so nothing is tested");
    sweep_stale().expect("swept");
    assert!(!dir.exists() && processes_of(&dir).is_empty(), "{:?}", processes_of(&dir));
}
