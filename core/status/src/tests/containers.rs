//! Container statuses (CONTRACT 3.13, 3.17, 3.29).

use core_types::runtime::ContainerState;
use core_types::view::Lifecycle;
use serde_json::json;

use super::*;
use crate::ProbeResult;
use crate::containers::{ended, last_end, running as running_state};

#[test]
fn a_running_container_shows_its_facts() {
    let mut main = with_restarts(running("main", 4), 2);
    main.status.process.user = Some((1000, 2000, vec![3000]));
    let status = Bench::new(pod(json!({"containers": [{
        "name": "main", "image": "img", "resources": {"requests": {"cpu": "100m"}},
        "volumeMounts": [
            {"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "IfPossible"},
            {"name": "w", "mountPath": "/w"},
        ],
    }]})))
    .see(vec![main])
    .generate();
    let shown = serde_json::to_value(main_of(&status)).unwrap();
    assert_eq!(
        shown,
        json!({
            "name": "main", "image": "docker.io/img", "imageID": "img@sha256:1", "containerID": "containerd://c4",
            "state": {"running": {"startedAt": "1970-01-01T00:00:04Z"}}, "lastState": {},
            "ready": true, "started": true, "restartCount": 2,
            "resources": {"requests": {"cpu": "100m"}}, "allocatedResources": {"cpu": "100m"},
            "user": {"linux": {"uid": 1000, "gid": 2000, "supplementalGroups": [3000]}},
            "volumeMounts": [
                {"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"},
                {"name": "w", "mountPath": "/w"},
            ],
        })
    );
}

#[test]
fn recursive_read_only_shows_what_the_runtime_does() {
    let mut bench = Bench::new(pod(json!({"containers": [{"name": "main", "volumeMounts": [
        {"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "IfPossible"},
        {"name": "p", "mountPath": "/p", "readOnly": true, "recursiveReadOnly": "IfPossible",
         "mountPropagation": "HostToContainer"},
    ]}]})));
    bench.node.recursive_read_only = RecursiveReadOnly::Supported;
    let status = bench.generate();
    let modes: Vec<_> =
        main_of(&status).volume_mounts.iter().flatten().map(|m| &m.recursive_read_only).collect();
    assert_eq!(modes, [&Some("Enabled".to_owned()), &Some("Disabled".to_owned())]);
}

#[test]
fn a_container_that_was_never_made_waits() {
    let plain = Bench::new(simple_pod("Always")).generate();
    assert_eq!(waiting_reason(main_of(&plain)), "ContainerCreating");
    assert_eq!(main_of(&plain).image, "img");
    let with_init = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "main"}]}));
    let status = Bench::new(with_init).generate();
    assert_eq!(waiting_reason(main_of(&status)), "PodInitializing");
}

#[test]
fn the_executors_reason_shows_while_the_container_should_start() {
    let mut bench = Bench::new(simple_pod("Always"));
    bench.waiting = wait_for("main", "ErrImagePull", "no such image");
    let status = bench.step();
    assert_eq!(waiting_reason(main_of(&status)), "ErrImagePull");

    bench.waiting = wait_for("main", "CrashLoopBackOff", "back-off 10s");
    bench.observed = Some(observed(vec![exited("main", 1, 2)]));
    let status = bench.step();
    assert_eq!(waiting_reason(main_of(&status)), "CrashLoopBackOff");
    assert_eq!(last_end(main_of(&status)).unwrap().exit_code, 2);
    assert_eq!(status.phase.as_deref(), Some("Running"));

    bench.observed = Some(observed(vec![running("main", 2)]));
    assert!(running_state(main_of(&bench.generate())).is_some(), "a running container is not waiting");
    bench.observed = Some(observed(vec![exited("main", 1, 2)]));
    bench.lifecycle = Lifecycle::Terminating;
    assert!(ended(main_of(&bench.generate())).is_some(), "nothing starts in a pod that is being stopped");

    let mut bench = Bench::new(simple_pod("Never")).see(vec![exited("main", 1, 2)]);
    bench.waiting = wait_for("main", "CrashLoopBackOff", "back-off 10s");
    assert!(ended(main_of(&bench.generate())).is_some(), "what is never restarted does not wait");
}

#[test]
fn the_previous_instance_is_the_last_state() {
    let bench = Bench::new(simple_pod("Always"));
    let status = bench.see(vec![with_restarts(running("main", 3), 1), exited("main", 2, 7)]).generate();
    assert_eq!(last_end(main_of(&status)).unwrap().exit_code, 7);
    assert_eq!(last_end(main_of(&status)).unwrap().container_id.as_deref(), Some("containerd://c2"));
}

#[test]
fn an_end_is_remembered_when_the_runtime_has_removed_it() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![exited("main", 1, 7)]);
    bench.step();
    bench.observed = Some(observed(vec![running("main", 2)]));
    let status = bench.step();
    assert_eq!(last_end(main_of(&status)).unwrap().exit_code, 7);
    assert_eq!(bench.generate().container_statuses, status.container_statuses);
}

#[test]
fn an_end_is_not_its_own_last_state() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![exited("main", 1, 7)]);
    bench.waiting = wait_for("main", "CrashLoopBackOff", "");
    bench.step();
    bench.waiting.clear();
    let status = bench.step();
    assert!(ended(main_of(&status)).is_some());
    assert_eq!(last_end(main_of(&status)), None);
}

#[test]
fn a_running_container_that_vanished_is_reported_as_lost() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![running("main", 1)]);
    bench.step();
    bench.observed = Some(observed(vec![]));
    let status = bench.step();
    let end = last_end(main_of(&status)).unwrap();
    assert_eq!((end.reason.as_deref(), end.exit_code), (Some("ContainerStatusUnknown"), 137));
    assert_eq!(main_of(&status).restart_count, 2, "1 from its attempt, and the restart to come");
    assert_eq!(status.phase.as_deref(), Some("Running"), "a pod that ran does not go back to Pending");
    assert_eq!(bench.generate(), status, "and that stays so");
}

#[test]
fn a_running_container_whose_state_got_lost_is_reported_as_lost() {
    let mut bench = Bench::new(simple_pod("Never")).see(vec![running("main", 1)]);
    bench.step();
    bench.observed = Some(observed(vec![container("main", 1, ContainerState::Unknown)]));
    let status = bench.step();
    assert_eq!(ended(main_of(&status)).unwrap().exit_code, 137);
    assert_eq!(bench.generate().container_statuses, status.container_statuses);
}

#[test]
fn restart_counts_never_fall() {
    let mut bench = Bench::new(simple_pod("Always")).see(vec![with_restarts(running("main", 9), 5)]);
    assert_eq!(main_of(&bench.step()).restart_count, 5);
    bench.observed = Some(observed(vec![with_restarts(running("main", 10), 0)]));
    assert_eq!(main_of(&bench.step()).restart_count, 5);
    bench.observed = Some(observed(vec![with_restarts(exited("main", 10, 1), 0)]));
    bench.step();
    bench.observed = Some(observed(vec![with_restarts(running("main", 11), 0)]));
    assert_eq!(main_of(&bench.step()).restart_count, 6, "a new instance after a known end is a restart");
}

#[test]
fn lost_init_containers_are_taken_to_be_done_once_the_pod_runs() {
    let spec = pod(json!({
        "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }));
    let mut bench = Bench::new(spec).see(vec![running("main", 2)]);
    bench.waiting = wait_for("i", "CrashLoopBackOff", "");
    let status = bench.step();
    let init = status.init_container_statuses.as_ref().unwrap();
    assert_eq!(ended(&init[0]).unwrap().reason.as_deref(), Some("Completed"));
    assert!(init[0].ready);
    assert_eq!(waiting_reason(&init[1]), "PodInitializing", "a sidecar is started again");
    assert_eq!(bench.generate(), status);
}

#[test]
fn order_is_by_name_and_for_init_containers_by_spec() {
    let status = Bench::new(pod(json!({
        "initContainers": [{"name": "z"}, {"name": "a"}],
        "containers": [{"name": "y"}, {"name": "b"}],
        "ephemeralContainers": [{"name": "e2", "image": "x"}, {"name": "e1"}],
    })))
    .generate();
    let names = |list: &Option<Vec<ContainerStatus>>| {
        list.iter().flatten().map(|c| c.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&status.init_container_statuses), ["z", "a"]);
    assert_eq!(names(&status.container_statuses), ["b", "y"]);
    assert_eq!(names(&status.ephemeral_container_statuses), ["e1", "e2"]);
}

#[test]
fn probes_decide_started_and_ready() {
    let spec = pod(json!({"containers": [{
        "name": "main", "startupProbe": {"exec": {"command": ["a"]}}, "readinessProbe": {"exec": {"command": ["b"]}},
    }]}));
    let bench = Bench::new(spec).see(vec![running("main", 1)]);
    let with = |startup, readiness| {
        let probes = BTreeMap::from([(ContainerId::from("c1"), ProbeResults { startup, readiness })]);
        let status = Bench { probes, ..bench.clone() }.generate();
        (main_of(&status).started, main_of(&status).ready)
    };
    assert_eq!(with(ProbeResult::Unknown, ProbeResult::Success), (Some(false), false));
    assert_eq!(with(ProbeResult::Failure, ProbeResult::Success), (Some(false), false));
    assert_eq!(with(ProbeResult::Success, ProbeResult::Unknown), (Some(true), false));
    assert_eq!(with(ProbeResult::Success, ProbeResult::Success), (Some(true), true));
    assert_eq!(with(ProbeResult::Success, ProbeResult::Failure), (Some(true), false));

    let other = BTreeMap::from([(
        ContainerId::from("c0"),
        ProbeResults { startup: ProbeResult::Success, readiness: ProbeResult::Success },
    )]);
    let status = Bench { probes: other, ..bench.clone() }.generate();
    assert!(!main_of(&status).ready, "the result of an old container is not one of the new one");

    let mut ready = bench.clone();
    let success = ProbeResults { startup: ProbeResult::Success, readiness: ProbeResult::Success };
    ready.probes = BTreeMap::from([(ContainerId::from("c1"), success)]);
    ready.step();
    ready.probes.clear();
    assert!(main_of(&ready.generate()).ready, "a restart of the agent does not make it unready");
    ready.observed = Some(observed(vec![running("main", 2)]));
    assert!(!main_of(&ready.generate()).ready, "a restart of the container does");
}

#[test]
fn termination_messages_are_joined_and_bounded() {
    let mut main = exited("main", 1, 1);
    main.status.message = "oops".to_owned();
    main.termination_message = "bye".to_owned();
    let status = Bench::new(simple_pod("Never")).see(vec![main.clone()]).generate();
    assert_eq!(ended(main_of(&status)).unwrap().message.as_deref(), Some("oops: bye"));

    main.status.message.clear();
    main.termination_message = "ü".repeat(3000);
    let status = Bench::new(simple_pod("Never")).see(vec![main.clone()]).generate();
    assert_eq!(ended(main_of(&status)).unwrap().message.as_ref().unwrap().len(), 4096);

    let names: Vec<_> =
        (0..5).map(|n| json!({"name": format!("c{n}")})).chain([json!({"name": "main"})]).collect();
    let many = pod(json!({"restartPolicy": "Never", "containers": names}));
    let status = Bench::new(many).see(vec![main]).generate();
    let list = status.container_statuses.unwrap();
    assert_eq!(ended(&list[5]).unwrap().message.as_ref().unwrap().len(), 12 * 1024 / 6);
}

/// Restarts all when `main` exits with 42.
fn pod_that_restarts_all() -> Pod {
    pod(json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [
        {"name": "main", "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]},
        {"name": "other"},
    ]}))
}

#[test]
fn a_restart_of_all_containers_shows_in_every_status() {
    let mut bench = Bench::new(pod_that_restarts_all()).see(vec![
        with_restarts(running("main", 2), 0),
        with_restarts(running("other", 3), 0),
        with_restarts(exited("i", 1, 0), 0),
    ]);
    let restarting = |status: &PodStatus| condition(status, "AllContainersRestarting");
    let status = bench.step();
    assert_eq!(restarting(&status), ("False".into(), String::new(), String::new()));

    let main = || with_restarts(exited("main", 2, 42), 0);
    let other = with_restarts(running("other", 3), 0);
    bench.observed = Some(observed(vec![main(), other, with_restarts(exited("i", 1, 0), 0)]));
    let status = bench.step();
    let began = "container exited with restart policy rule";
    assert_eq!(restarting(&status), ("True".into(), "RestartAllContainersStarted".into(), began.into()));
    let of_main = |status: &PodStatus| status.container_statuses.clone().unwrap()[0].clone();
    assert_eq!(ended(&of_main(&status)).map(|end| end.exit_code), Some(42));
    assert_eq!(status.phase.as_deref(), Some("Running"));

    // The others are gone already; the one that asked is still there.
    bench.observed = Some(observed(vec![main()]));
    let status = bench.step();
    assert_eq!(restarting(&status).0, "True");
    let gone = [
        &status.container_statuses.as_ref().unwrap()[1],
        &status.init_container_statuses.as_ref().unwrap()[0],
    ];
    for container in gone {
        assert_eq!(waiting_reason(container), "RestartingAllContainers", "{container:?}");
        let last = last_end(container).unwrap();
        assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("RestartingAllContainers")));
        assert_eq!(container.restart_count, 1);
    }
    assert_eq!(bench.step(), status, "a picture in between changes nothing");
    assert_eq!(condition(&status, "Initialized").0, "True");

    bench.observed = Some(observed(Vec::new()));
    let status = bench.step();
    assert_eq!(restarting(&status).0, "False");
    assert_eq!(waiting_reason(main_of(&status)), "RestartingAllContainers");
    assert_eq!((main_of(&status).restart_count, status.phase.as_deref()), (1, Some("Running")));

    // The init container runs again, and the count goes on.
    bench.observed = Some(observed(vec![with_restarts(running("i", 4), 1)]));
    let status = bench.step();
    let init = &status.init_container_statuses.as_ref().unwrap()[0];
    assert!(running_state(init).is_some());
    assert_eq!((init.restart_count, last_end(init).unwrap().exit_code), (1, 137));
    assert_eq!(waiting_reason(main_of(&status)), "PodInitializing");
    bench.observed = Some(observed(vec![
        with_restarts(running("other", 6), 1),
        with_restarts(running("main", 5), 1),
        with_restarts(exited("i", 4, 0), 1),
    ]));
    let status = bench.step();
    assert_eq!(main_of(&status).restart_count, 1);
    assert_eq!(bench.step(), status);
}

#[test]
fn without_the_gate_a_rule_restarts_no_one_else() {
    let mut bench = Bench::new(pod_that_restarts_all());
    bench.node.gates.restart_rules = RestartRules::OfContainers;
    bench.observed = Some(observed(vec![exited("main", 2, 42), exited("other", 3, 0), exited("i", 1, 0)]));
    let status = bench.step();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let names: Vec<_> = status.conditions.iter().flatten().map(|c| c.type_.as_str()).collect();
    assert!(!names.contains(&"AllContainersRestarting"), "{names:?}");
}

#[test]
fn the_stop_signal_shows_with_its_gate() {
    let mut main = running("main", 1);
    main.status.process.stop_signal = "SIGUSR1".to_owned();
    let mut bench = Bench::new(simple_pod("Always")).see(vec![main]);
    assert_eq!(main_of(&bench.generate()).stop_signal, None);
    bench.node.gates.stop_signals = core_types::StopSignals::OfContainers;
    assert_eq!(main_of(&bench.generate()).stop_signal.as_deref(), Some("SIGUSR1"));
}
