//! The program that a person types.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually,
    manifest::{self, IDLE, pod, shell},
    status,
};

/// Exit codes of `podwright`.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const TIMEOUT: i32 = 3;
const UNREACHABLE: i32 = 4;

#[test]
fn run_follows_a_pod_until_it_is_ready_and_rm_removes_it() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let mode = node.agent.local_socket().metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let empty = podwright.run(&["ps"]);
    assert!(empty.code == 0 && empty.out.is_empty() && empty.err.contains("no pods"), "{empty:?}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.yaml");
    fs::write(&file, manifest::idle("one").to_string()).unwrap();
    let said = podwright.run(&["run", &file.to_string_lossy()]).ok();
    assert!(
        said.contains("pod default/one created")
            && said.contains("one")
            && said.to_lowercase().contains("ready"),
        "{said}"
    );
    assert!(lab::agent::is_ready(&node.pod("one")), "it came back when the pod was ready");
    let again = podwright.run(&["run", &file.to_string_lossy()]).ok();
    assert!(again.contains("unchanged"), "{again}");

    let two = format!("{}\n---\n{}\n", manifest::idle("two"), manifest::idle("three"));
    let said = podwright.run_with(&["run", "-"], &two).ok();
    assert!(said.contains("default/two created") && said.contains("default/three created"), "{said}");
    fs::write(folder.path().join("four.json"), manifest::idle("four").to_string()).unwrap();
    podwright.run(&["run", &folder.path().to_string_lossy()]).ok();

    let table = podwright.run(&["ps"]).ok();
    let rows: Vec<&str> = table.lines().collect();
    assert!(
        rows[0].starts_with("NAMESPACE") && rows[0].contains("READY") && rows[0].contains("RESTARTS"),
        "{table}"
    );
    for name in ["one", "two", "three", "four"] {
        let row = rows
            .iter()
            .find(|row| row.split_whitespace().nth(1) == Some(name))
            .unwrap_or_else(|| panic!("{table}"));
        assert!(row.contains("1/1") && row.contains("Running"), "{row}");
    }
    let list = podwright.run(&["ps", "-o", "json"]).json();
    assert_eq!(list.as_array().map(Vec::len), Some(4), "{list}");
    assert!(list[0]["pod"]["metadata"]["uid"].is_string() && list[0]["explanation"].is_object(), "{list}");
    assert!(podwright.run(&["ps", "-o", "yaml"]).ok().contains("name: one"));

    // What was run stays over a crash of the agent, and is run again after it was killed meanwhile.
    let ids = node.cri.running_ids();
    node.crash();
    for name in ["one", "two", "three", "four"] {
        node.ready(name);
    }
    assert_eq!(node.cri.running_ids(), ids);

    let changed = manifest::script("one", &format!("echo changed; {IDLE}"));
    let said = podwright.run_with(&["run", "-"], &changed.to_string()).ok();
    assert!(said.contains("default/one changed"), "{said}");
    eventually("the new words", SOON, || {
        let said = podwright.run(&["logs", "one"]);
        if said.out == "changed\n" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let said = podwright.run(&["rm", "--wait", "one", "two"]).ok();
    assert!(said.contains("default/one") && said.contains("default/two"), "{said}");
    assert_eq!(node.agent.pod("one").unwrap(), None);
    assert!(node.cri.sandboxes("one").iter().all(|s| s.state == core_types::runtime::SandboxState::NotReady));
    node.crash();
    node.ready("three");
    assert_eq!(node.agent.pod("one").unwrap(), None, "what was removed stays removed");
}

#[test]
fn logs_and_exec_reach_into_containers() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let talker = "i=0; trap 'exit 0' TERM; while :; do i=$((i+1)); echo line $i; sleep 0.2; done";
    node.put(&pod(
        "talker",
        json!({ "containers": [shell("main", talker), shell("other", &format!("echo other; {IDLE}"))] }),
    ));
    node.ready("talker");
    let mut follow = podwright.follow(&["logs", "-f", "talker", "-c", "main"]);
    let seen = follow.until("line 5\n", SOON);
    assert!(seen.starts_with("line 1\nline 2\nline 3\n"), "{seen}");
    assert_eq!(podwright.run(&["logs", "talker", "-c", "other"]).ok(), "other\n");
    let tail = podwright.run(&["logs", "--tail", "2", "--timestamps", "talker"]).ok();
    assert!(
        tail.lines().count() == 2
            && tail.lines().all(|line| line.starts_with("20") && line.contains("Z line ")),
        "{tail}"
    );

    let exec = |args: &[&str], input: &str| {
        let mut all = vec!["exec", "-c", "main"];
        all.extend(args);
        podwright.run_with(&all, input)
    };
    assert_eq!(exec(&["talker", "--", "echo", "hello world"], "").ok(), "hello world\n");
    let failed = exec(&["talker", "--", "sh", "-c", "echo out; echo err >&2; exit 42"], "");
    assert_eq!((failed.code, failed.out.as_str(), failed.err.as_str()), (42, "out\n", "err\n"));
    assert_eq!(exec(&["-i", "talker", "--", "wc", "-c"], &"x".repeat(100_000)).ok().trim(), "100000");
    let missing = exec(&["talker", "--", "no-such-program"], "");
    assert!(missing.code != 0 && missing.err.contains("no-such-program"), "{missing:?}");
    let wrong = podwright.run(&["exec", "-c", "nobody", "talker", "--", "true"]);
    assert!(wrong.code == FAILED && wrong.err.contains("nobody") && wrong.err.contains("main"), "{wrong:?}");
    // The container ends, and with it what follows its log.
    let id = node.cri.running("talker", "main").id;
    node.cri.stop(&id, Duration::from_secs(2));
    assert_eq!(follow.end(), 0);
    node.until("talker", "restarted", SOON, |pod| status::container(pod, "main")["restartCount"] == 1);
    let previous = podwright.run(&["logs", "--previous", "-c", "main", "talker"]).ok();
    assert!(previous.starts_with("line 1\n"), "{previous}");
}

#[test]
fn why_explains_the_good_and_the_bad() {
    let mut node = Node::started();
    let podwright = node.podwright();
    node.put(&manifest::idle("healthy"));
    node.put(&manifest::script("crashing", "echo no luck; exit 3"));
    node.put(&manifest::of_image("unpullable", "podwright.test/none:1", "Never"));
    node.ready("healthy");
    node.waiting("crashing", "CrashLoopBackOff");
    node.waiting("unpullable", "ErrImageNeverPull");
    let why = |name: &str| podwright.run(&["why", name]).ok();
    let healthy = why("healthy");
    assert!(healthy.contains("healthy") && healthy.to_lowercase().contains("ready"), "{healthy}");
    let crashing = eventually("the next retry to be known", SOON, || {
        let text = why("crashing");
        if text.contains("Next retry") { Ok(text) } else { Err(text) }
    });
    for part in ["crashing", "main", "3", "restart"] {
        assert!(crashing.contains(part), "no {part:?} in {crashing}");
    }
    assert!(crashing.contains("Since:"), "{crashing}");
    let unpullable = why("unpullable");
    assert!(unpullable.contains("podwright.test/none:1") && unpullable.contains("Never"), "{unpullable}");
    for text in [&healthy, &crashing, &unpullable] {
        assert!(text.lines().count() <= 24, "one screen:\n{text}");
    }
    let value: Value = podwright.run(&["why", "crashing", "-o", "json"]).json();
    assert!(value.is_object(), "{value}");

    let loser = manifest::of_image("loser", "podwright.test/none:1", "Never").to_string();
    let failed = podwright.run_with(&["run", "--timeout", "3s", "-"], &loser);
    assert!(failed.code == TIMEOUT && failed.all().contains("loser"), "{failed:?}");
    let init = json!([shell("init", "exit 1")]);
    let spec =
        json!({ "restartPolicy": "Never", "initContainers": init, "containers": [shell("main", IDLE)] });
    let failed = podwright.run_with(&["run", "-"], &pod("quitter", spec).to_string());
    assert!(failed.code == FAILED && failed.all().contains("quitter"), "{failed:?}");
    let spec = json!({ "restartPolicy": "Never", "containers": [shell("main", "exit 0")] });
    podwright.run_with(&["run", "-"], &pod("worker", spec).to_string()).ok();
}

#[test]
fn wrong_use_has_its_own_exit_codes() {
    let mut node = Node::prepared();
    let podwright = node.podwright();
    for args in [
        &["ps"][..],
        &["why", "x"],
        &["run", "-"],
        &["rm", "x"],
        &["exec", "x", "--", "true"],
        &["logs", "x"],
    ] {
        let said = podwright.run_with(args, &manifest::idle("x").to_string());
        assert!(said.code == UNREACHABLE && said.err.contains("no agent listens"), "{args:?}: {said:?}");
        assert!(said.err.contains(&*node.agent.local_socket().to_string_lossy()), "{args:?}: {said:?}");
    }
    node.put(&manifest::idle("by-file"));
    node.start();
    node.ready("by-file");
    for (args, code, says) in [
        (&["why", "nobody"][..], FAILED, "nobody"),
        (&["logs", "nobody"], FAILED, "nobody"),
        (&["rm", "by-file"], FAILED, "by-file"),
        (&["run", "/no/such/file.yaml"], FAILED, "/no/such/file.yaml"),
        (&["run"], USAGE, "FILE"),
        (&["frobnicate"], USAGE, "frobnicate"),
        (&["exec", "by-file"], USAGE, "COMMAND"),
    ] {
        let said = podwright.run(args);
        assert!(said.code == code && said.err.contains(says), "{args:?}: {said:?}");
    }
    for (input, says) in [
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", "Deployment"),
        ("{ half", "line 1"),
        ("", "empty"),
    ] {
        let said = podwright.run_with(&["run", "-"], input);
        assert!(
            (said.code == FAILED || said.code == USAGE) && said.err.contains(says),
            "{input:?}: {said:?}"
        );
    }
    assert_eq!(node.agent.pods().unwrap().len(), 1, "nothing of it was taken");
    for shell in ["bash", "zsh", "fish"] {
        assert!(podwright.run(&["completion", shell]).ok().contains("podwright"));
    }
}
