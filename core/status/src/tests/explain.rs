//! The words of `podwright why`.

use std::sync::Arc;

use core_types::runtime::{RuntimeCondition, RuntimeStatus};
use core_types::view::{Activity, NodeView, OfflineStart, PodSource, PodView, Problem};
use core_types::{EventRecord, EventType, ObjectRef};
use serde_json::json;

use super::*;
use crate::{Cause, Explanation, State, explain};

fn view(bench: &Bench) -> PodView {
    PodView {
        pod: Arc::new(bench.pod.clone()),
        status: Arc::new(bench.generate()),
        source: Some(PodSource::File),
        lifecycle: bench.lifecycle,
        activity: None,
        problem: None,
        next_retry: None,
        events: Arc::from([]),
        is_observed: true,
        is_released: false,
        is_wanted: true,
    }
}

fn now() -> WallTime {
    WallTime::from_unix_secs(1_000)
}

fn of(view: &PodView) -> Explanation {
    explain(view, &NodeView::default(), now())
}

fn activity(doing: &str, container: &str) -> Option<Activity> {
    Some(Activity {
        doing: doing.to_owned(),
        container: container.to_owned(),
        since: WallTime::from_unix_secs(988),
    })
}

fn waiting_for(reason: &str, message: &str) -> PodView {
    let mut bench = Bench::new(simple_pod("Always"));
    bench.waiting = wait_for("main", reason, message);
    view(&bench)
}

fn crash_loop() -> PodView {
    let mut main = with_restarts(exited("main", 900, 1), 3);
    main.termination_message = "cannot open /data\n".to_owned();
    let mut bench = Bench::new(simple_pod("Always")).see(vec![main]);
    bench.now_secs = 1_000;
    bench.waiting = wait_for("main", "CrashLoopBackOff", "back-off 40s restarting failed container");
    PodView { next_retry: Some(WallTime::from_unix_secs(1_028)), ..view(&bench) }
}

#[test]
fn causes_have_plain_words() {
    let busy = PodView {
        activity: activity("pulling image \"img\"", "main"),
        ..view(&Bench::new(simple_pod("Always")))
    };
    let sandbox = PodView { activity: activity("creating the sandbox", ""), ..busy.clone() };
    let broken = PodView {
        problem: Some(Problem {
            reason: "FailedCreatePodSandBox".to_owned(),
            message: "cni: no address left".to_owned(),
            container: String::new(),
            at: WallTime::from_unix_secs(990),
        }),
        ..view(&Bench::new(simple_pod("Always")))
    };
    let init =
        pod(json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "main"}]}));
    let init = view(&Bench::new(init).see(vec![running("i2", 2), exited("i1", 1, 0)]));
    let unready =
        pod(json!({"containers": [{"name": "main", "readinessProbe": {"exec": {"command": ["x"]}}}]}));
    let unready = view(&Bench::new(unready).see(vec![running("main", 1)]));
    let failed = view(&Bench::new(simple_pod("Never")).see(vec![exited("main", 1, 3)]));
    let mut oom = exited("main", 1, 137);
    oom.status.reason = "OOMKilled".to_owned();
    let oom = view(&Bench::new(simple_pod("Never")).see(vec![oom]));
    let mut evicted = view(&Bench::new(simple_pod("Always")));
    let verdict = Verdict::Evicted {
        reason: "Evicted",
        message: "The node was low on resource: memory.",
        disruption: "",
    };
    evicted.status = Arc::new(Bench::new(simple_pod("Always")).generate_with(verdict));
    let mut leaving = view(&Bench::new(simple_pod("Always")).see(vec![running("main", 1)]));
    leaving.lifecycle = Lifecycle::Terminating;
    let table = [
        (view(&Bench::new(simple_pod("Always"))), State::Waiting, "it is known, and its start has not begun"),
        (busy, State::Starting, "pulling image img for container main for 12 s"),
        (sandbox, State::Starting, "creating the sandbox for 12 s"),
        (
            waiting_for("ImagePullBackOff", "registry says: not found"),
            State::Starting,
            "image img for container main cannot be had (ImagePullBackOff): registry says: not found",
        ),
        (
            waiting_for("CreateContainerConfigError", "no such field"),
            State::Starting,
            "container main cannot be made from its specification: no such field",
        ),
        (
            waiting_for("RunContainerError", "exec: not found"),
            State::Starting,
            "container main cannot be started (RunContainerError): exec: not found",
        ),
        (
            crash_loop(),
            State::Starting,
            "container main ended with exit code 1 (Error) and was restarted 3 times; it starts again in 28 s; its \
             last words: cannot open /data",
        ),
        (
            view(&Bench::new(simple_pod("Always")).see(vec![with_restarts(exited("main", 900, 1), 1)])),
            State::Starting,
            "container main ended with exit code 1 (Error) and was restarted once",
        ),
        (broken, State::Starting, "cni: no address left (FailedCreatePodSandBox)"),
        (init, State::Starting, "init container i2 runs; 1 of 2 are done"),
        (unready, State::NotReady, "not ready: main"),
        (
            view(&Bench::new(simple_pod("Always")).see(vec![running("main", 1)])),
            State::Ready,
            "every container runs and is ready",
        ),
        (
            view(&Bench::new(simple_pod("Never")).see(vec![exited("main", 1, 0)])),
            State::Completed,
            "every container has ended with exit code 0",
        ),
        (failed, State::Failed, "container main ended with exit code 3 (Error) and is not restarted"),
        (
            oom,
            State::Failed,
            "container main was killed because it used more memory than its limit (exit code 137) and is not \
             restarted",
        ),
        (evicted, State::Failed, "Evicted: The node was low on resource: memory."),
        (leaving, State::Terminating, "it is being stopped"),
    ];
    for (view, state, text) in table {
        let explanation = of(&view);
        assert_eq!((explanation.state, explanation.cause_text.as_str()), (state, text));
    }
}

#[test]
fn grace_that_is_left_is_told() {
    let mut view = view(&Bench::new(simple_pod("Always")).see(vec![running("main", 1)]));
    view.lifecycle = Lifecycle::Terminating;
    Arc::make_mut(&mut view.pod).metadata.deletion_timestamp = Some(WallTime::from_unix_secs(1_017).to_api());
    assert_eq!(of(&view).cause_text, "it is being stopped; 17 s of its grace period are left");
    Arc::make_mut(&mut view.pod).metadata.deletion_timestamp = Some(WallTime::from_unix_secs(900).to_api());
    assert_eq!(of(&view).cause_text, "it is being stopped, and its grace period is over");
}

#[test]
fn causes_outside_of_the_pod_come_first() {
    let mut pod_view = waiting_for("ErrImagePull", "x");
    let mut node = NodeView::default();
    node.runtime.status = Some(RuntimeStatus {
        network_ready: RuntimeCondition {
            ok: false,
            message: "cni plugin not initialized".to_owned(),
            ..Default::default()
        },
        ..RuntimeStatus::default()
    });
    let text = |view: &PodView, node: &NodeView| explain(view, node, now()).cause_text;
    assert_eq!(text(&pod_view, &node), "the pod network is not ready: cni plugin not initialized");
    Arc::make_mut(&mut pod_view.pod).spec.as_mut().unwrap().host_network = Some(true);
    assert!(text(&pod_view, &node).starts_with("image img"), "the host network needs no CNI");
    node.runtime.error = "connection refused".to_owned();
    assert_eq!(text(&pod_view, &node), "the container runtime does not answer: connection refused");

    let mut other = pod_view.clone();
    Arc::make_mut(&mut other.pod).metadata.uid = Some("u0".to_owned());
    other.lifecycle = Lifecycle::Terminating;
    pod_view.lifecycle = Lifecycle::Waiting;
    let mut node = NodeView::default();
    Arc::make_mut(&mut node.pods).insert(PodUid::from("u0"), Arc::new(other));
    Arc::make_mut(&mut node.pods).insert(PodUid::from("u1"), Arc::new(pod_view.clone()));
    let told = text(&pod_view, &node);
    assert_eq!(told, "another pod of the same name (UID u0) must be gone first");
}

#[test]
fn a_ready_pod_needs_no_excuse() {
    let mut view = view(&Bench::new(simple_pod("Always")).see(vec![running("main", 1)]));
    view.activity = activity("looking", "");
    view.next_retry = Some(WallTime::from_unix_secs(1_100));
    let explanation = of(&view);
    assert_eq!(explanation.cause, Cause::Ready);
    assert_eq!((explanation.next_retry, explanation.hint.as_str()), (None, ""));
}

#[test]
fn one_screen_of_text() {
    let mut view = crash_loop();
    view.events = Arc::from([Arc::new(EventRecord {
        name: "web.1".to_owned(),
        object: ObjectRef {
            field_path: "spec.containers{main}".to_owned(),
            ..ObjectRef::pod(&PodKey::new("ns", "web"), &PodUid::from("u1"))
        },
        event_type: EventType::Warning,
        reason: "BackOff".to_owned(),
        message: "Back-off restarting failed container main".to_owned(),
        first_seen: now(),
        last_seen: WallTime::from_unix_secs(990),
        count: 4,
        annotations: BTreeMap::new(),
    })]);
    let wanted = "\
Pod ns/web: starting
Cause:      container main ended with exit code 1 (Error) and was restarted 3 times; it starts again in 28 s; its last words: cannot open /data
Since:      1970-01-01T00:16:40Z (0 s ago)
Last error: BackOff [main]: Back-off restarting failed container main (10 s ago)
Next retry: in 28 s (1970-01-01T00:17:08Z)
Next:       It is started again in 28 s. Each failure makes the next wait longer.
To do:      Read what it said last: podwright logs ns/web -c main --previous

CONTAINER  KIND     READY  RESTARTS  SINCE  STATE
main       regular  no     3         -      waiting (CrashLoopBackOff)
";
    assert_eq!(of(&view).to_string(), wanted);
}

#[test]
fn programs_read_the_same() {
    let explanation = of(&crash_loop());
    let text = serde_json::to_value(&explanation).unwrap();
    assert_eq!(text["cause"]["kind"], "crashLoop");
    assert_eq!(text["cause"]["nextStartInSecs"], 28);
    assert_eq!(serde_json::from_value::<Explanation>(text).unwrap(), explanation);
}

#[test]
fn a_pod_that_is_only_remembered_says_so() {
    let node = NodeView {
        offline: Some(OfflineStart {
            since: WallTime::from_unix_secs(940),
            saved_at: WallTime::from_unix_secs(0),
        }),
        ..NodeView::default()
    };
    let of_file = view(&Bench::new(simple_pod("Always")));
    assert!(!explain(&of_file, &node, now()).to_string().contains("Offline"));
    let of_server = PodView { source: Some(PodSource::Api), ..of_file };
    let text = explain(&of_server, &node, now()).to_string();
    let wanted = "the API server has not answered since the agent started (1 min ago); the pod is as it was known before 1970-01-01T00:00:00Z";
    assert!(text.contains(wanted), "{text}");
    assert!(!explain(&of_server, &NodeView::default(), now()).to_string().contains("Offline"));
}
