//! The machine goes down: it waits until pods have ended in order and the API server knows, and all is as before when it stays up
//! after all.

use std::fs;

use lab::Bus;
use lab::agent::is_ready;
use serde_json::{Value, json};
use tests::cluster::{Member, bound, prepared, shared_plane};
use tests::{LATER, Node, SOON, StandIn, eventually, manifest, status};

const NODE: &str = "down-1";

fn member(bus: &Bus) -> Member {
    let plane = shared_plane();
    let mut node: Node = prepared(&plane, NODE);
    node.agent.env.push(("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), bus.address()));
    node.agent.config["shutdownGracePeriod"] = json!("40s");
    node.agent.config["shutdownGracePeriodCriticalPods"] = json!("15s");
    node.start();
    Member { node, plane, name: NODE.to_owned() }
}

fn held(stand_in: &StandIn, count: usize) {
    eventually(&format!("{count} inhibitors"), LATER, || match stand_in.inhibitors() {
        all if all.len() == count => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn ready_condition(member: &Member) -> (String, String) {
    let node: Value = serde_json::from_str(&member.kubectl(&["get", "node", NODE, "-o=json"])).unwrap();
    let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = all.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

fn wait_ready_condition(member: &Member, status: &str, message: &str) {
    eventually(&format!("the node's Ready to be {status}"), LATER, || match ready_condition(member) {
        found if found == (status.to_owned(), message.to_owned()) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn finished_at(pod: &Value) -> String {
    status::only(pod)["state"]["terminated"]["finishedAt"].as_str().unwrap_or_default().to_owned()
}

fn renewed_at(member: &Member) -> String {
    let path = "-o=jsonpath={.spec.renewTime}";
    member.kubectl(&["get", "lease", "-n", "kube-node-lease", NODE, path])
}

#[test]
fn a_shutdown_waits_until_pods_have_ended_in_order_and_the_cluster_knows() {
    let dir = tempfile::tempdir().unwrap();
    let mut bus = Bus::start(&dir.path().join("bus")).unwrap();
    let conf_dir = dir.path().join("conf");
    // Long enough already, so that the kubelet has nothing to write on this machine.
    fs::create_dir(&conf_dir).unwrap();
    fs::write(conf_dir.join("99-kubelet.conf"), "[Login]\nInhibitDelayMaxSec=40\n").unwrap();
    let mut stand_in = StandIn::start(&bus, &conf_dir);
    let member = member(&bus);
    held(&stand_in, 1);
    // Were all told to end at once, the critical one would end first.
    let slow = manifest::shell("main", "trap 'sleep 3; exit 0' TERM; sleep 100000 & wait; sleep 5");
    let slow = json!({ "terminationGracePeriodSeconds": 30, "containers": [slow] });
    member.apply(&bound(NODE, manifest::pod("down-slow", slow)));
    let mut critical = manifest::idle("down-critical");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    member.apply(&bound(NODE, critical));
    member.node.put(&manifest::idle("fixed"));
    for pod in ["down-slow", "down-critical", "fixed-down-1"] {
        member.until(pod, "ready", is_ready);
    }
    wait_ready_condition(&member, "True", "kubelet is posting ready status");

    let renewed = renewed_at(&member);
    stand_in.goes_down();
    held(&stand_in, 0);
    // Nothing is waited for here: the machine was let go only when all of this was known.
    let ends = ["down-slow", "down-critical", "fixed-down-1"].map(|name| {
        let pod = member.pod(name).unwrap();
        let status = &pod["status"];
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!("Terminated")),
            "{status}"
        );
        assert_eq!(status["message"], "Pod was terminated in response to imminent node shutdown.");
        let target =
            status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget");
        let target = target.unwrap_or_else(|| panic!("no DisruptionTarget: {status}"));
        assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
        assert_eq!(target["message"], status["message"]);
        finished_at(&pod)
    });
    assert!(ends[0] <= ends[1], "the critical pod ended at {} and another at {}", ends[1], ends[0]);
    wait_ready_condition(&member, "False", "node is shutting down");
    member.apply(&bound(NODE, manifest::idle("down-late")));
    let late = member.until("down-late", "rejected", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(late["status"]["reason"], "NodeShutdown");
    let message = late["status"]["message"].as_str().unwrap();
    assert!(message.ends_with("Pod was rejected as the node is shutting down."), "{message}");
    eventually("the lease to be renewed meanwhile", SOON, || match renewed_at(&member) {
        time if time > renewed => Ok(()),
        time => Err(time),
    });
    times_are_kept(&member);

    stand_in.stays_up();
    wait_ready_condition(&member, "True", "kubelet is posting ready status");
    held(&stand_in, 1);
    member.apply(&bound(NODE, manifest::idle("down-again")));
    member.until("down-again", "ready", is_ready);
    let events =
        member.kubectl(&["get", "events", "--field-selector=reason=Shutdown", "-o=jsonpath={..message}"]);
    for message in
        ["Shutdown manager detected shutdown event", "Shutdown manager detected shutdown cancellation"]
    {
        assert!(events.contains(message), "{events}");
    }

    // The bus ends and comes back: the next shutdown is heard of all the same.
    bus.restart().unwrap();
    stand_in.connect();
    held(&stand_in, 1);
    stand_in.goes_down();
    member.until("down-again", "ended", |pod| pod["status"]["reason"] == "Terminated");
    held(&stand_in, 0);
}

fn times_are_kept(member: &Member) {
    let file = member.node.agent.root_dir().join("graceful_node_shutdown_state");
    let state: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let time = |name: &str| state[name].as_str().unwrap_or_default().to_owned();
    assert!(time("startTime") < time("endTime"), "{state}");
    let page = member.node.agent.read_only("/metrics").unwrap().body;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    let start = value("kubelet_graceful_shutdown_start_time_seconds");
    let end = value("kubelet_graceful_shutdown_end_time_seconds");
    assert!(start > 1e9 && end > start, "{start} {end}");
}
