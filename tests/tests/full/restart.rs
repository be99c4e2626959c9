//! The agent is killed and comes back: it takes over what runs, and finishes what was asked meanwhile.

use core_types::runtime::ContainerState;
use serde_json::json;
use tests::{
    Node, SOON, eventually, eventually_true,
    manifest::{self, pod, shell},
    runtime::kill_container,
    status,
};

#[test]
fn a_killed_agent_comes_back_to_the_same_containers() {
    let mut node = Node::started();
    let init = json!([
        shell("first", "exit 0"),
        tests::manifest::with(shell("side", manifest::IDLE), json!({ "restartPolicy": "Always" }))
    ]);
    let both = json!([shell("a", manifest::IDLE), shell("b", manifest::IDLE)]);
    node.put(&pod("rich", json!({ "initContainers": init, "containers": both })));
    node.put(&manifest::idle("plain"));
    node.put(&pod("done", json!({ "restartPolicy": "Never", "containers": [shell("main", "exit 0")] })));
    let names = ["rich", "plain"];
    let before = names.map(|name| node.ready(name));
    node.phase("done", "Succeeded");
    let ids = node.cri.running_ids();
    assert_eq!(ids.len(), 4);
    for _ in 0..3 {
        node.crash();
        let after = names.map(|name| node.ready(name));
        for (old, new) in before.iter().zip(&after) {
            assert_eq!(status::verdicts(new), status::verdicts(old));
            let ids = |pod| status::containers(pod).iter().map(status::id).collect::<Vec<_>>();
            assert_eq!(ids(new), ids(old));
            assert!(status::containers(new).iter().all(|c| c["restartCount"] == 0), "{new}");
        }
        node.phase("done", "Succeeded");
    }
    assert_eq!(node.cri.running_ids(), ids);
}

#[test]
fn what_happened_while_the_agent_was_away_is_made_good() {
    let mut node = Node::started();
    for name in ["removed", "edited", "died", "kept"] {
        node.put(&manifest::idle(name));
    }
    let [_, edited, died, kept] = ["removed", "edited", "died", "kept"].map(|name| node.ready(name));
    node.agent.kill().unwrap();
    node.take("removed");
    node.put(&manifest::script("edited", &format!("echo new; {}", manifest::IDLE)));
    node.put(&manifest::idle("added"));
    let victim = node.cri.running("died", "main").id;
    kill_container(node.instance.containerd(), &victim);
    eventually("the runtime to notice", SOON, || {
        let state = node.cri.status(&victim).state;
        if state == ContainerState::Exited { Ok(()) } else { Err(format!("{state:?}")) }
    });
    node.start();
    node.ready("added");
    node.cri.wait_stopped("removed");
    assert_eq!(node.agent.pod("removed").unwrap(), None);
    let died_now =
        node.until("died", "restarted", SOON, |pod| lab::agent::is_ready(pod) && status::restarts(pod) == 1);
    assert_eq!(status::uid(&died_now), status::uid(&died));
    let edited_now = node.until("edited", "ready with the new spec", SOON, |pod| {
        lab::agent::is_ready(pod) && status::uid(pod) != status::uid(&edited)
    });
    assert_ne!(status::only(&edited_now)["containerID"], status::only(&edited)["containerID"]);
    eventually_true("the edited pod's new words", SOON, || node.log_of("edited", "main") == "new\n");
    assert_eq!(status::only(&node.pod("kept"))["containerID"], status::only(&kept)["containerID"]);
    assert_eq!(status::restarts(&node.pod("kept")), 0);
    node.cri.wait_removed("removed");
}

#[test]
fn a_terminating_pod_is_finished_after_a_crash() {
    let mut node = Node::started();
    let spec =
        json!({ "terminationGracePeriodSeconds": 6, "containers": [shell("main", manifest::STUBBORN)] });
    node.put(&pod("slow", spec));
    let uid = status::uid(&node.ready("slow"));
    node.take("slow");
    // Its end has begun when the agent dies.
    node.logged(0, &["Stopping container main"]);
    node.crash();
    node.gone("slow");
    eventually_true("its folder to go", SOON, || !node.pod_dir(&uid).exists());
}

#[test]
fn a_pod_that_the_runtime_has_lost_is_made_anew_and_its_logs_are_kept() {
    let mut node = Node::started();
    node.put(&manifest::script("lost", &format!("echo here; {}", manifest::IDLE)));
    let before = node.ready("lost");
    eventually_true("the first words", SOON, || node.log_of("lost", "main") == "here\n");
    // While the agent is away, and while it is there.
    for run in 1..=2 {
        if run == 1 {
            node.agent.kill().unwrap();
        }
        node.cri.wipe("lost");
        if run == 1 {
            node.start();
        }
        let after = node.until("lost", "ready anew", SOON, |pod| {
            lab::agent::is_ready(pod) && status::restarts(pod) >= run
        });
        assert_eq!(status::uid(&after), status::uid(&before));
        assert_ne!(status::only(&after)["containerID"], status::only(&before)["containerID"]);
        let logs = node.log_dir(&after).join("main");
        assert!(logs.join(format!("{run}.log")).is_file(), "a log of its own");
        assert!(std::fs::read_to_string(logs.join("0.log")).unwrap().ends_with(" stdout F here\n"));
    }
}
