//! Resize plans: which containers restart, and in which order the rest changes.

use core_types::runtime::ContainerStatus;
use core_types::{MonoTime, PodKey, PodUid, SandboxId, WallTime};
use proptest::prelude::*;

use super::*;
use crate::values::tests::{node, pod};

fn observed(names: &[&str]) -> ObservedPod {
    let mut observed = ObservedPod::empty(PodUid::from("u"), PodKey::new("n", "p"), MonoTime::ZERO);
    observed.containers = names
        .iter()
        .map(|name| ObservedContainer {
            sandbox_id: SandboxId::from("s"),
            termination_message: String::new(),
            status: ContainerStatus {
                id: ContainerId::from(format!("id-{name}")),
                name: (*name).to_owned(),
                attempt: 0,
                state: ContainerState::Running,
                created_at: WallTime::default(),
                started_at: WallTime::default(),
                finished_at: WallTime::default(),
                exit_code: 0,
                image: String::new(),
                image_ref: String::new(),
                image_id: String::new(),
                reason: String::new(),
                message: String::new(),
                labels: Default::default(),
                annotations: Default::default(),
                mounts: Vec::new(),
                log_path: String::new(),
                resources: None,
                process: Default::default(),
            },
        })
        .collect();
    observed
}

fn sized(cpu_milli: i64, memory_mib: i64) -> String {
    format!(
        r#"{{"requests":{{"cpu":"{cpu_milli}m","memory":"{memory_mib}Mi"}},"limits":{{"cpu":"{cpu_milli}m","memory":"{memory_mib}Mi"}}}}"#
    )
}

fn of(containers: &[(i64, i64)]) -> Pod {
    let texts: Vec<String> = containers.iter().map(|(cpu, memory)| sized(*cpu, *memory)).collect();
    pod(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &[], "{}")
}

fn cgroup_of(pod: &Pod) -> CgroupLimits {
    let values = pod_values(pod, &node());
    CgroupLimits {
        cpu_shares: shares_from_weight(weight_from_shares(values.cpu_shares.unwrap())),
        cpu_quota_us: values.cpu_quota_us,
        cpu_period_us: 100_000,
        memory_limit_bytes: values.memory_limit_bytes,
    }
}

fn plan_between(old: &Pod, new: &Pod) -> ResizePlan {
    let names: Vec<&str> = old.spec.as_ref().unwrap().containers.iter().map(|c| c.name.as_str()).collect();
    let needs = resize_needs(new, &observed(&names), &PodResources::of(old), &node());
    resize_plan(new, &needs, Some(&cgroup_of(old)), &node())
}

/// Steps in short: `pod mem=N`, `pod quota=N`, `pod shares=N`, `c0 cpu=N mem=N`.
fn short(plan: &ResizePlan) -> Vec<String> {
    let step = |step: &ResizeStep| match step {
        ResizeStep::Pod { values, .. } => {
            let memory = values.memory_limit_bytes.map(|bytes| format!("mem={}", bytes >> 20));
            let quota = values.cpu_quota_us.map(|quota| format!("quota={quota}"));
            let shares = values.cpu_shares.map(|shares| format!("shares={shares}"));
            format!("pod {}", [memory, quota, shares].into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
        ResizeStep::Container { name, resources, .. } => {
            format!("{name} cpu={} mem={}", resources.cpu_quota_us, resources.memory_limit_bytes >> 20)
        }
    };
    plan.steps.iter().map(step).collect()
}

#[test]
fn the_pod_grows_before_and_shrinks_after_its_containers() {
    let (small, large) = (of(&[(100, 64)]), of(&[(200, 128)]));
    assert_eq!(
        short(&plan_between(&small, &large)),
        ["pod mem=128", "c0 cpu=10000 mem=128", "pod quota=20000", "pod shares=204", "c0 cpu=20000 mem=128"]
    );
    let plan = plan_between(&large, &small);
    assert_eq!(
        short(&plan),
        ["c0 cpu=20000 mem=64", "pod mem=64", "c0 cpu=10000 mem=64", "pod shares=102", "pod quota=10000"]
    );
    let limits: Vec<i64> = plan.checks.iter().map(|check| check.limit_bytes >> 20).collect();
    assert_eq!(limits, [64, 64], "the pod and its container must fit");
}

#[test]
fn what_shrinks_makes_room_for_what_grows() {
    let plan = plan_between(&of(&[(100, 64), (200, 128)]), &of(&[(200, 128), (100, 64)]));
    assert_eq!(
        short(&plan),
        ["c1 cpu=20000 mem=64", "c0 cpu=10000 mem=128", "c1 cpu=10000 mem=64", "c0 cpu=20000 mem=128"]
    );
}

#[test]
fn a_resize_policy_restarts_for_its_resource_only() {
    let mut new = of(&[(200, 64)]);
    let policy =
        |resource: &str| serde_json::json!([{"resourceName": resource, "restartPolicy": "RestartContainer"}]);
    let old = PodResources::of(&of(&[(100, 64)]));
    for (resource, restarts) in [("cpu", 1), ("memory", 0)] {
        let container = &mut new.spec.as_mut().unwrap().containers[0];
        container.resize_policy = serde_json::from_value(policy(resource)).unwrap();
        let needs = resize_needs(&new, &observed(&["c0"]), &old, &node());
        assert_eq!((needs.restarts.len(), needs.is_empty()), (restarts, false), "{resource}");
    }
    // The runtime shows that the restart has happened already.
    let container = &mut new.spec.as_mut().unwrap().containers[0];
    container.resize_policy = serde_json::from_value(policy("cpu")).unwrap();
    let mut seen = observed(&["c0"]);
    let container = &new.spec.as_ref().unwrap().containers[0];
    seen.containers[0].status.resources = Some(container_resources(&new, container, &node()));
    let needs = resize_needs(&new, &seen, &old, &node());
    assert!(needs.restarts.is_empty() && !needs.is_empty());
}

#[test]
fn a_request_for_memory_restarts_too_although_the_runtime_does_not_know_it() {
    let requesting = |memory_mib: i64| {
        let resources =
            format!(r#"{{"requests":{{"memory":"{memory_mib}Mi"}},"limits":{{"memory":"64Mi"}}}}"#);
        let mut pod = pod(&[&resources], &[], "{}");
        let policy = serde_json::json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        container.resize_policy = serde_json::from_value(policy).unwrap();
        pod
    };
    let (old, new) = (requesting(32), requesting(48));
    let mut seen = observed(&["c0"]);
    let container = &old.spec.as_ref().unwrap().containers[0];
    seen.containers[0].status.resources = Some(container_resources(&old, container, &node()));
    let needs = resize_needs(&new, &seen, &PodResources::of(&old), &node());
    assert_eq!(needs.restarts.len(), 1);
    assert!(resize_needs(&new, &seen, &PodResources::of(&new), &node()).is_empty());
}

#[test]
fn a_container_that_does_not_run_is_not_waited_for() {
    let (old, new) = (PodResources::of(&of(&[(100, 64)])), of(&[(200, 64)]));
    assert!(!is_resizing(&new, &observed(&[]), &old));
    assert!(is_resizing(&new, &observed(&["c0"]), &old));
    let needs = resize_needs(&new, &observed(&[]), &old, &node());
    assert!(!needs.is_empty() && needs.restarts.is_empty());
    let plan = resize_plan(&new, &needs, Some(&cgroup_of(&of(&[(100, 64)]))), &node());
    assert_eq!(short(&plan), ["pod quota=20000", "pod shares=204"]);
}

#[test]
fn a_limit_of_the_whole_pod_is_resized_in_containers_without_their_own() {
    let whole = |memory: &str| {
        let text = format!(r#"{{"resources":{{"limits":{{"memory":"{memory}"}}}}}}"#);
        pod(&["{}"], &[], &text)
    };
    let plan = plan_between(&whole("64Mi"), &whole("128Mi"));
    assert_eq!(short(&plan), ["pod mem=128", "c0 cpu=0 mem=128"]);
}

#[test]
fn limits_do_not_shrink_below_what_is_used() {
    let pod = MemoryCheck { of: MemoryUser::Pod, limit_bytes: 100 };
    let user = MemoryUser::Container { id: ContainerId::from("i"), name: "c".to_owned() };
    let container = MemoryCheck { of: user, limit_bytes: 50 };
    let judge = |pod_usage, usage| judge_memory(&[(pod.clone(), pod_usage), (container.clone(), usage)]);
    assert_eq!(judge(Some(99), Some(49)), Ok(()));
    assert_eq!(
        judge(Some(100), Some(0)).unwrap_err(),
        "cannot decrease memory limits: attempting to set pod memory limit (100) below current usage (100)"
    );
    assert_eq!(
        judge(None, Some(60)).unwrap_err(),
        "cannot decrease memory limits: [missing pod memory usage, attempting to set container \"c\" memory limit (50) below current usage (60)]"
    );
}

/// A pod whose containers have random sizes.
fn any_pod() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((1..2000_i64, 4..512_i64), 3)
}

proptest! {
    #[test]
    fn every_plan_leads_to_what_was_given_and_no_container_stands_above_its_pod(
        old in any_pod(),
        new in any_pod(),
    ) {
        let (old, new) = (of(&old), of(&new));
        let mut cgroup = cgroup_of(&old);
        let mut actuated = PodResources::of(&old);
        let plan = plan_between(&old, &new);
        for step in &plan.steps {
            match step {
                ResizeStep::Pod { values, .. } => {
                    cgroup.memory_limit_bytes = values.memory_limit_bytes.or(cgroup.memory_limit_bytes);
                    cgroup.cpu_quota_us = values.cpu_quota_us.or(cgroup.cpu_quota_us);
                    if let Some(shares) = values.cpu_shares {
                        cgroup.cpu_shares = shares_from_weight(weight_from_shares(shares));
                    }
                }
                ResizeStep::Container { name, actuated: own, .. } => {
                    actuated.containers.insert(name.clone(), own.clone());
                }
            }
            let sizes = actuated.containers.keys().map(|name| actuated.sizes(name));
            let most = sizes.map(|sizes| sizes.memory_limit_bytes).max().unwrap();
            prop_assert!(most <= cgroup.memory_limit_bytes.unwrap());
        }
        let seen = observed(&["c0", "c1", "c2"]);
        prop_assert!(resize_needs(&new, &seen, &actuated, &node()).is_empty());
        prop_assert!(!is_resizing(&new, &seen, &actuated));
        prop_assert_eq!(cgroup, cgroup_of(&new));
    }
}
