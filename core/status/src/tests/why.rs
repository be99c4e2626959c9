//! What `podwright why` says of each state a person may meet: the whole screen, in `why.txt`.
//!
//! The file holds a section for each case. A screen that changes fails the test, which prints all screens as they are now.

use std::sync::Arc;

use core_types::runtime::{RuntimeCondition, RuntimeStatus};
use core_types::view::{Activity, NodeView, PodSource, PodView, Problem};
use core_types::{EventRecord, EventType, ObjectRef};
use serde_json::json;

use super::*;
use crate::explain;

/// The time of every screen.
const NOW: i64 = 1_000;

/// A pod on a node, to be explained.
struct Case {
    view: PodView,
    node: NodeView,
}

impl Case {
    fn of(bench: &Bench) -> Self {
        let view = PodView {
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
        };
        Self { view, node: NodeView::default() }
    }

    fn retry_in(mut self, secs: i64) -> Self {
        self.view.next_retry = Some(WallTime::from_unix_secs(NOW + secs));
        self
    }

    fn problem(mut self, reason: &str, message: &str, container: &str) -> Self {
        self.view.problem = Some(Problem {
            reason: reason.to_owned(),
            message: message.to_owned(),
            container: container.to_owned(),
            at: WallTime::from_unix_secs(NOW - 7),
        });
        self
    }

    fn doing(mut self, doing: &str, container: &str) -> Self {
        let since = WallTime::from_unix_secs(NOW - 12);
        self.view.activity =
            Some(Activity { doing: doing.to_owned(), container: container.to_owned(), since });
        self
    }

    fn event(mut self, event_type: EventType, reason: &str, message: &str, count: u32) -> Self {
        let object = ObjectRef::pod(&PodKey::new("ns", "web"), &PodUid::from("u1"));
        let event = EventRecord {
            name: "web.1".to_owned(),
            object: ObjectRef { field_path: "spec.containers{main}".to_owned(), ..object },
            event_type,
            reason: reason.to_owned(),
            message: message.to_owned(),
            first_seen: WallTime::from_unix_secs(NOW - 90),
            last_seen: WallTime::from_unix_secs(NOW - 3),
            count,
            annotations: std::collections::BTreeMap::new(),
        };
        self.view.events = self.view.events.iter().cloned().chain([Arc::new(event)]).collect();
        self
    }

    fn warning(self, reason: &str, message: &str) -> Self {
        self.event(EventType::Warning, reason, message, 1)
    }

    fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.view.lifecycle = lifecycle;
        self
    }

    fn screen(&self) -> String {
        explain(&self.view, &self.node, WallTime::from_unix_secs(NOW)).to_string()
    }
}

fn bench(restart_policy: &str) -> Bench {
    let mut bench = Bench::new(simple_pod(restart_policy));
    bench.now_secs = NOW;
    bench
}

/// A container that was started so many seconds ago.
fn runs(name: &str, secs_ago: u32) -> ObservedContainer {
    with_restarts(running(name, 1_000 - secs_ago), 0)
}

/// A container that ended so many seconds ago, after 100 seconds.
fn ended_ago(name: &str, secs_ago: u32, exit_code: i32) -> ObservedContainer {
    with_restarts(exited(name, 900 - secs_ago, exit_code), 0)
}

/// A container that waits for a reason, as the executor leaves it: with a problem and a time for the next try.
fn waits(reason: &str, message: &str) -> Case {
    let mut bench = bench("Always");
    bench.waiting = wait_for("main", reason, message);
    Case::of(&bench).problem(reason, message, "main").retry_in(20)
}

/// A container that ended with a reason of the runtime and is not started again.
fn ended(code: i32, reason: &str, message: &str) -> Case {
    let mut main = ended_ago("main", 30, code);
    main.status.reason = reason.to_owned();
    main.termination_message = message.to_owned();
    Case::of(&bench("Never").see(vec![main]))
}

fn crash_loop(code: i32, reason: &str, message: &str) -> Case {
    let mut main = with_restarts(ended_ago("main", 30, code), 3);
    main.status.reason = reason.to_owned();
    main.termination_message = message.to_owned();
    let mut bench = bench("Always").see(vec![main]);
    bench.waiting =
        wait_for("main", "CrashLoopBackOff", "back-off 40s restarting failed container=main pod=web_ns(u1)");
    Case::of(&bench).retry_in(10)
}

fn probed(probe: &str) -> Case {
    let spec = json!({ "exec": { "command": ["check"] } });
    let pod = pod(json!({ "containers": [{ "name": "main", probe: spec.clone(), "readinessProbe": spec }] }));
    let mut bench = Bench::new(pod).see(vec![runs("main", 100)]);
    bench.now_secs = NOW;
    Case::of(&bench)
}

fn refused(reason: &'static str, message: &'static str) -> Case {
    let bench = bench("Always");
    let mut case = Case::of(&bench);
    case.view.status = Arc::new(bench.generate_with(Verdict::Rejected { reason, message }));
    case.warning(reason, message)
}

fn ended_by_node(reason: &'static str, message: &'static str) -> Case {
    let bench = bench("Always").see(vec![runs("main", 100)]);
    let mut case = Case::of(&bench);
    case.view.status = Arc::new(bench.generate_with(Verdict::Evicted { reason, message, disruption: "" }));
    case
}

fn on_node(network: &str, error: &str) -> Case {
    let mut case = Case::of(&bench("Always"));
    case.node.runtime.error = error.to_owned();
    case.node.runtime.status = Some(RuntimeStatus {
        network_ready: RuntimeCondition {
            ok: network.is_empty(),
            message: network.to_owned(),
            ..Default::default()
        },
        ..RuntimeStatus::default()
    });
    case
}

fn waiting_cases() -> Vec<(&'static str, Case)> {
    let init = pod(json!({
        "initContainers": [{ "name": "fetch" }, { "name": "unpack" }], "containers": [{ "name": "main" }],
    }));
    let mut initializing = Bench::new(init).see(vec![runs("unpack", 40), ended_ago("fetch", 50, 0)]);
    initializing.now_secs = NOW;
    vec![
        ("PodInitializing", Case::of(&initializing)),
        ("ContainerCreating, before anything was done", Case::of(&bench("Always"))),
        ("ContainerCreating, at work", Case::of(&bench("Always")).doing("creating the sandbox", "")),
        ("ContainerCreating, pulling", Case::of(&bench("Always")).doing("pulling image \"img\"", "main")),
        ("RestartingAllContainers", waits("RestartingAllContainers", "")),
        ("ErrImagePull", waits("ErrImagePull", "failed to resolve \"img\": not found")),
        ("ImagePullBackOff", waits("ImagePullBackOff", "Back-off pulling image \"img\"")),
        ("ImageInspectError", waits("ImageInspectError", "Failed to inspect image \"img\": no answer")),
        (
            "ErrImageNeverPull",
            waits("ErrImageNeverPull", "Container image \"img\" is not present with pull policy of Never"),
        ),
        (
            "InvalidImageName",
            waits("InvalidImageName", "couldn't parse image name \"IMG\": must be lowercase"),
        ),
        (
            "RegistryUnavailable",
            waits("RegistryUnavailable", "image pull failed: the registry is unavailable"),
        ),
        ("SignatureValidationFailed", waits("SignatureValidationFailed", "the signature is not trusted")),
        (
            "CreateContainerConfigError",
            waits("CreateContainerConfigError", "configmap \"settings\" not found"),
        ),
        ("PreCreateHookError", waits("PreCreateHookError", "the device is gone")),
        ("CreateContainerError", waits("CreateContainerError", "no space left on device")),
        ("PreStartHookError", waits("PreStartHookError", "the device is busy")),
        (
            "RunContainerError",
            waits("RunContainerError", "exec: \"serve\": executable file not found in $PATH"),
        ),
        ("PostStartHookError", waits("PostStartHookError", "Exec lifecycle hook ([warm-up]) failed")),
        (
            "CrashLoopBackOff",
            crash_loop(1, "Error", "cannot open /data\n")
                .warning("BackOff", "Back-off restarting failed container main in pod web_ns(u1)"),
        ),
        ("CrashLoopBackOff after an end without error", crash_loop(0, "Completed", "")),
    ]
}

/// The runtime has forgotten an init container of a pod that runs.
fn lost_init() -> Case {
    let pod = pod(json!({ "initContainers": [{ "name": "fetch" }], "containers": [{ "name": "main" }] }));
    let mut bench = Bench::new(pod).see(vec![runs("main", 100)]);
    bench.now_secs = NOW;
    Case::of(&bench)
}

fn failed_init() -> Case {
    let pod = pod(json!({
        "restartPolicy": "Never", "initContainers": [{ "name": "fetch" }], "containers": [{ "name": "main" }],
    }));
    let mut bench = Bench::new(pod).see(vec![ended_ago("fetch", 30, 2)]);
    bench.now_secs = NOW;
    Case::of(&bench)
}

fn terminated_cases() -> Vec<(&'static str, Case)> {
    let killed = |probe: &str| {
        let message = format!("Container main failed {probe} probe, will be restarted");
        let mut case = crash_loop(137, "Error", "").event(EventType::Normal, "Killing", &message, 1);
        let event = Arc::make_mut(&mut Arc::make_mut(&mut case.view.events)[0]);
        event.last_seen = WallTime::from_unix_secs(NOW - 30);
        case
    };
    vec![
        ("Completed", ended(0, "Completed", "")),
        ("Error", ended(3, "Error", "disk is full\n")),
        ("OOMKilled", ended(137, "OOMKilled", "")),
        ("OOMKilled again and again", crash_loop(137, "OOMKilled", "")),
        ("ContainerCannotRun", ended(127, "ContainerCannotRun", "no such file or directory")),
        ("StartError", ended(128, "StartError", "cgroup is gone")),
        ("ContainerStatusUnknown", ended(137, "ContainerStatusUnknown", "")),
        (
            "DeadlineExceeded",
            ended_by_node(
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            ),
        ),
        ("DeadlineExceeded, told by the runtime", ended(137, "DeadlineExceeded", "")),
        ("Completed, taken from what runs after it", lost_init()),
        ("Error of an init container that is not restarted", failed_init()),
        ("Evicted", ended_by_node("Evicted", "The node was low on resource: memory.")),
        (
            "Evicted, and late",
            ended_by_node("Evicted", "The node was low on resource: memory.")
                .lifecycle(Lifecycle::Terminating)
                .warning(
                    "ExceededGracePeriod",
                    "Container runtime did not kill the pod within specified grace period.",
                ),
        ),
        ("Preempting", ended_by_node("Preempting", "Preempted in order to admit critical pod")),
        (
            "Terminated",
            ended_by_node("Terminated", "Pod was terminated in response to imminent node shutdown."),
        ),
        ("a liveness probe that failed", killed("liveness")),
        ("a startup probe that failed", killed("startup")),
    ]
}

fn probe_cases() -> Vec<(&'static str, Case)> {
    let fails = |kind: &str, probe: &str, said: &str| {
        probed(probe).event(EventType::Warning, "Unhealthy", &format!("{kind} probe {said}"), 4)
    };
    vec![
        (
            "a readiness probe that fails",
            fails("Readiness", "readinessProbe", "failed: HTTP probe failed with statuscode: 500"),
        ),
        (
            "a liveness probe that fails",
            fails("Liveness", "livenessProbe", "failed: dial tcp 10.0.0.2:80: connect: connection refused"),
        ),
        (
            "a startup probe that fails",
            fails("Startup", "startupProbe", "failed: command timed out: \"check\" timed out after 1s"),
        ),
        (
            "a probe that cannot be carried out",
            fails("Readiness", "readinessProbe", "errored and resulted in unknown state: no such container"),
        ),
        ("a probe that has not answered", probed("readinessProbe")),
    ]
}

fn pod_cases() -> Vec<(&'static str, Case)> {
    let broken =
        |reason: &str, message: &str| Case::of(&bench("Always")).problem(reason, message, "").retry_in(20);
    let mut leaving =
        Case::of(&bench("Always").see(vec![runs("main", 100)])).lifecycle(Lifecycle::Terminating);
    Arc::make_mut(&mut leaving.view.pod).metadata.deletion_timestamp =
        Some(WallTime::from_unix_secs(NOW + 17).to_api());
    let leaving = leaving.warning("FailedPreStopHook", "PreStopHook failed");
    let mut second = Case::of(&bench("Always")).lifecycle(Lifecycle::Waiting);
    let mut first = second.view.clone();
    Arc::make_mut(&mut first.pod).metadata.uid = Some("u0".to_owned());
    first.lifecycle = Lifecycle::Terminating;
    Arc::make_mut(&mut second.node.pods).insert(PodUid::from("u0"), Arc::new(first));
    let mut orphan = Case::of(&bench("Always").see(vec![runs("main", 100)]));
    orphan.view.source = None;
    vec![
        (
            "the runtime is down",
            on_node("", "connect to /run/containerd/containerd.sock: connection refused"),
        ),
        ("no CNI", on_node("cni plugin not initialized", "")),
        (
            "a volume is missing",
            broken("FailedMount", "volume \"data\": hostPath /srv/data: it is not a directory"),
        ),
        (
            "no sandbox",
            broken("FailedCreatePodSandBox", "plugin type=\"bridge\" failed: no IP addresses available"),
        ),
        (
            "no sandbox status",
            broken("FailedPodSandBoxStatus", "Unable to get pod sandbox status: not found"),
        ),
        (
            "no cgroup",
            broken(
                "FailedCreatePodContainer",
                "unable to ensure pod container exists: no space left on device",
            ),
        ),
        ("it cannot be stopped", broken("FailedKillPod", "error killing pod: context deadline exceeded")),
        (
            "a volume cannot be left",
            broken("FailedUnmount", "unmount /var/lib/kubelet/pods/u1/volumes/x: busy"),
        ),
        ("another pod of its name", second),
        (
            "no room",
            refused(
                "OutOfcpu",
                "Node didn't have enough resource: cpu, requested: 4000, used: 1000, capacity: 2000",
            ),
        ),
        (
            "the wrong node",
            refused(
                "NodeAffinity",
                "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            ),
        ),
        (
            "a taken port",
            refused(
                "NodePorts",
                "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            ),
        ),
        (
            "a forbidden sysctl",
            refused("SysctlForbidden", "forbidden sysctl: \"kernel.shmmax\" not allowlisted"),
        ),
        ("it is being stopped, and its hook failed", leaving),
        (
            "it was stopped",
            Case::of(&bench("Always").see(vec![ended_ago("main", 5, 0)])).lifecycle(Lifecycle::Terminated),
        ),
        ("nobody wants it", orphan),
        ("all is well", Case::of(&bench("Always").see(vec![runs("main", 100)]))),
    ]
}

/// The reasons that statuses of containers give (CONTRACT 3.13).
const REASONS: &[&str] = &[
    "PodInitializing",
    "ContainerCreating",
    "RestartingAllContainers",
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "ErrImageNeverPull",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "PreCreateHookError",
    "CreateContainerError",
    "PreStartHookError",
    "RunContainerError",
    "PostStartHookError",
    "CrashLoopBackOff",
    "Completed",
    "Error",
    "OOMKilled",
    "ContainerCannotRun",
    "StartError",
    "DeadlineExceeded",
    "ContainerStatusUnknown",
];

#[test]
fn every_reason_of_a_container_has_a_screen_that_says_its_cause_and_since_when() {
    let all: Vec<_> = waiting_cases().into_iter().chain(terminated_cases()).collect();
    for reason in REASONS {
        let state = format!("({reason})");
        let shown: Vec<String> =
            all.iter().map(|(_, case)| case.screen()).filter(|screen| screen.contains(&state)).collect();
        assert!(!shown.is_empty(), "no screen has a container in state {state}");
        for screen in shown {
            let line =
                |name: &str| screen.lines().any(|line| line.starts_with(name) && line.len() > name.len() + 1);
            assert!(line("Cause: ") && line("Since: "), "{screen}");
            let is_over = *reason == "Completed";
            assert!(line("Next: ") || is_over, "{reason}: what happens next is not said\n{screen}");
        }
    }
}

#[test]
fn every_state_is_explained_with_cause_time_what_follows_and_what_to_do() {
    let all = [waiting_cases(), terminated_cases(), probe_cases(), pod_cases()];
    let screens: String =
        all.iter().flatten().map(|(name, case)| format!("=== {name}\n{}\n", case.screen())).collect();
    let wanted = include_str!("why.txt");
    for (now, wanted) in screens.split("=== ").zip(wanted.split("=== ")) {
        assert_eq!(now, wanted, "all screens as they are now:\n{screens}");
    }
    assert_eq!(screens, wanted);
}
