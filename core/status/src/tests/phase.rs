//! Phases (CONTRACT 3.29).

use core_types::runtime::ContainerState;
use core_types::view::Lifecycle;
use serde_json::json;

use super::*;

fn phase(bench: &Bench) -> String {
    bench.generate().phase.unwrap()
}

#[test]
fn regular_containers_make_the_phase() {
    let two = |policy: &str| {
        Bench::new(pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]})))
    };
    let table = [
        ("Always", vec![], "Pending"),
        ("Always", vec![running("a", 1)], "Pending"),
        ("Always", vec![running("a", 1), running("b", 2)], "Running"),
        ("Always", vec![running("a", 1), exited("b", 2, 0)], "Running"),
        ("Always", vec![exited("a", 1, 0), exited("b", 2, 0)], "Running"),
        ("OnFailure", vec![exited("a", 1, 0), exited("b", 2, 0)], "Succeeded"),
        ("OnFailure", vec![exited("a", 1, 1), exited("b", 2, 0)], "Running"),
        ("Never", vec![exited("a", 1, 1), exited("b", 2, 0)], "Failed"),
        ("Never", vec![exited("a", 1, 1), running("b", 2)], "Running"),
        ("Never", vec![exited("a", 1, 0), exited("b", 2, 0)], "Succeeded"),
        ("Always", vec![running("a", 1), container("b", 2, ContainerState::Created)], "Pending"),
    ];
    for (policy, containers, wanted) in table {
        let text =
            format!("{policy}: {:?}", containers.iter().map(|c| c.status.exit_code).collect::<Vec<_>>());
        assert_eq!(phase(&two(policy).see(containers)), wanted, "{text}");
    }
}

#[test]
fn a_terminated_pod_is_judged_by_exit_codes_alone() {
    let table = [
        (vec![exited("main", 1, 0)], "Succeeded"),
        (vec![exited("main", 1, 3)], "Failed"),
        (vec![], "Pending"),
    ];
    for (containers, wanted) in table {
        let mut bench = Bench::new(simple_pod("Always")).see(containers);
        bench.lifecycle = Lifecycle::Terminated;
        assert_eq!(phase(&bench), wanted);
    }
}

#[test]
fn a_terminated_static_pod_is_judged_by_its_restart_rules() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![exited("main", 1, 0)]);
    let annotations = [(keys::CONFIG_SOURCE_ANNOTATION.to_owned(), "file".to_owned())];
    bench.pod.metadata.annotations = Some(annotations.into());
    bench.lifecycle = Lifecycle::Terminated;
    assert_eq!(phase(&bench), "Running");
    bench.pod.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    assert_eq!(phase(&bench), "Succeeded");
}

#[test]
fn a_finished_pod_that_never_ran_has_failed() {
    let mut bench = Bench::new(simple_pod("Always"));
    bench.step();
    bench.lifecycle = Lifecycle::Finished;
    let status = bench.step();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(crate::containers::ended(main_of(&status)).unwrap().exit_code, 137);
}

#[test]
fn init_containers_hold_the_phase() {
    let spec = |policy: &str| {
        pod(json!({
            "restartPolicy": policy,
            "initContainers": [{"name": "i1"}, {"name": "i2"}],
            "containers": [{"name": "main"}],
        }))
    };
    let table = [
        ("Always", vec![], "Pending"),
        ("Always", vec![running("i1", 1)], "Pending"),
        ("Always", vec![exited("i1", 1, 1)], "Pending"),
        ("Never", vec![exited("i1", 1, 1)], "Failed"),
        ("Never", vec![exited("i1", 1, 0), exited("i2", 2, 1)], "Failed"),
        ("Never", vec![exited("i1", 1, 0), exited("i2", 2, 0), running("main", 3)], "Running"),
        ("Always", vec![running("main", 3)], "Running"),
    ];
    for (policy, containers, wanted) in table {
        let names: Vec<String> = containers.iter().map(|c| c.name().to_owned()).collect();
        assert_eq!(phase(&Bench::new(spec(policy)).see(containers)), wanted, "{policy} {names:?}");
    }
}

#[test]
fn sidecars_count_while_they_run_and_not_when_they_ended() {
    let spec = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }));
    let table = [
        (vec![running("side", 1)], "Pending"),
        (vec![running("side", 1), running("main", 2)], "Running"),
        (vec![running("side", 1), exited("main", 2, 0)], "Running"),
        (vec![exited("side", 1, 1), exited("main", 2, 0)], "Succeeded"),
        (vec![exited("side", 1, 0), exited("main", 2, 1)], "Failed"),
        (vec![exited("side", 1, 0), running("main", 2)], "Running"),
    ];
    for (containers, wanted) in table {
        let names: Vec<String> = containers.iter().map(|c| format!("{} {:?}", c.name(), c.state())).collect();
        assert_eq!(phase(&Bench::new(spec.clone()).see(containers)), wanted, "{names:?}");
    }
}

#[test]
fn a_containers_own_policy_and_rules_decide_before_the_pods() {
    let spec = |policy: &str, rules: serde_json::Value| {
        pod(json!({
            "restartPolicy": "Never",
            "containers": [{"name": "main", "restartPolicy": policy, "restartPolicyRules": rules}],
        }))
    };
    let rule =
        |operator: &str| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}}]);
    let table = [
        ("Always", json!([]), 1, "Running"),
        ("Never", json!([]), 1, "Failed"),
        ("OnFailure", json!([]), 1, "Running"),
        ("OnFailure", json!([]), 0, "Succeeded"),
        ("Never", rule("In"), 42, "Running"),
        ("Never", rule("In"), 1, "Failed"),
        ("Never", rule("NotIn"), 1, "Running"),
        ("Never", rule("NotIn"), 42, "Failed"),
    ];
    for (policy, rules, code, wanted) in table {
        let bench = Bench::new(spec(policy, rules.clone())).see(vec![exited("main", 1, code)]);
        assert_eq!(phase(&bench), wanted, "{policy} {rules} {code}");
    }
}

#[test]
fn a_terminal_phase_never_changes() {
    let mut bench = Bench::new(simple_pod("Never")).see(vec![exited("main", 1, 0)]);
    assert_eq!(bench.step().phase.as_deref(), Some("Succeeded"));
    bench.observed = Some(observed(vec![running("main", 2)]));
    assert_eq!(bench.generate().phase.as_deref(), Some("Succeeded"));
    let evicted = Verdict::Evicted { reason: "Evicted", message: "low on memory", disruption: "" };
    assert_eq!(bench.generate_with(evicted).phase.as_deref(), Some("Succeeded"));

    let mut bench = Bench::new(simple_pod("Always")).see(vec![running("main", 1)]);
    bench.pod.status = Some(PodStatus { phase: Some("Failed".to_owned()), ..PodStatus::default() });
    bench.previous = Some(PodStatus { phase: Some("Running".to_owned()), ..PodStatus::default() });
    assert_eq!(phase(&bench), "Failed", "the API server's terminal phase holds too");
}

#[test]
fn verdicts_make_a_pod_failed_with_their_reason() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![running("main", 1)]);
    let evicted =
        bench.generate_with(Verdict::Evicted { reason: "Evicted", message: "low on memory", disruption: "" });
    assert_eq!(evicted.phase.as_deref(), Some("Failed"));
    assert_eq!(evicted.reason.as_deref(), Some("Evicted"));
    assert_eq!(condition(&evicted, "Ready").1, "PodFailed");
    bench.previous = Some(evicted);
    let later = bench.step();
    assert_eq!((later.reason.as_deref(), later.message.as_deref()), (Some("Evicted"), Some("low on memory")));

    let bench = Bench::new(simple_pod("Always"));
    let rejected = bench.generate_with(Verdict::Rejected { reason: "NodePorts", message: "host port taken" });
    assert_eq!(rejected.message.as_deref(), Some("Pod was rejected: host port taken"));
    assert_eq!(rejected.container_statuses, None);
    assert!(rejected.start_time.is_some());
}
