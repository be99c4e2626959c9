//! Builders for pods and pictures, shared by the tests.

mod conditions;
mod containers;
mod explain;
mod manager;
mod phase;
mod properties;
mod resources;
mod why;

use std::collections::BTreeMap;

use core_types::api::{ContainerStatus, Pod, PodStatus};
use core_types::runtime::{ContainerState, SandboxState, SandboxStatus, SandboxSummary};
use core_types::view::Lifecycle;
use core_types::{
    ContainerId, MonoTime, ObservedContainer, ObservedPod, ObservedSandbox, PodGates, PodKey, PodUid,
    QosClass, RestartRules, SandboxId, WallTime, keys,
};
use serde_json::{Value, json};

use crate::{
    NodeFacts, ProbeResults, RecursiveReadOnly, ResourceFacts, StatusInput, Verdict, Waiting, WholeResources,
    generate,
};

/// A pod of one UID with the given spec.
pub(crate) fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "generation": 3},
        "spec": spec,
    }))
    .unwrap()
}

/// A pod with one container `main`.
pub(crate) fn simple_pod(restart_policy: &str) -> Pod {
    pod(json!({"restartPolicy": restart_policy, "containers": [{"name": "main", "image": "img"}]}))
}

/// A container of the runtime. `serial` gives its ID and age.
pub(crate) fn container(name: &str, serial: u32, state: ContainerState) -> ObservedContainer {
    ObservedContainer {
        sandbox_id: SandboxId::from("s1"),
        status: core_types::runtime::ContainerStatus {
            id: ContainerId::from(format!("c{serial}")),
            name: name.to_owned(),
            attempt: serial,
            state,
            created_at: WallTime::from_unix_secs(i64::from(serial)),
            started_at: WallTime::from_unix_nanos(i64::from(serial) * 1_000_000_000 + 500),
            finished_at: match state {
                ContainerState::Exited => WallTime::from_unix_secs(i64::from(serial) + 100),
                _ => WallTime::default(),
            },
            exit_code: 0,
            image: "docker.io/img".to_owned(),
            image_ref: "img@sha256:1".to_owned(),
            image_id: "sha256:2".to_owned(),
            reason: String::new(),
            message: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            mounts: Vec::new(),
            log_path: String::new(),
            resources: None,
            process: Default::default(),
        },
        termination_message: String::new(),
    }
}

pub(crate) fn running(name: &str, serial: u32) -> ObservedContainer {
    container(name, serial, ContainerState::Running)
}

pub(crate) fn exited(name: &str, serial: u32, exit_code: i32) -> ObservedContainer {
    let mut container = container(name, serial, ContainerState::Exited);
    container.status.exit_code = exit_code;
    container.status.reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
    container
}

pub(crate) fn with_restarts(mut container: ObservedContainer, count: u32) -> ObservedContainer {
    let key = keys::CONTAINER_RESTART_COUNT_ANNOTATION.to_owned();
    container.status.annotations.insert(key, count.to_string());
    container
}

/// A picture with one ready sandbox, containers newest first.
pub(crate) fn observed(containers: Vec<ObservedContainer>) -> ObservedPod {
    let sandbox = SandboxStatus {
        summary: SandboxSummary {
            id: SandboxId::from("s1"),
            name: "web".to_owned(),
            namespace: "ns".to_owned(),
            uid: PodUid::from("u1"),
            attempt: 0,
            state: SandboxState::Ready,
            created_at: WallTime::from_unix_secs(1),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        },
        ips: vec!["10.0.0.7".to_owned()],
        host_network: false,
    };
    ObservedPod {
        uid: PodUid::from("u1"),
        key: PodKey::new("ns", "web"),
        sandboxes: vec![ObservedSandbox(sandbox)],
        containers,
        ips: vec!["10.0.0.7".to_owned()],
        observed_at: MonoTime::from_secs(1),
    }
}

/// An input that owns its parts.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) pod: Pod,
    pub(crate) observed: Option<ObservedPod>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) previous: Option<PodStatus>,
    pub(crate) waiting: BTreeMap<String, Waiting>,
    pub(crate) probes: BTreeMap<ContainerId, ProbeResults>,
    pub(crate) oom_kills: BTreeMap<ContainerId, String>,
    pub(crate) node: NodeFacts,
    pub(crate) resources: Resources,
    pub(crate) now_secs: i64,
}

/// What [`ResourceFacts`] are made from.
#[derive(Clone, Default)]
pub(crate) struct Resources {
    pub(crate) conditions: Option<core_cm::resize::ResizeConditions>,
    pub(crate) actuated: Option<core_cm::PodResources>,
    pub(crate) whole: WholeResources,
}

impl Resources {
    fn facts(&self) -> ResourceFacts<'_> {
        let (conditions, actuated) = (self.conditions.as_ref(), self.actuated.as_ref());
        ResourceFacts { conditions, actuated, whole: self.whole }
    }
}

impl Bench {
    pub(crate) fn new(pod: Pod) -> Self {
        Self {
            pod,
            observed: None,
            lifecycle: Lifecycle::Syncing,
            previous: None,
            waiting: BTreeMap::new(),
            probes: BTreeMap::new(),
            oom_kills: BTreeMap::new(),
            node: NodeFacts {
                node_ips: vec!["192.168.0.1".to_owned()],
                runtime_name: "containerd".to_owned(),
                recursive_read_only: RecursiveReadOnly::Unsupported,
                gates: PodGates::default(),
            },
            resources: Resources::default(),
            now_secs: 1_000,
        }
    }

    pub(crate) fn see(mut self, containers: Vec<ObservedContainer>) -> Self {
        self.observed = Some(observed(containers));
        self
    }

    pub(crate) fn generate(&self) -> PodStatus {
        self.generate_with(Verdict::None)
    }

    pub(crate) fn generate_with(&self, verdict: Verdict<'_>) -> PodStatus {
        generate(&StatusInput {
            pod: &self.pod,
            observed: self.observed.as_ref(),
            lifecycle: self.lifecycle,
            previous: self.previous.as_ref(),
            waiting: &self.waiting,
            probes: &self.probes,
            oom_kills: &self.oom_kills,
            verdict,
            node: &self.node,
            resources: self.resources.facts(),
            qos: QosClass::BestEffort,
            now: WallTime::from_unix_secs(self.now_secs),
        })
    }

    /// Generates, and takes the result as the last status of the next generation, one second later.
    pub(crate) fn step(&mut self) -> PodStatus {
        let status = self.generate();
        self.previous = Some(status.clone());
        self.now_secs += 1;
        status
    }
}

pub(crate) fn wait_for(name: &str, reason: &str, message: &str) -> BTreeMap<String, Waiting> {
    BTreeMap::from([(name.to_owned(), Waiting { reason: reason.to_owned(), message: message.to_owned() })])
}

pub(crate) fn main_of(status: &PodStatus) -> &ContainerStatus {
    &status.container_statuses.as_ref().unwrap()[0]
}

pub(crate) fn waiting_reason(status: &ContainerStatus) -> &str {
    crate::containers::waiting(status).and_then(|why| why.reason.as_deref()).unwrap_or("-")
}

pub(crate) fn condition(status: &PodStatus, name: &str) -> (String, String, String) {
    let conditions = status.conditions.as_ref().unwrap();
    let found = conditions.iter().find(|condition| condition.type_ == name).unwrap();
    (
        found.status.clone(),
        found.reason.clone().unwrap_or_default(),
        found.message.clone().unwrap_or_default(),
    )
}
