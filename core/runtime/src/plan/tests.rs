//! Tables of upstream's rules, and properties on a model of a runtime that carries plans out.

use std::collections::{BTreeMap, BTreeSet};

use core_types::runtime::ContainerState::{self, Created, Exited, Running, Unknown};
use core_types::{ContainerId, ObservedContainer, ObservedPod, ObservedSandbox, SandboxId, keys};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::backoff::{DEFAULT_MAX, Growth};
use crate::testing::{now_at, observed, observed_container, observed_sandbox, pod, pod_with};

fn plan_at(pod: &Pod, observed: &ObservedPod, secs: u64) -> PodPlan {
    let mut backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
    backoff.observe(pod, observed, RestartRules::default(), now_at(secs));
    let unstarted = BTreeSet::new();
    let input = PlanInput {
        pod,
        observed,
        backoff: &backoff,
        unstarted: &unstarted,
        failed: &BTreeMap::new(),
        resized: &BTreeSet::new(),
        rules: RestartRules::default(),
        now: now_at(secs),
    };
    plan(&input)
}

/// One short word per step.
fn words(plan: &PodPlan) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::StopContainers(stops) => {
            let ids: Vec<_> = stops.iter().map(|stop| stop.id.as_str()).collect();
            format!("stop {}", ids.join("+"))
        }
        Action::StopSandbox(id) => format!("stop {id}"),
        Action::CreateSandbox { attempt, .. } => format!("sandbox {attempt}"),
        Action::StartContainer { name, restart_count: RestartCount::Known(count), .. } => {
            format!("start {name} {count}")
        }
        Action::StartContainer { name, .. } => format!("start {name}"),
        Action::RemoveContainer(id) => format!("remove {id}"),
    };
    let mut words: Vec<_> = plan.actions.iter().map(word).collect();
    words.extend(plan.waiting.iter().map(|container| format!("wait {}", container.name)));
    if plan.progress == Progress::Finished {
        words.push("finished".to_owned());
    }
    words
}

/// Instances written `name-attempt:state`, newest first; a number is the exit code of an ended one.
fn instances(pod: &Pod, list: &[&str]) -> Vec<ObservedContainer> {
    let instance = |text: &&str| {
        let (id, state) = text.split_once(':').unwrap();
        let (name, attempt) = id.rsplit_once('-').unwrap();
        let (state, exit_code) = match state {
            "run" => (Running, 0),
            "created" => (Created, 0),
            "unknown" => (Unknown, 0),
            code => (Exited, code.parse().unwrap()),
        };
        let mut instance = observed_container(pod, name, attempt.parse().unwrap(), state);
        instance.status.exit_code = exit_code;
        instance
    };
    list.iter().map(instance).collect()
}

fn check(pod: &Pod, containers: &[&str], expected: &[&str]) {
    let observed = observed(pod, true, instances(pod, containers));
    assert_eq!(words(&plan_at(pod, &observed, 100_000)), expected, "{containers:?}");
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_containers() {
    let pod = pod("Always", &[], &["a", "b"]);
    let empty = ObservedPod::empty(pod.uid(), pod.key(), MonoTime::ZERO);
    assert_eq!(words(&plan_at(&pod, &empty, 0)), ["sandbox 0", "start a", "start b"]);
}

#[test]
fn regular_containers_follow_the_restart_policy() {
    for (policy, state, expected) in [
        ("Always", "a-0:run", vec![]),
        ("Always", "a-0:0", vec!["start a 1"]),
        ("Always", "a-0:1", vec!["start a 1"]),
        ("OnFailure", "a-0:1", vec!["start a 1"]),
        ("OnFailure", "a-0:0", vec!["stop sandbox-0", "finished"]),
        ("Never", "a-0:1", vec!["stop sandbox-0", "finished"]),
        ("Never", "a-0:unknown", vec!["stop a-0", "start a 1"]),
        ("Always", "a-0:created", vec!["start a 1"]),
    ] {
        check(&pod(policy, &[], &["a"]), &[state], &expected);
    }
    check(&pod("Never", &[], &["a", "b"]), &["a-0:0", "b-0:run"], &[]);
    check(&pod("Never", &[], &["a", "b"]), &["a-0:0"], &["start b"]);
}

#[test]
fn a_changed_definition_restarts_whatever_the_policy() {
    let old = pod("Never", &[], &["a"]);
    let mut new = old.clone();
    new.spec.as_mut().unwrap().containers[0].image = Some("other".to_owned());
    let observed = observed(&old, true, instances(&old, &["a-0:run"]));
    let plan = plan_at(&new, &observed, 0);
    assert_eq!(words(&plan), ["stop a-0", "start a 1"]);
    let Action::StopContainers(stops) = &plan.actions[0] else { panic!() };
    assert_eq!(stops[0].message, "Container a definition changed, will be restarted");
    assert_eq!((stops[0].reason, stops[0].grace_secs), (StopReason::SpecChanged, 30));
}

#[test]
fn a_container_that_needs_a_restart_for_its_size_is_restarted() {
    let pod = pod("OnFailure", &["side"], &["a", "b"]);
    let seen = observed(&pod, true, instances(&pod, &["a-0:run", "b-0:run", "side-0:run"]));
    let plan_of = |names: &[&str]| {
        let resized = names.iter().map(|name| ContainerId::from(*name)).collect();
        plan(&PlanInput {
            pod: &pod,
            observed: &seen,
            backoff: &CrashBackoff::new(Growth::to(DEFAULT_MAX)),
            unstarted: &BTreeSet::new(),
            failed: &BTreeMap::new(),
            resized: &resized,
            rules: RestartRules::default(),
            now: now_at(0),
        })
    };
    let plan = plan_of(&["a-0"]);
    assert_eq!(words(&plan), ["stop a-0", "start a 1"]);
    let Action::StopContainers(stops) = &plan.actions[0] else { panic!() };
    assert_eq!(stops[0].message, "Container a resize requires restart");
    assert_eq!(words(&plan_of(&["side-0"])), ["stop side-0", "start side 1"]);
}

#[test]
fn a_failed_probe_stops_the_container_and_the_policy_starts_it_again() {
    let plan_of = |policy: &str, failed: FailedProbe, containers: &[&str], probe_secs: Option<i64>| {
        let mut pod = pod(policy, &["side"], &["a"]);
        let spec = pod.spec.as_mut().unwrap();
        let probe =
            core_types::api::Probe { termination_grace_period_seconds: probe_secs, ..Default::default() };
        spec.containers[0].liveness_probe = Some(probe);
        let observed = observed(&pod, true, instances(&pod, containers));
        let failed =
            containers[..1].iter().map(|text| (ContainerId::from(text.split(':').next().unwrap()), failed));
        let backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
        plan(&PlanInput {
            pod: &pod,
            observed: &observed,
            backoff: &backoff,
            unstarted: &BTreeSet::new(),
            failed: &failed.collect(),
            resized: &BTreeSet::new(),
            rules: RestartRules::default(),
            now: now_at(0),
        })
    };
    let regular = ["a-0:run", "side-0:run"];
    for (policy, failed, grace, expected, message) in [
        (
            "Always",
            FailedProbe::Liveness,
            None,
            &["stop a-0", "start a 1"][..],
            "failed liveness probe, will be restarted",
        ),
        (
            "OnFailure",
            FailedProbe::Startup,
            None,
            &["stop a-0", "start a 1"],
            "failed startup probe, will be restarted",
        ),
        ("Never", FailedProbe::Liveness, Some(7), &["stop a-0"], "failed liveness probe"),
    ] {
        let plan = plan_of(policy, failed, &regular, grace);
        assert_eq!(words(&plan), expected, "{policy}");
        let Action::StopContainers(stops) = &plan.actions[0] else { panic!() };
        assert_eq!(stops[0].message, format!("Container a {message}"));
        assert_eq!(
            (stops[0].reason, stops[0].grace_secs),
            (StopReason::ProbeFailed(failed), grace.unwrap_or(30))
        );
    }
    let plan = plan_of("Never", FailedProbe::Startup, &["side-0:run", "a-0:run"], None);
    assert_eq!(words(&plan), ["stop side-0", "start side 1"], "a sidecar always starts again");
}

#[test]
fn unusable_sandboxes_are_replaced() {
    let the_pod = pod("Always", &[], &["a"]);
    let running = || instances(&the_pod, &["a-0:run"]);
    let replaced = ["stop a-0", "stop sandbox-0", "sandbox 1", "start a 1"];
    let not_ready = observed(&the_pod, false, running());
    assert_eq!(words(&plan_at(&the_pod, &not_ready, 0)), replaced);
    let mut no_ip = observed(&the_pod, true, running());
    no_ip.sandboxes[0].0.ips.clear();
    assert_eq!(words(&plan_at(&the_pod, &no_ip, 0)), replaced);
    let host = pod_with(json!({"hostNetwork": true, "containers": [{"name": "a", "image": "image-a"}]}));
    assert_eq!(words(&plan_at(&host, &observed(&the_pod, true, running()), 0)), replaced);
    let mut two = observed(&the_pod, true, running());
    two.sandboxes.insert(0, observed_sandbox(&the_pod, 1, true));
    let expected = ["stop a-0", "stop sandbox-1", "stop sandbox-0", "sandbox 2", "start a 1"];
    assert_eq!(words(&plan_at(&the_pod, &two, 0)), expected);
}

#[test]
fn a_host_network_pod_needs_no_ip() {
    let host = pod_with(json!({"hostNetwork": true, "containers": [{"name": "a", "image": "image-a"}]}));
    let mut observed = observed(&host, true, instances(&host, &["a-0:run"]));
    observed.sandboxes[0].0.ips.clear();
    assert!(words(&plan_at(&host, &observed, 0)).is_empty());
}

#[test]
fn a_lost_sandbox_does_not_bring_a_finished_pod_back() {
    for (policy, containers, expected) in [
        ("Never", vec!["a-0:0"], vec!["finished"]),
        ("Never", vec!["a-0:1"], vec!["finished"]),
        ("Never", vec![], vec!["stop sandbox-0", "sandbox 1", "start a"]),
        ("OnFailure", vec!["a-0:0"], vec!["finished"]),
        ("OnFailure", vec!["a-0:1"], vec!["stop sandbox-0", "sandbox 1", "start a 1"]),
        ("Always", vec!["a-0:0"], vec!["stop sandbox-0", "sandbox 1", "start a 1"]),
    ] {
        let pod = pod(policy, &[], &["a"]);
        let observed = observed(&pod, false, instances(&pod, &containers));
        assert_eq!(words(&plan_at(&pod, &observed, 100_000)), expected, "{policy} {containers:?}");
    }
}

#[test]
fn policies_of_containers_decide_who_starts_in_a_new_sandbox() {
    let with = |pod_policy: &str, a: &str, b: &str| {
        let mut pod = pod(pod_policy, &[], &["a", "b"]);
        let containers = &mut pod.spec.as_mut().unwrap().containers;
        containers[0].restart_policy = Some(a.to_owned());
        containers[1].restart_policy = Some(b.to_owned());
        pod
    };
    for (pod_policy, policies, containers, expected) in [
        ("Always", ("Never", "Always"), ["a-0:0", "b-0:1"], vec!["stop sandbox-0", "sandbox 1", "start b 1"]),
        ("Always", ("Never", "OnFailure"), ["a-0:1", "b-0:0"], vec!["finished"]),
        (
            "Never",
            ("Never", "OnFailure"),
            ["a-0:1", "b-0:1"],
            vec!["stop sandbox-0", "sandbox 1", "start b 1"],
        ),
        ("Never", ("Never", "OnFailure"), ["a-0:1", "b-0:0"], vec!["finished"]),
        ("Never", ("Never", "OnFailure"), ["a-0:1", "b-0:run"], vec!["stop b-0", "finished"]),
    ] {
        let pod = with(pod_policy, policies.0, policies.1);
        let seen = observed(&pod, false, instances(&pod, &containers));
        assert_eq!(
            words(&plan_at(&pod, &seen, 100_000)),
            expected,
            "{pod_policy} {policies:?} {containers:?}"
        );
    }
}

#[test]
fn init_containers_run_one_after_another() {
    let the_pod = pod("Always", &["i", "j"], &["a"]);
    check(&the_pod, &[], &["start i"]);
    check(&the_pod, &["i-0:run"], &[]);
    check(&the_pod, &["i-0:0"], &["start j"]);
    check(&the_pod, &["i-0:1"], &["start i 1"]);
    check(&the_pod, &["i-0:created"], &["start i 1"]);
    check(&the_pod, &["i-0:unknown"], &["stop i-0", "start i 1"]);
    check(&the_pod, &["j-0:run", "i-0:0"], &[]);
    check(&the_pod, &["j-0:0", "i-0:0"], &["start a"]);
    // The older one may be gone: the newest tells.
    check(&the_pod, &["j-0:0"], &["start a"]);
    check(&the_pod, &["a-0:run"], &[]);
    check(&the_pod, &["a-0:1"], &["start a 1"]);
    check(&pod("Never", &["i", "j"], &["a"]), &["i-0:1"], &["stop sandbox-0", "finished"]);
    check(&pod("Never", &["i"], &["a"]), &["i-0:unknown"], &["stop i-0", "stop sandbox-0", "finished"]);
}

#[test]
fn sidecars_start_in_order_and_stay() {
    let the_pod = pod("Always", &["side1", "i", "side2"], &["a"]);
    check(&the_pod, &[], &["start side1"]);
    check(&the_pod, &["side1-0:run"], &["start i"]);
    check(&the_pod, &["i-0:0", "side1-0:run"], &["start side2"]);
    check(&the_pod, &["i-0:run", "side1-0:1"], &["start side1 1"]);
    check(&the_pod, &["side2-0:run", "i-0:0", "side1-0:run"], &["start a"]);
    check(&the_pod, &["a-0:run", "side2-0:run", "i-0:0", "side1-0:run"], &[]);
    check(&the_pod, &["a-0:run", "side2-0:0", "i-0:0", "side1-0:run"], &["start side2 1"]);
    check(&the_pod, &["a-0:run", "side2-0:run", "i-0:0"], &["start side1"]);
    check(&the_pod, &["a-0:run", "side2-0:unknown", "side1-0:run"], &["stop side2-0", "start side2 1"]);
}

#[test]
fn sidecars_do_not_keep_a_pod_alive() {
    let the_pod = pod("Never", &["side1", "side2"], &["a"]);
    let left = ["a-0:0", "side2-0:run", "side1-0:run"];
    check(&the_pod, &left, &["stop side2-0", "stop side1-0", "stop sandbox-0", "finished"]);
    check(&the_pod, &["a-0:0", "side2-0:1", "side1-0:0"], &["stop sandbox-0", "finished"]);
}

#[test]
fn a_sidecar_that_has_not_started_up_holds_back_the_next() {
    let pod = pod("Always", &["side1"], &["a"]);
    let observed = observed(&pod, true, instances(&pod, &["side1-0:run"]));
    let backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
    let unstarted = BTreeSet::from([ContainerId::from("side1-0")]);
    let input = PlanInput {
        pod: &pod,
        observed: &observed,
        backoff: &backoff,
        unstarted: &unstarted,
        failed: &BTreeMap::new(),
        resized: &BTreeSet::new(),
        rules: RestartRules::default(),
        now: now_at(0),
    };
    assert!(words(&plan(&input)).is_empty());
    let input = PlanInput { unstarted: &BTreeSet::new(), ..input };
    assert_eq!(words(&plan(&input)), ["start a"]);
}

#[test]
fn a_new_sandbox_initializes_anew() {
    let pod = pod("Always", &["i", "side1"], &["a"]);
    let observed = observed(&pod, false, instances(&pod, &["a-0:1", "side1-0:run", "i-0:0"]));
    let expected =
        ["stop side1-0", "stop sandbox-0", "remove side1-0", "remove i-0", "sandbox 1", "start i 1"];
    assert_eq!(words(&plan_at(&pod, &observed, 100_000)), expected);
}

#[test]
fn crashed_containers_wait_with_upstreams_words() {
    let pod = pod("Always", &[], &["a", "b"]);
    let mut containers = instances(&pod, &["a-4:1", "b-0:run"]);
    containers[0].status.created_at = now_at(990).wall;
    containers[0].status.finished_at = now_at(1000).wall;
    let observed = observed(&pod, true, containers);
    let plan = plan_at(&pod, &observed, 1010);
    assert_eq!(words(&plan), ["wait a"]);
    assert_eq!(plan.waiting[0].message, "back-off 1m20s restarting failed container=a pod=web_shop(uid-1)");
    assert_eq!(plan.waiting[0].reason, WaitingReason::CrashLoopBackOff);
    assert_eq!(plan.next_deadline, Some(MonoTime::from_secs(1080)));
    assert_eq!(words(&plan_at(&pod, &observed, 1080)), ["start a 5"]);
}

/// A pod with an init container, a sidecar and two containers, of which `a` restarts all when it exits with 42.
fn pod_that_restarts_all() -> Pod {
    let mut pod = pod("Never", &["i", "side"], &["a", "b"]);
    let a = &mut pod.spec.as_mut().unwrap().containers[0];
    a.restart_policy = Some("Never".to_owned());
    a.restart_policy_rules = serde_json::from_value(json!([
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    ]))
    .unwrap();
    pod
}

#[test]
fn rules_of_a_container_go_before_the_policy_of_the_pod() {
    let mut the_pod = pod("Never", &["i"], &["a", "b"]);
    let rule = |code: i32| json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [code]}}]);
    let spec = the_pod.spec.as_mut().unwrap();
    spec.containers[0].restart_policy = Some("Never".to_owned());
    spec.containers[0].restart_policy_rules = serde_json::from_value(rule(42)).unwrap();
    let init = &mut spec.init_containers.as_mut().unwrap()[0];
    init.restart_policy = Some("OnFailure".to_owned());
    check(&the_pod, &["i-0:1"], &["start i 1"]);
    check(&the_pod, &["a-0:42", "b-0:run"], &["start a 1"]);
    check(&the_pod, &["a-0:42", "b-0:0"], &["start a 1"]);
    check(&the_pod, &["a-0:1", "b-0:0"], &["stop sandbox-0", "finished"]);
    let init = &mut the_pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0];
    init.restart_policy = Some("Never".to_owned());
    check(&the_pod, &["i-0:1"], &["stop sandbox-0", "finished"]);
    // With the gate off, only the pod's policy counts.
    let seen = observed(&the_pod, true, instances(&the_pod, &["a-0:42", "b-0:0"]));
    let plan = plan(&PlanInput {
        pod: &the_pod,
        observed: &seen,
        backoff: &CrashBackoff::new(Growth::to(DEFAULT_MAX)),
        unstarted: &BTreeSet::new(),
        failed: &BTreeMap::new(),
        resized: &BTreeSet::new(),
        rules: RestartRules::OfPod,
        now: now_at(0),
    });
    assert_eq!(words(&plan), ["stop sandbox-0", "finished"]);
}

#[test]
fn a_rule_restarts_all_containers() {
    let pod = pod_that_restarts_all();
    let running = ["b-0:run", "a-0:42", "side-0:run", "i-0:0"];
    let removals = ["remove b-0", "remove i-0", "remove side-0", "remove a-0"];
    let mut expected = vec!["stop b-0", "stop side-0"];
    expected.extend(removals);
    check(&pod, &running, &expected);
    let seen = observed(&pod, true, instances(&pod, &running));
    let plan = plan_at(&pod, &seen, 0);
    let Action::StopContainers(stops) = &plan.actions[0] else { panic!() };
    let stop = (stops[0].message.as_str(), stops[0].grace_secs, &stops[0].pre_stop);
    assert_eq!(stop, ("killing", MIN_GRACE_SECS, &None));
    // Cut short at any place, it goes on; the one that asked goes last.
    check(&pod, &["a-0:42", "side-0:137"], &["remove side-0", "remove a-0"]);
    check(&pod, &["a-1:42", "a-0:1"], &["remove a-0", "remove a-1"]);
    // Then the pod begins anew, without a wait.
    check(&pod, &[], &["start i"]);
    // Also when the sandbox is lost, and only for the codes of the rule.
    let lost = observed(&pod, false, instances(&pod, &["b-0:0", "a-0:42"]));
    assert_eq!(words(&plan_at(&pod, &lost, 0)), ["remove b-0", "remove a-0"]);
    check(&pod, &["b-0:run", "a-0:1", "side-0:run"], &[]);
}

#[test]
fn a_restart_of_all_containers_is_no_crash() {
    let pod = pod_that_restarts_all();
    let mut backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
    let ended = |text: &str| {
        let mut seen = observed(&pod, true, instances(&pod, &[text, "b-0:run", "side-0:run", "i-0:0"]));
        seen.containers[0].status.created_at = now_at(999).wall;
        seen.containers[0].status.finished_at = now_at(1000).wall;
        seen
    };
    for attempt in 0..5 {
        let seen = ended(&format!("a-{attempt}:42"));
        backoff.observe(&pod, &seen, RestartRules::default(), now_at(1000));
    }
    let a = &pod.spec.as_ref().unwrap().containers[0];
    assert_eq!(backoff.wait(&pod, a, now_at(1000).mono), None);
    backoff.observe(&pod, &ended("a-6:42"), RestartRules::OfContainers, now_at(1000));
    assert!(backoff.wait(&pod, a, now_at(1000).mono).is_some(), "with the gate off it is one");
}

#[test]
fn ephemeral_containers_start_once_whatever_else_waits() {
    let mut the_pod = pod("Always", &["i"], &["a"]);
    let spec = the_pod.spec.as_mut().unwrap();
    spec.ephemeral_containers = serde_json::from_value(json!([{"name": "debug"}, {"name": "more"}])).unwrap();
    check(&the_pod, &["i-0:run"], &["start debug", "start more"]);
    check(&the_pod, &["more-0:created", "debug-0:run", "i-0:1"], &["start i 1"]);
    check(&the_pod, &["more-0:1", "debug-0:0", "a-0:run"], &[]);
    check(&the_pod, &["debug-0:0", "a-0:1"], &["start more", "start a 1"]);
    let empty = ObservedPod::empty(the_pod.uid(), the_pod.key(), MonoTime::ZERO);
    assert_eq!(words(&plan_at(&the_pod, &empty, 0)), ["sandbox 0", "start i"], "the sandbox comes first");
    let seen = observed(&the_pod, true, instances(&the_pod, &["debug-0:run", "a-0:run"]));
    let plan = termination_plan(Some(&the_pod), &seen, Grace::FromPod);
    assert_eq!((plan.stages[0][0].kind, plan.stages[0].len()), (ContainerKind::Ephemeral, 2));
    let mut anew = pod_that_restarts_all();
    let spec = anew.spec.as_mut().unwrap();
    spec.ephemeral_containers = serde_json::from_value(json!([{"name": "debug"}])).unwrap();
    check(&anew, &["debug-0:run", "a-0:42"], &["remove a-0"]);
    let mut done = pod("Never", &[], &["a"]);
    done.spec.as_mut().unwrap().ephemeral_containers = anew.spec.unwrap().ephemeral_containers;
    check(&done, &["a-0:0"], &["stop sandbox-0", "finished"]);
}

#[test]
fn an_older_live_instance_is_stopped() {
    check(&pod("Always", &[], &["a"]), &["a-1:run", "a-0:run"], &["stop a-0"]);
}

#[test]
fn a_deleted_pod_starts_nothing() {
    let mut pod = pod("Always", &["side1"], &["a"]);
    pod.metadata.deletion_timestamp = Some(now_at(0).wall.to_api());
    check(&pod, &["side1-0:1"], &[]);
    check(&pod, &["a-0:1", "side1-0:run"], &["stop side1-0", "stop sandbox-0", "finished"]);
    let empty = ObservedPod::empty(pod.uid(), pod.key(), MonoTime::ZERO);
    assert_eq!(words(&plan_at(&pod, &empty, 0)), ["finished"]);
}

#[test]
fn termination_stops_sidecars_last_and_in_reverse() {
    let pod = pod("Always", &["side1", "side2"], &["a", "b"]);
    let observed =
        observed(&pod, true, instances(&pod, &["b-0:unknown", "a-0:run", "side2-0:run", "side1-0:run"]));
    let plan = termination_plan(Some(&pod), &observed, Grace::FromPod);
    let ids: Vec<Vec<&str>> =
        plan.stages.iter().map(|stage| stage.iter().map(|stop| stop.id.as_str()).collect()).collect();
    assert_eq!(ids, [vec!["b-0", "a-0"], vec!["side2-0"], vec!["side1-0"]]);
    assert_eq!(plan.sandboxes, [SandboxId::from("sandbox-0")]);
    assert!(plan.stages.iter().flatten().all(|stop| stop.grace_secs == 30));
    assert_eq!(plan.stages[0][0].message, "Stopping container b");
    for (grace, secs) in [(Grace::Secs(7), 7), (Grace::Secs(0), MIN_GRACE_SECS)] {
        assert_eq!(termination_plan(Some(&pod), &observed, grace).stages[0][0].grace_secs, secs);
    }
    let mut deleted = pod.clone();
    deleted.metadata.deletion_grace_period_seconds = Some(5);
    assert_eq!(termination_plan(Some(&deleted), &observed, Grace::FromPod).stages[0][0].grace_secs, 5);
}

#[test]
fn a_pod_that_only_the_runtime_knows_stops_by_its_annotations() {
    let pod = pod("Always", &[], &["a", "b", "c"]);
    let mut containers = instances(&pod, &["a-0:run", "b-0:run", "c-0:run"]);
    let annotate = |container: &mut ObservedContainer, key: &str, value: &str| {
        container.status.annotations.insert(key.to_owned(), value.to_owned());
    };
    annotate(&mut containers[0], keys::POD_TERMINATION_GRACE_PERIOD_ANNOTATION, "40");
    annotate(&mut containers[1], keys::POD_TERMINATION_GRACE_PERIOD_ANNOTATION, "40");
    annotate(&mut containers[1], keys::POD_DELETION_GRACE_PERIOD_ANNOTATION, "9");
    annotate(&mut containers[2], keys::POD_DELETION_GRACE_PERIOD_ANNOTATION, "soon");
    let plan = termination_plan(None, &observed(&pod, true, containers), Grace::FromPod);
    let secs: Vec<i64> = plan.stages[0].iter().map(|stop| stop.grace_secs).collect();
    assert_eq!(secs, [40, 9, 2]);
    assert_eq!(plan.sandboxes.len(), 1);
}

#[test]
fn sidecars_of_a_pod_that_only_the_runtime_knows_stop_last() {
    let pod = pod("Always", &["init", "side-1", "side-2"], &["a", "b"]);
    let mut containers = instances(&pod, &["side-1-0:run", "a-0:run", "side-2-0:run", "b-0:run"]);
    for (index, place) in [(0, "1"), (2, "2")] {
        let annotations = &mut containers[index].status.annotations;
        annotations.insert(keys::SIDECAR_PLACE_ANNOTATION.to_owned(), place.to_owned());
    }
    let plan = termination_plan(None, &observed(&pod, true, containers), Grace::FromPod);
    let names = |stage: &Vec<StopContainer>| stage.iter().map(|stop| stop.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        plan.stages.iter().map(names).collect::<Vec<_>>(),
        [vec!["a", "b"], vec!["side-2"], vec!["side-1"]]
    );
}

/// A runtime that does what a plan says, and checks what must never happen.
struct Model {
    pod: Pod,
    observed: ObservedPod,
    backoff: CrashBackoff,
    secs: u64,
    made: u32,
}

#[derive(Clone, Debug)]
enum Fault {
    Exit { index: usize, code: i32 },
    Lose { index: usize },
    Create { index: usize },
    LoseSandbox,
    Forget { index: usize },
    ChangeImage { index: usize },
    Pass { secs: u64 },
}

impl Model {
    fn new(pod: Pod) -> Self {
        let observed = ObservedPod::empty(pod.uid(), pod.key(), MonoTime::ZERO);
        Self { pod, observed, backoff: CrashBackoff::new(Growth::to(DEFAULT_MAX)), secs: 1000, made: 0 }
    }

    fn plan(&mut self) -> PodPlan {
        self.backoff.observe(&self.pod, &self.observed, RestartRules::default(), now_at(self.secs));
        let unstarted = BTreeSet::new();
        plan(&PlanInput {
            pod: &self.pod,
            observed: &self.observed,
            backoff: &self.backoff,
            unstarted: &unstarted,
            failed: &BTreeMap::new(),
            resized: &BTreeSet::new(),
            rules: RestartRules::default(),
            now: now_at(self.secs),
        })
    }

    fn apply(&mut self, plan: &PodPlan) {
        for action in &plan.actions {
            match action {
                Action::StopContainers(stops) => {
                    for stop in stops {
                        self.end(|c| *c.id() == stop.id, 137);
                    }
                }
                Action::StopSandbox(id) => self.stop_sandbox(id),
                Action::CreateSandbox { attempt, .. } => {
                    assert!(!self.observed.sandboxes.iter().any(ObservedSandbox::is_ready));
                    self.observed.sandboxes.insert(0, observed_sandbox(&self.pod, *attempt, true));
                }
                Action::StartContainer { name, restart_count, .. } => self.start(name, *restart_count),
                Action::RemoveContainer(id) => {
                    let is_live = self.observed.live_containers().any(|c| c.id() == id);
                    assert!(!is_live, "removes a live container");
                    self.observed.containers.retain(|c| c.id() != id);
                }
            }
        }
    }

    fn start(&mut self, name: &str, count: RestartCount) {
        let sandbox = self.observed.latest_sandbox().filter(|sandbox| sandbox.is_ready());
        let sandbox = sandbox.expect("a container starts only in a ready sandbox").id().clone();
        let twice = self.observed.live_containers().any(|c| c.name() == name);
        assert!(!twice, "two instances of {name}");
        let attempt = match count {
            RestartCount::Known(count) => count,
            RestartCount::FromLogs => 0,
        };
        self.made += 1;
        let mut instance = observed_container(&self.pod, name, attempt, Running);
        instance.status.id = ContainerId::from(format!("{name}#{}", self.made));
        instance.status.created_at = now_at(self.secs).wall;
        instance.sandbox_id = sandbox;
        self.observed.containers.insert(0, instance);
    }

    fn stop_sandbox(&mut self, id: &SandboxId) {
        self.end(|c| c.sandbox_id == *id, 137);
        for sandbox in self.observed.sandboxes.iter_mut().filter(|sandbox| sandbox.id() == id) {
            sandbox.0.summary.state = core_types::runtime::SandboxState::NotReady;
            sandbox.0.ips.clear();
        }
    }

    fn end(&mut self, which: impl Fn(&ObservedContainer) -> bool, code: i32) {
        let wall = now_at(self.secs).wall;
        let live = |c: &ObservedContainer| matches!(c.state(), Running | Unknown);
        for container in self.observed.containers.iter_mut().filter(|c| live(c) && which(c)) {
            container.status.state = Exited;
            container.status.exit_code = code;
            container.status.finished_at = wall;
        }
    }

    fn id_at(&self, index: usize) -> Option<ContainerId> {
        let live: Vec<_> = self.observed.live_containers().collect();
        (!live.is_empty()).then(|| live[index % live.len()].id().clone())
    }

    fn set(&mut self, index: usize, state: ContainerState) {
        if let Some(id) = self.id_at(index) {
            let found = self.observed.containers.iter_mut().find(|c| *c.id() == id);
            found.into_iter().for_each(|container| container.status.state = state);
        }
    }

    fn fault(&mut self, fault: &Fault) {
        match fault {
            Fault::Exit { index, code } => {
                if let Some(id) = self.id_at(*index) {
                    self.end(|c| *c.id() == id, *code);
                }
            }
            Fault::Lose { index } => self.set(*index, Unknown),
            Fault::Create { index } => self.set(*index, Created),
            Fault::LoseSandbox => {
                if let Some(id) = self.observed.latest_sandbox().map(|sandbox| sandbox.id().clone()) {
                    self.stop_sandbox(&id);
                }
            }
            Fault::Forget { index } => {
                let dead: Vec<_> = self
                    .observed
                    .containers
                    .iter()
                    .filter(|c| c.state() == Exited)
                    .map(|c| c.id().clone())
                    .collect();
                if let Some(id) = dead.get(index % dead.len().max(1)) {
                    self.observed.containers.retain(|c| c.id() != id);
                }
            }
            Fault::ChangeImage { index } => {
                let containers = &mut self.pod.spec.as_mut().unwrap().containers;
                let index = index % containers.len();
                containers[index].image = Some(format!("image-{}", self.secs));
            }
            Fault::Pass { secs } => self.secs += secs,
        }
    }

    /// Carries out plans until one asks for nothing; the pod must come to rest soon.
    fn settle(&mut self) -> PodPlan {
        for _ in 0..20 {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return plan;
            }
            self.apply(&plan);
        }
        panic!("no rest: {:?} {:#?}", self.plan(), self.observed);
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (any::<usize>(), prop_oneof![Just(0), Just(1), Just(42)]).prop_map(|(index, code)| Fault::Exit { index, code }),
        1 => any::<usize>().prop_map(|index| Fault::Lose { index }),
        1 => any::<usize>().prop_map(|index| Fault::Create { index }),
        1 => Just(Fault::LoseSandbox),
        1 => any::<usize>().prop_map(|index| Fault::Forget { index }),
        1 => any::<usize>().prop_map(|index| Fault::ChangeImage { index }),
        2 => (0_u64..700).prop_map(|secs| Fault::Pass { secs }),
    ]
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let policy = prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")];
    let init = proptest::sample::subsequence(vec!["side1", "i", "side2", "j", "side3"], 0..=5);
    let action = prop_oneof![2 => Just(""), 1 => Just("Restart"), 1 => Just("RestartAllContainers")];
    (policy, init, 1_usize..=3, action).prop_map(|(policy, init, count, action)| {
        let mut pod = pod(policy, &init, &["a", "b", "c"][..count]);
        if !action.is_empty() {
            let a = &mut pod.spec.as_mut().unwrap().containers[0];
            a.restart_policy = Some("Never".to_owned());
            a.restart_policy_rules = serde_json::from_value(json!([
                {"action": action, "exitCodes": {"operator": "In", "values": [42]}}
            ]))
            .unwrap();
        }
        pod
    })
}

proptest! {
    #[test]
    fn plans_come_to_rest_and_never_break_the_rules(
        pod in any_pod(),
        faults in proptest::collection::vec(fault(), 0..25),
    ) {
        let mut model = Model::new(pod);
        model.settle();
        let mut finished = false;
        for fault in &faults {
            model.fault(fault);
            let plan = model.settle();
            // The same picture gives the same plan.
            prop_assert_eq!(&model.plan(), &plan);
            if finished && !matches!(fault, Fault::ChangeImage { .. } | Fault::Forget { .. }) {
                prop_assert_eq!(plan.progress, Progress::Finished, "a finished pod came back");
            }
            finished = plan.progress == Progress::Finished;
            if finished {
                prop_assert!(model.observed.is_stopped());
                break;
            }
            prop_assert!(plan.waiting.is_empty() == plan.next_deadline.is_none());
        }
        // Without faults every wait ends and everything runs or has ended for good.
        for _ in 0..20 {
            let plan = model.settle();
            let Some(deadline) = plan.next_deadline else { break };
            model.secs = model.secs.max(deadline.as_nanos() / 1_000_000_000 + 1);
        }
        prop_assert!(model.settle().waiting.is_empty());
    }

    #[test]
    fn a_pod_that_terminates_ends_with_nothing_running(
        pod in any_pod(),
        faults in proptest::collection::vec(fault(), 0..10),
    ) {
        let mut model = Model::new(pod);
        model.settle();
        for fault in &faults {
            model.fault(fault);
        }
        for known in [Some(model.pod.clone()), None] {
            let plan = termination_plan(known.as_ref(), &model.observed, Grace::FromPod);
            let mut observed = model.observed.clone();
            let stopped: BTreeSet<_> = plan.stages.iter().flatten().map(|stop| stop.id.clone()).collect();
            observed.containers.retain(|c| !stopped.contains(c.id()));
            observed.sandboxes.retain(|sandbox| !plan.sandboxes.contains(sandbox.id()));
            prop_assert!(observed.is_stopped());
        }
    }
}
