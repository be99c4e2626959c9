//! The life of a pod: edits, removal, ends of containers and what is said of them, grace periods, logs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use core_types::runtime::ContainerState;
use lab::{agent::is_ready, wait::Stopwatch};
use serde_json::{Value, json};
use tests::{
    LATER, Node, SOON, cgroup, eventually, eventually_true,
    manifest::{self, pod, shell, with},
    node::full_name,
    status,
};

#[test]
fn an_edited_manifest_replaces_the_pod() {
    let mut node = Node::started();
    let pod_saying = |word: &str| manifest::script("edit", &format!("echo {word}; {}", manifest::IDLE));
    node.put(&manifest::idle("bystander"));
    node.put(&pod_saying("one"));
    let bystander = status::only(&node.ready("bystander"));
    let old = node.ready("edit");
    let old_id = status::id(&status::only(&old));
    node.put(&pod_saying("two"));
    let new = node.until("edit", "ready with the new spec", SOON, |pod| {
        is_ready(pod) && status::uid(pod) != status::uid(&old)
    });
    assert_ne!(status::id(&status::only(&new)), old_id);
    eventually_true("the new script's word", SOON, || node.log_of("edit", "main") == "two\n");
    eventually("only the new container to run", SOON, || {
        let live = node.cri.containers("edit").into_iter().filter(|c| c.state == ContainerState::Running);
        let ids: Vec<_> = live.map(|c| c.id.to_string()).collect();
        if ids == [status::id(&status::only(&new))] { Ok(()) } else { Err(format!("{ids:?}")) }
    });
    eventually_true("the old pod's folder to go", SOON, || !node.pod_dir(&status::uid(&old)).exists());
    // The same bytes once more, and a comment's worth of change: nothing happens to a pod that stays what it was.
    node.agent.put_manifest("edit.json", &format!("# the same\n{}", pod_saying("two"))).unwrap();
    node.put(&manifest::idle("marker"));
    node.ready("marker");
    assert_eq!(status::only(&node.pod("edit"))["containerID"], status::only(&new)["containerID"]);
    assert_eq!(status::only(&node.pod("bystander"))["containerID"], bystander["containerID"]);
}

#[test]
fn nothing_stays_of_a_pod_whose_manifest_is_removed() {
    let mut node = Node::started();
    let volume =
        json!([{ "name": "data", "emptyDir": {} }, { "name": "mem", "emptyDir": { "medium": "Memory" } }]);
    let mounts = json!([{ "name": "data", "mountPath": "/data" }, { "name": "mem", "mountPath": "/mem" }]);
    let main = with(shell("main", manifest::IDLE), json!({ "volumeMounts": mounts }));
    node.put(&pod("leaver", json!({ "containers": [main], "volumes": volume })));
    node.put(&manifest::idle("stayer"));
    let (leaver, stayer) = (node.ready("leaver"), node.ready("stayer"));
    let uid = status::uid(&leaver);
    node.cri.sh("leaver", "main", "echo x > /data/x; echo y > /mem/y");
    let cgroups = cgroup::dir(&node.instance, "memory", &format!("kubepods/besteffort/pod{uid}"));
    assert!(cgroups.is_dir(), "{}", cgroups.display());
    node.take("leaver");
    node.gone("leaver");
    eventually_true("its folder to go", SOON, || !node.pod_dir(&uid).exists());
    eventually_true("its cgroup to go", SOON, || !cgroups.exists());
    eventually_true("its log folder to go", SOON, || !node.log_dir(&leaver).exists());
    node.cri.wait_removed("leaver");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&uid), "{mounts}");
    assert_eq!(status::only(&node.pod("stayer"))["containerID"], status::only(&stayer)["containerID"]);
}

#[test]
fn ends_of_containers_decide_the_phase() {
    let mut node = Node::started();
    let ending = |name: &str, policy: &str, code: u8| {
        let main = shell("main", &format!("echo done; exit {code}"));
        pod(name, json!({ "restartPolicy": policy, "containers": [main] }))
    };
    for (name, policy, code) in
        [("never-0", "Never", 0), ("never-3", "Never", 3), ("onfailure-0", "OnFailure", 0)]
    {
        node.put(&ending(name, policy, code));
    }
    // One attempt fails, the next one succeeds: what it leaves in the volume tells them apart.
    let twice = with(
        shell("main", "test -e /data/was-here && exit 0; touch /data/was-here; exit 1"),
        json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }),
    );
    let volumes = json!([{ "name": "data", "emptyDir": {} }]);
    node.put(&pod(
        "onfailure-1-0",
        json!({ "restartPolicy": "OnFailure", "containers": [twice], "volumes": volumes }),
    ));
    node.put(&ending("always-3", "Always", 3));

    let loser = node.waiting("always-3", "CrashLoopBackOff");
    for (name, phase, code, reason) in [
        ("never-0", "Succeeded", 0, "Completed"),
        ("never-3", "Failed", 3, "Error"),
        ("onfailure-0", "Succeeded", 0, "Completed"),
        ("onfailure-1-0", "Succeeded", 0, "Completed"),
    ] {
        let pod = node.phase(name, phase);
        let ended = &status::only(&pod)["state"]["terminated"];
        assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(code), &json!(reason)), "{name}: {pod}");
        assert!(ended["startedAt"].is_string() && ended["finishedAt"].is_string(), "{name}: {ended}");
        assert_eq!(status::conditions(&pod)["Ready"].0, "False", "{name}");
    }
    assert_eq!(status::restarts(&node.pod("onfailure-1-0")), 1);
    assert_eq!(status::restarts(&node.pod("never-3")), 0);
    let always = node.pod("always-3");
    assert_eq!(always["status"]["phase"], "Running");
    back_off_grows(&mut node, &loser, &status::uid(&always));
    // An ended pod keeps its log and stays ended over a crash of the agent.
    assert_eq!(node.log_of("never-3", "main"), "done\n");
    node.crash();
    assert_eq!(status::restarts(&node.phase("never-3", "Failed")), 0);
    node.phase("onfailure-1-0", "Succeeded");
}

fn back_off_grows(node: &mut Node, first: &Value, uid: &str) {
    let text = |seconds: u64| {
        format!(
            "back-off {seconds}s restarting failed container=main pod={}_default({uid})",
            full_name("always-3")
        )
    };
    let message = first["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, text(10));
    assert_eq!(first["lastState"]["terminated"]["exitCode"], 3, "{first}");
    node.until("always-3", "in its second back-off", LATER, |pod| {
        status::waiting(pod) == [format!("CrashLoopBackOff: {}", text(20))]
    });
    assert_eq!(status::restarts(&node.pod("always-3")), 2, "the first start, one at once, one after 10 s");
}

#[test]
fn a_container_leaves_its_last_words() {
    let mut node = Node::started();
    let one = |name: &str, container: Value| {
        pod(name, json!({ "restartPolicy": "Never", "containers": [container] }))
    };
    node.put(&one("by-file", shell("main", "echo log; echo out of luck > /dev/termination-log; exit 4")));
    node.put(&one(
        "elsewhere",
        with(
            shell("main", "echo here > /tmp/last; exit 4"),
            json!({ "terminationMessagePath": "/tmp/last" }),
        ),
    ));
    let fallback = json!({ "terminationMessagePolicy": "FallbackToLogsOnError" });
    let lines = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done";
    node.put(&one("by-log", with(shell("main", &format!("{lines}; exit 5")), fallback.clone())));
    node.put(&one("by-log-fine", with(shell("main", &format!("{lines}; exit 0")), fallback.clone())));
    node.put(&one(
        "both",
        with(shell("main", "echo log; echo file > /dev/termination-log; exit 6"), fallback),
    ));
    node.put(&one(
        "huge",
        shell("main", "head -c 100000 /dev/zero | tr '\\0' x > /dev/termination-log; exit 7"),
    ));
    let mut message = |name: &str| {
        let pod = node.until(name, "ended", SOON, |pod| {
            !status::containers(pod).is_empty() && { status::only(pod)["state"]["terminated"].is_object() }
        });
        status::only(&pod)["state"]["terminated"]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(message("by-file"), "out of luck\n");
    assert_eq!(message("elsewhere"), "here\n");
    let log = message("by-log");
    assert!(
        log.ends_with("line 99\nline 100\n") && log.starts_with("line 21\n"),
        "the last 80 lines, not: {log:?}"
    );
    assert_eq!(message("by-log-fine"), "");
    assert_eq!(message("both"), "file\n");
    let huge = message("huge");
    assert!(huge.starts_with("xxx") && huge.len() <= 4096, "{} bytes", huge.len());
}

#[test]
fn a_container_gets_its_grace_period_and_no_more() {
    let mut node = Node::started();
    let kept = tempfile::tempdir().unwrap();
    let volumes = json!([{ "name": "kept", "hostPath": { "path": kept.path() } }]);
    let mounts = json!({ "volumeMounts": [{ "name": "kept", "mountPath": "/kept" }] });
    let of = |name: &str, grace: u64, script: &str| {
        let main = with(shell("main", script), mounts.clone());
        pod(name, json!({ "terminationGracePeriodSeconds": grace, "containers": [main], "volumes": volumes }))
    };
    let polite = "trap 'sleep 1; echo tidy > /kept/polite; exit 0' TERM; sleep 100000 & wait";
    let deaf = "trap 'echo heard > /kept/deaf' TERM; while :; do sleep 0.2; done";
    node.put(&of("polite", 20, polite));
    node.put(&of("deaf", 3, deaf));
    node.ready("polite");
    node.ready("deaf");
    let clock = Stopwatch::start();
    node.take("polite");
    node.take("deaf");
    node.gone("polite");
    let polite_took = clock.elapsed().as_secs_f32();
    node.gone("deaf");
    let deaf_took = clock.elapsed().as_secs_f32();
    assert!((1.0..10.0).contains(&polite_took), "{polite_took} s");
    assert!((3.0..15.0).contains(&deaf_took), "{deaf_took} s");
    assert_eq!(fs::read_to_string(kept.path().join("polite")).unwrap(), "tidy\n");
    assert_eq!(fs::read_to_string(kept.path().join("deaf")).unwrap(), "heard\n");
}

#[test]
fn logs_lie_where_others_look_for_them() {
    let mut node = Node::started();
    node.put(&manifest::script(
        "talker",
        &format!("echo out; echo err >&2; printf part; {}", manifest::IDLE),
    ));
    let pod = node.ready("talker");
    let dir = node.log_dir(&pod);
    assert!(
        dir.ends_with(format!("default_{}_{}", full_name("talker"), status::uid(&pod))),
        "{}",
        dir.display()
    );
    let file = dir.join("main/0.log");
    let log = eventually("three lines in the log", SOON, || {
        let log = fs::read_to_string(&file).unwrap_or_default();
        if log.lines().count() >= 2 { Ok(log) } else { Err(log) }
    });
    for line in log.lines() {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        assert!(fields[0].len() >= 20 && fields[0].contains('T'), "{line}");
        assert!(
            matches!(
                (fields[1], fields[2], fields[3]),
                ("stdout", "F", "out") | ("stderr", "F", "err") | ("stdout", "P", "part")
            ),
            "{line}"
        );
    }
    for folder in [dir.join("main"), dir] {
        let mode = folder.metadata().unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o755 || mode == 0o750, "{}: {mode:o}", folder.display());
    }
    let id = status::id(&status::only(&pod));
    let link =
        Path::new("/var/log/containers").join(format!("{}_default_main-{id}.log", full_name("talker")));
    assert_eq!(fs::read_to_string(&link).unwrap(), log, "{}", link.display());
    node.take("talker");
    node.gone("talker");
    eventually_true("the link to go", SOON, || fs::symlink_metadata(&link).is_err());
}
