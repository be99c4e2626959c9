//! A shutdown by systemd itself: it waits for the pods, and all is as before when the machine stays up after all.

use std::{fs, path::Path};

use serde_json::json;
use tests::{
    LATER, Node, eventually,
    manifest::{self, pod},
    status,
};

use crate::{is_guest, run};

const LOGIND: &str = "/usr/lib/systemd/systemd-logind";

/// Asks logind's manager by `busctl`: what to do, and with what.
fn manager(verb: &str, args: &[&str]) -> String {
    let place = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];
    run(&[&["busctl", verb][..], &place, args].concat()).trim().to_owned()
}

fn property(name: &str) -> String {
    manager("get-property", &[name])
}

/// Waits until logind knows that it has to wait for the kubelet.
fn until_inhibited() {
    eventually("the kubelet's inhibitor", LATER, || {
        let all = run(&["systemd-inhibit", "--list", "--no-legend", "--no-pager"]);
        let is_inhibited = all.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first() == Some(&"kubelet") && words.contains(&"shutdown") && words.last() == Some(&"delay")
        });
        if is_inhibited { Ok(()) } else { Err(all) }
    });
}

/// Has the machine stay up when it is switched off, because it has to tell how that went: the last step does nothing.
fn stay_up() {
    fs::create_dir_all("/run/systemd/system").unwrap();
    fs::write("/run/systemd/system/poweroff.target", "[Unit]\nDefaultDependencies=no\n").unwrap();
    run(&["systemctl", "daemon-reload"]);
}

#[test]
fn systemd_waits_until_pods_have_ended_and_hears_of_them_again_when_it_stays_up() {
    if !is_guest() || !Path::new("/run/systemd/system").is_dir() || !Path::new(LOGIND).exists() {
        return lab::skip("this is no guest machine with systemd and its logind, which it may shut down");
    }
    stay_up();
    run(&["systemctl", "start", "systemd-logind.service"]);
    let mut node = Node::prepared();
    node.agent.config["shutdownGracePeriod"] = json!("120s");
    node.agent.config["shutdownGracePeriodCriticalPods"] = json!("60s");
    node.start();
    until_inhibited();
    assert_eq!(property("InhibitDelayMaxUSec"), "t 120000000");

    let slow =
        manifest::shell("main", "trap 'sleep 3; echo ended; exit 0' TERM; sleep 100000 & wait; sleep 5");
    node.put(&pod("slow", json!({ "terminationGracePeriodSeconds": 60, "containers": [slow] })));
    node.until("slow", "Ready", LATER, lab::agent::is_ready);
    manager("call", &["PowerOff", "b", "false"]);
    let ended =
        node.until("slow", "ended", LATER, |pod| status::only(pod)["state"]["terminated"].is_object());
    assert_eq!(ended["status"]["phase"], "Failed");
    assert_eq!(ended["status"]["message"], "Pod was terminated in response to imminent node shutdown.");
    let end = &status::only(&ended)["state"]["terminated"];
    assert_eq!(
        (end["exitCode"].as_i64(), node.log_of("slow", "main")),
        (Some(0), "ended\n".to_owned()),
        "{end}"
    );

    // Only when the kubelet lets it go is systemd done.
    eventually("the shutdown to be over", LATER, || match property("PreparingForShutdown") {
        over if over == "b false" => Ok(()),
        other => Err(other),
    });
    until_inhibited();
    node.put(&manifest::idle("again"));
    node.until("again", "Ready", LATER, lab::agent::is_ready);
    let events = node.podwright().run(&["events"]).ok();
    for reason in
        ["Shutdown manager detected shutdown event", "Shutdown manager detected shutdown cancellation"]
    {
        assert!(events.contains(reason), "{events}");
    }
}
