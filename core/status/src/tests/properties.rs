//! What holds of every history.

use core_types::PodExt;
use core_types::runtime::{ContainerState, SandboxState};
use core_types::view::Lifecycle;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAMES: [&str; 4] = ["init", "side", "a", "b"];

fn any_container() -> impl Strategy<Value = ObservedContainer> {
    let state = prop_oneof![
        1 => Just(ContainerState::Created),
        3 => Just(ContainerState::Running),
        3 => Just(ContainerState::Exited),
        1 => Just(ContainerState::Unknown),
    ];
    (0..4usize, 1..20u32, state, prop_oneof![Just(0), Just(1), Just(42)], proptest::option::of(0..4u32))
        .prop_map(|(name, serial, state, exit_code, restarts)| {
            let mut made = container(NAMES[name], serial, state);
            made.status.exit_code = exit_code;
            match restarts {
                Some(count) => with_restarts(made, count),
                None => made,
            }
        })
}

fn any_observed() -> impl Strategy<Value = Option<ObservedPod>> {
    let containers = proptest::collection::vec(any_container(), 0..6);
    proptest::option::weighted(
        0.9,
        (containers, any::<bool>()).prop_map(|(mut containers, ready)| {
            containers.sort_by_key(|c| std::cmp::Reverse(c.status.attempt));
            containers.dedup_by_key(|c| c.status.attempt);
            let mut pod = observed(containers);
            if !ready {
                pod.sandboxes[0].0.summary.state = SandboxState::NotReady;
            }
            pod
        }),
    )
}

fn any_pod() -> impl Strategy<Value = core_types::api::Pod> {
    let policy = prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")];
    (policy, any::<bool>()).prop_map(|(policy, is_static)| {
        let mut made = pod(json!({
            "restartPolicy": policy,
            "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "a", "readinessProbe": {"exec": {"command": ["x"]}}}, {"name": "b"}],
        }));
        if is_static {
            let source = (keys::CONFIG_SOURCE_ANNOTATION.to_owned(), "file".to_owned());
            made.metadata.annotations = Some([source].into());
        }
        made
    })
}

fn any_lifecycle() -> impl Strategy<Value = Lifecycle> {
    prop_oneof![
        1 => Just(Lifecycle::Waiting),
        5 => Just(Lifecycle::Syncing),
        1 => Just(Lifecycle::Terminating),
        1 => Just(Lifecycle::Terminated),
        1 => Just(Lifecycle::Finished),
    ]
}

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

proptest! {
    #[test]
    fn histories_keep_the_invariants(
        made in any_pod(),
        steps in proptest::collection::vec((any_observed(), any_lifecycle(), 0..5usize), 1..12),
    ) {
        let mut bench = Bench::new(made);
        for (observed, lifecycle, waiting) in steps {
            let before = bench.previous.clone();
            bench.observed = observed;
            bench.lifecycle = lifecycle;
            bench.waiting = NAMES.get(waiting).map(|n| wait_for(n, "CrashLoopBackOff", "x")).unwrap_or_default();
            let status = bench.step();
            if let Some(before) = before {
                if crate::phase::is_terminal(&before) {
                    prop_assert_eq!(&before.phase, &status.phase, "ST-1");
                }
                for old in all(&before) {
                    let new = all(&status).find(|new| new.name == old.name).unwrap();
                    prop_assert!(new.restart_count >= old.restart_count, "ST-2: {:?} -> {:?}", old, new);
                    let end = old.state.as_ref().and_then(|state| state.terminated.as_ref());
                    let policy = if old.name == "side" { "Always" } else { bench.pod.restart_policy() };
                    let for_good = end.is_some_and(|end| match policy {
                        "Never" => true,
                        "OnFailure" => end.exit_code == 0,
                        _ => false,
                    });
                    let has_ended = new.state.as_ref().is_some_and(|state| state.terminated.is_some());
                    prop_assert!(!for_good || has_ended, "an end for good is taken back: {:?} -> {:?}", old, new);
                }
                prop_assert_eq!(&before.start_time, &status.start_time);
            }
            for container in all(&status) {
                let state = container.state.as_ref().unwrap();
                let parts = [state.running.is_some(), state.waiting.is_some(), state.terminated.is_some()];
                prop_assert_eq!(parts.iter().filter(|part| **part).count(), 1, "exactly one state");
                prop_assert!(!container.ready || container.name == "init" || state.running.is_some());
            }
            let is_ready = condition(&status, "Ready").0 == "True";
            prop_assert!(!(is_ready && crate::phase::is_terminal(&status)));
            let fed_back = bench.generate();
            prop_assert_eq!(&fed_back, &status, "a status that is fed back comes out unchanged");
            prop_assert_eq!(bench.generate(), fed_back, "the same input gives the same status");
        }
    }
}
