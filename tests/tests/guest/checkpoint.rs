//! Checkpoints of running containers, by a CRIU that knows the machine's kernel.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually_true, https,
    manifest::{pod, shell},
    node::full_name,
    status,
};

use crate::run;

const COUNT: &str = "i=0; while true; do i=$((i+1)); echo $i >/tmp/count; sleep 0.1; done";

/// Whether the machine's CRIU, if it has one, works with its kernel.
fn has_criu() -> bool {
    Command::new("criu").arg("check").output().is_ok_and(|said| said.status.success())
}

#[test]
fn a_running_container_goes_on_after_its_state_was_archived() {
    if !has_criu() {
        return lab::skip("there is no CRIU, or it does not work with this kernel");
    }
    let mut node = Node::started();
    node.put(&pod("counting", json!({ "containers": [shell("main", COUNT)] })));
    node.ready("counting");
    let port = node.agent.ports().secure;
    let ask = |container: &str| {
        let path = format!("/checkpoint/default/{}/{container}", full_name("counting"));
        https::post(port, &path, None)
    };

    let (code, body) = ask("main");
    assert_eq!(code, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let archive = answer["items"][0].as_str().unwrap();
    assert!(
        archive.starts_with(&node.agent.root_dir().join("checkpoints").display().to_string()),
        "{archive}"
    );
    assert_eq!(fs::metadata(archive).unwrap().permissions().mode() & 0o777, 0o600, "it holds the memory");
    let content = run(&["tar", "-tf", archive]);
    for part in ["checkpoint/", "config.dump", "spec.dump"] {
        assert!(content.lines().any(|name| name.contains(part)), "{part} is missing: {content}");
    }

    let count = || node.cri.sh("counting", "main", "cat /tmp/count").trim().parse::<u64>().unwrap_or(0);
    let before = count();
    eventually_true("the container to go on", SOON, || count() > before);
    assert_eq!(status::restarts(&node.pod("counting")), 0);

    assert_eq!(ask("other"), (404, "container other does not exist".to_owned()));
}
