//! Conditions, addresses and times (CONTRACT 3.29).

use core_types::runtime::SandboxState;
use core_types::view::Lifecycle;
use serde_json::json;

use super::*;

fn types(status: &PodStatus) -> Vec<String> {
    status.conditions.iter().flatten().map(|condition| condition.type_.clone()).collect()
}

#[test]
fn conditions_come_in_order_with_their_generation() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![running("main", 1)]);
    bench.pod.status = Some(
        serde_json::from_value(json!({"conditions": [
            {"type": "Ready", "status": "False"}, {"type": "example.com/gate", "status": "True"},
        ]}))
        .unwrap(),
    );
    bench.previous = Some(
        serde_json::from_value(json!({"conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"},
        ]}))
        .unwrap(),
    );
    let status = bench.generate();
    let wanted = [
        "example.com/gate",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ];
    assert_eq!(types(&status), wanted);
    let own: Vec<_> = status.conditions.iter().flatten().skip(2).map(|c| c.observed_generation).collect();
    assert_eq!(own, [Some(3); 5]);
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn readiness_follows_the_containers() {
    let two =
        || Bench::new(pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]})));
    let not = |reason: &str, message: &str| ("False".to_owned(), reason.to_owned(), message.to_owned());
    let yes = ("True".to_owned(), String::new(), String::new());
    let table = [
        (vec![running("a", 1), running("b", 2)], yes),
        (vec![], not("ContainersNotReady", "containers with unready status: [a b]")),
        (
            vec![running("a", 1), exited("b", 2, 1)],
            not("ContainersNotReady", "containers with unready status: [b]"),
        ),
        (vec![exited("a", 1, 0), exited("b", 2, 0)], not("PodCompleted", "")),
        (vec![exited("a", 1, 0), exited("b", 2, 1)], not("PodFailed", "")),
    ];
    for (containers, wanted) in table {
        let status = two().see(containers).generate();
        assert_eq!(condition(&status, "ContainersReady"), wanted);
        assert_eq!(condition(&status, "Ready"), wanted);
    }
}

#[test]
fn readiness_gates_hold_ready_only() {
    let mut bench = Bench::new(pod(json!({
        "readinessGates": [{"conditionType": "g1"}, {"conditionType": "g2"}], "containers": [{"name": "main"}],
    })))
    .see(vec![running("main", 1)]);
    bench.pod.status =
        Some(serde_json::from_value(json!({"conditions": [{"type": "g2", "status": "False"}]})).unwrap());
    let status = bench.generate();
    assert_eq!(condition(&status, "ContainersReady").0, "True");
    let (value, reason, message) = condition(&status, "Ready");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ReadinessGatesNotReady"));
    assert_eq!(
        message,
        "corresponding condition of pod readiness gate \"g1\" does not exist., the status of pod readiness gate \
         \"g2\" is not \"True\", but False"
    );
}

#[test]
fn initialized_waits_for_init_containers_and_then_stays() {
    let spec = pod(json!({
        "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }));
    let mut bench = Bench::new(spec).see(vec![exited("i", 1, 0)]);
    assert_eq!(
        condition(&bench.step(), "Initialized"),
        (
            "False".into(),
            "ContainersNotInitialized".into(),
            "containers with incomplete status: [side]".into()
        )
    );
    bench.observed = Some(observed(vec![exited("i", 1, 0), running("side", 2)]));
    assert_eq!(condition(&bench.step(), "Initialized").0, "True");
    bench.observed = Some(observed(vec![running("i", 3)]));
    assert_eq!(condition(&bench.step(), "Initialized").0, "True", "a new sandbox does not take it back");
}

#[test]
fn the_sandbox_decides_whether_containers_can_start() {
    let mut bench = Bench::new(simple_pod("Always"));
    let message = |bench: &Bench| condition(&bench.generate(), "PodReadyToStartContainers").2;
    assert_eq!(message(&bench), "no pod sandbox exists");
    bench = bench.see(vec![]);
    assert_eq!(condition(&bench.generate(), "PodReadyToStartContainers").0, "True");
    let sandbox = bench.observed.as_ref().unwrap().sandboxes[0].clone();
    bench.observed.as_mut().unwrap().sandboxes[0].0.ips.clear();
    assert_eq!(message(&bench), "pod sandbox has no IP address");
    bench.observed.as_mut().unwrap().sandboxes[0].0.host_network = true;
    assert_eq!(message(&bench), "network namespace mode changed and sandbox needs to be recreated");
    bench.observed.as_mut().unwrap().sandboxes[0].0.summary.state = SandboxState::NotReady;
    assert_eq!(message(&bench), "pod sandbox is not ready");
    bench.observed.as_mut().unwrap().sandboxes = vec![sandbox.clone(), sandbox];
    assert_eq!(message(&bench), "multiple pod sandboxes are ready and need to be reconciled");
}

#[test]
fn transition_times_move_with_the_status_only() {
    let time = |status: &PodStatus, name: &str| {
        let found = status.conditions.iter().flatten().find(|c| c.type_ == name).unwrap();
        WallTime::from_api(found.last_transition_time.as_ref().unwrap()).unix_secs()
    };
    let mut bench = Bench::new(simple_pod("Always"));
    bench.step();
    bench.observed = Some(observed(vec![running("main", 1)]));
    bench.now_secs = 2_000;
    let status = bench.step();
    assert_eq!((time(&status, "PodScheduled"), time(&status, "Ready")), (1_000, 2_000));
    bench.now_secs = 3_000;
    assert_eq!(time(&bench.step(), "Ready"), 2_000);
}

#[test]
fn start_time_is_when_the_pod_was_first_seen() {
    let start = |status: &PodStatus| WallTime::from_api(status.start_time.as_ref().unwrap()).unix_secs();
    let mut bench = Bench::new(simple_pod("Always"));
    assert_eq!(start(&bench.step()), 1_000);
    bench = bench.see(vec![]);
    assert_eq!(start(&bench.step()), 1_000, "it does not change any more");
    let adopted = Bench::new(simple_pod("Always")).see(vec![]);
    assert_eq!(start(&adopted.generate()), 1, "an agent that comes later takes the sandbox's age");
}

#[test]
fn addresses_come_in_the_nodes_order_and_stay_when_the_pod_is_over() {
    let ips =
        |status: &PodStatus| status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect::<Vec<_>>();
    let mut bench = Bench::new(simple_pod("Never")).see(vec![exited("main", 1, 0)]);
    bench.observed.as_mut().unwrap().ips =
        ["fd00:0::1", "10.0.0.7", "10.0.0.8", "nonsense"].map(str::to_owned).to_vec();
    bench.node.node_ips = vec!["192.168.0.1".to_owned(), "fd00::99".to_owned()];
    let status = bench.generate();
    assert_eq!(ips(&status), ["10.0.0.7", "fd00::1"]);
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(status.host_ip.as_deref(), Some("192.168.0.1"));
    assert_eq!(status.host_ips.as_ref().unwrap().len(), 2);
    bench.node.node_ips = vec!["fd00::99".to_owned()];
    assert_eq!(ips(&bench.step()), ["fd00::1", "10.0.0.7"]);
    bench.observed = None;
    assert_eq!(ips(&bench.generate()), ["fd00::1", "10.0.0.7"]);

    let mut host = Bench::new(pod(json!({"hostNetwork": true, "containers": [{"name": "main"}]})));
    host.node.node_ips = vec!["192.168.0.1".to_owned(), "fd00::99".to_owned()];
    assert_eq!(ips(&host.generate()), ["192.168.0.1", "fd00::99"]);
}

#[test]
fn other_owners_parts_are_kept() {
    let mut bench = Bench::new(simple_pod("Always"));
    bench.pod.status = Some(
        serde_json::from_value(json!({"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "x"}]}))
            .unwrap(),
    );
    bench.lifecycle = Lifecycle::Terminating;
    assert_eq!(bench.generate().resource_claim_statuses.unwrap().len(), 1);
    assert_eq!(bench.generate().qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn a_pod_that_the_node_ended_says_so_once() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![running("main", 1)]);
    bench.step();
    let ended = Verdict::Evicted { reason: "Preempting", message: "why", disruption: "to make room" };
    let status = bench.generate_with(ended);
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Preempting")));
    let shown = condition(&status, "DisruptionTarget");
    assert_eq!(shown, ("True".into(), "TerminationByKubelet".into(), "to make room".into()));
    let names: Vec<_> = status.conditions.iter().flatten().map(|c| c.type_.as_str()).collect();
    assert_eq!(names[..2], ["DisruptionTarget", "PodReadyToStartContainers"]);
    bench.previous = Some(status.clone());
    bench.now_secs += 100;
    assert_eq!(bench.generate_with(ended), status);
}
