//! What is sent to the API server, and when.

use std::sync::Arc;
use std::time::Duration;

use core_types::MonoTime;
use core_types::api::{Pod, PodStatus};
use serde_json::{Value, json};

use crate::{Answer, Containers, Job, Removal, StatusManager, Target, Work, status_patch};

fn server(version: u64, status: Value) -> Arc<Pod> {
    let metadata =
        json!({ "namespace": "d", "name": "p", "uid": "u", "resourceVersion": version.to_string() });
    Arc::new(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
}

fn status(value: Value) -> Arc<PodStatus> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn condition(name: &str, value: &str) -> Value {
    json!({ "type": name, "status": value })
}

fn target(server: &Arc<Pod>, status: &Arc<PodStatus>) -> Target {
    Target {
        uid: "u".into(),
        server: Arc::clone(server),
        status: Arc::clone(status),
        containers: Containers::MayRun,
        removal: Removal::No,
    }
}

fn at(secs: u64) -> MonoTime {
    MonoTime::from_secs(secs)
}

fn patched(job: &Job, version: u64, status: &Arc<PodStatus>) -> Answer {
    assert!(matches!(job.work, Work::Patch(_)), "{job:?}");
    let pod = server(version, serde_json::to_value(status.as_ref()).unwrap());
    Answer::Patched(Box::new(Arc::unwrap_or_clone(pod)))
}

#[test]
fn a_patch_has_only_what_differs_and_leaves_foreign_conditions() {
    let known = server(
        1,
        json!({
            "phase": "Pending", "qosClass": "Burstable", "message": "old",
            "podIPs": [{ "ip": "10.0.0.1" }],
            "conditions": [
                condition("example.com/gate", "True"),
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady" },
                condition("PodResizePending", "True"),
            ],
        }),
    );
    let wanted = status(json!({
        "phase": "Running", "qosClass": "Burstable", "podIPs": [{ "ip": "10.0.0.2" }],
        "conditions": [condition("example.com/gate", "False"), condition("Ready", "True")],
        "containerStatuses": [],
    }));
    let patch = status_patch(&known, &wanted, Containers::MayRun).unwrap();
    assert_eq!(
        patch,
        json!({ "metadata": { "uid": "u" }, "status": {
            "phase": "Running",
            "message": null,
            "$setElementOrder/podIPs": [{ "ip": "10.0.0.2" }],
            "podIPs": [{ "ip": "10.0.0.2" }, { "$patch": "delete", "ip": "10.0.0.1" }],
            "$setElementOrder/conditions": [{ "type": "example.com/gate" }, { "type": "Ready" }],
            "conditions": [
                { "type": "Ready", "status": "True", "reason": null },
                { "$patch": "delete", "type": "PodResizePending" },
            ],
        }})
    );
    let same = server(2, serde_json::to_value(wanted.as_ref()).unwrap());
    assert_eq!(status_patch(&same, &wanted, Containers::MayRun), None);
}

#[test]
fn an_end_is_told_when_nothing_runs_and_with_it_why() {
    let known = server(1, json!({ "phase": "Running", "conditions": [condition("Ready", "True")] }));
    let wanted = status(json!({
        "phase": "Failed", "reason": "Evicted",
        "conditions": [condition("DisruptionTarget", "True"), condition("Ready", "True")],
    }));
    assert_eq!(status_patch(&known, &wanted, Containers::MayRun), None);
    let patch = status_patch(&known, &wanted, Containers::Ended).unwrap();
    assert_eq!(
        patch["status"]["conditions"],
        json!([
            { "type": "DisruptionTarget", "status": "True" },
            { "type": "Ready", "status": "False", "reason": "PodFailed" },
        ])
    );
    assert_eq!(
        (&patch["status"]["phase"], &patch["status"]["reason"]),
        (&json!("Failed"), &json!("Evicted"))
    );
}

#[test]
fn the_newest_status_goes_out_one_at_a_time_and_echoes_bring_nothing() {
    let mut manager = StatusManager::default();
    let (first, second, third) = (
        server(1, json!({ "phase": "Pending" })),
        status(json!({ "phase": "Pending", "reason": "a" })),
        status(json!({ "phase": "Running" })),
    );
    manager.observe(target(&first, &second));
    let job = manager.next(at(1)).unwrap();
    assert_eq!(manager.next(at(1)), None, "one at a time");
    // It changes while the request is under way; then the answer comes.
    manager.observe(target(&first, &third));
    manager.done(at(2), &"u".into(), patched(&job, 5, &second));
    let job = manager.next(at(2)).unwrap();
    assert_eq!(
        job.work,
        Work::Patch(json!({ "metadata": { "uid": "u" }, "status": { "phase": "Running", "reason": null } }))
    );
    manager.done(at(3), &"u".into(), patched(&job, 7, &third));
    assert_eq!((manager.next(at(3)), manager.next_deadline()), (None, None), "in step");
    // The watch is behind: what it shows is older than what was acknowledged.
    let late = server(5, json!({ "phase": "Pending", "reason": "a" }));
    manager.observe(target(&late, &third));
    assert_eq!(manager.next(at(4)), None, "an old echo is no news");
    // Somebody overwrote it later.
    let newer = server(9, json!({ "phase": "Pending" }));
    manager.observe(target(&newer, &third));
    assert!(manager.next(at(5)).is_some());
}

#[test]
fn a_deleted_pod_leaves_when_its_end_is_known_there_and_nothing_is_left_here() {
    let mut manager = StatusManager::default();
    let running = server(1, json!({ "phase": "Running" }));
    let ended = status(json!({ "phase": "Succeeded" }));
    let over = Target { containers: Containers::Ended, ..target(&running, &ended) };
    manager.observe(over.clone());
    let job = manager.next(at(1)).unwrap();
    manager.done(at(1), &"u".into(), patched(&job, 2, &ended));
    assert_eq!(manager.next(at(1)), None, "volumes and cgroups are not released");
    manager.observe(Target { removal: Removal::Due, ..over });
    let job = manager.next(at(2)).unwrap();
    assert_eq!(job.work, Work::Delete("u".into()));
    manager.done(at(2), &"u".into(), Answer::Gone);
    assert_eq!((manager.next(at(9)), manager.next_deadline()), (None, None));
}

#[test]
fn what_the_server_keeps_is_not_asked_for_again_and_again() {
    let resources = || json!({ "limits": { "memory": "1Gi" } });
    let kept = |version, phase: &str| server(version, json!({ "phase": phase, "resources": resources() }));
    let mut manager = StatusManager::default();
    let running = status(json!({ "phase": "Running" }));
    let mut version = 1;
    manager.observe(target(&kept(version, "Pending"), &running));
    let mut asked = 0;
    while let Some(job) = manager.next(at(1)) {
        asked += 1;
        version += 1;
        assert!(matches!(job.work, Work::Patch(_)) && asked < 9, "{job:?}");
        let answer = Answer::Patched(Box::new(Arc::unwrap_or_clone(kept(version, "Running"))));
        manager.done(at(1), &"u".into(), answer);
    }
    assert_eq!((asked, manager.next_deadline()), (2, None), "with what is new, and once more");
    // News go on, and so does the end of the pod.
    let ended = status(json!({ "phase": "Succeeded" }));
    let over = Target {
        containers: Containers::Ended,
        removal: Removal::Due,
        ..target(&kept(version, "Running"), &ended)
    };
    manager.observe(over);
    let job = manager.next(at(2)).unwrap();
    assert!(matches!(job.work, Work::Patch(_)), "{job:?}");
    manager.done(at(2), &"u".into(), Answer::Patched(Box::new(Arc::unwrap_or_clone(kept(9, "Succeeded")))));
    assert_eq!(manager.next(at(2)).unwrap().work, Work::Delete("u".into()));
}

#[test]
fn an_outage_holds_all_back_and_a_refusal_one() {
    let mut manager = StatusManager::default();
    let base = server(1, json!({ "phase": "Pending" }));
    let wanted = status(json!({ "phase": "Running" }));
    let other = Target { uid: "v".into(), ..target(&base, &wanted) };
    manager.observe(target(&base, &wanted));
    manager.observe(other);
    assert_eq!(manager.next(at(1)).unwrap().uid, "u".into());
    manager.done(at(1), &"u".into(), Answer::Unreachable);
    assert_eq!(manager.next(at(1)), None);
    let until = manager.next_deadline().unwrap();
    assert_eq!(until, at(1) + Duration::from_millis(500));
    let job = manager.next(until).unwrap();
    manager.done(until, &job.uid, Answer::Refused);
    let next = manager.next(until).unwrap();
    assert_ne!(next.uid, job.uid, "the other one does not wait");
    manager.done(until, &next.uid, patched(&next, 3, &wanted));
    assert_eq!(manager.next(until), None);
    let again = manager.next_deadline().unwrap();
    assert!(again > until);
    assert_eq!(manager.next(again).unwrap().uid, job.uid);
}

#[test]
fn nothing_is_told_of_a_pod_that_is_forgotten() {
    let mut manager = StatusManager::default();
    let base = server(1, json!({ "phase": "Pending" }));
    manager.observe(target(&base, &status(json!({ "phase": "Running" }))));
    manager.forget(&"u".into());
    assert_eq!((manager.next(at(1)), manager.next_deadline()), (None, None));
}
