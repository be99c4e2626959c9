//! The conditions of a pod, in upstream's order, reasons and words (CONTRACT 3.29).

use core_runtime::restart::may_restart_all;
use core_types::api::{ContainerStatus, PodCondition, PodStatus};
use core_types::{ContainerKind, ObservedSandbox, PodExt};

use crate::containers::{ended, running};
use crate::restart::{AllContainers, all_containers, is_cleaned_up};
use crate::{StatusInput, resources};

/// Conditions that only the kubelet writes. Others on the pod are kept as they are.
const OWN: [&str; 8] = [
    "PodScheduled",
    "Ready",
    "Initialized",
    "ContainersReady",
    "PodResizeInProgress",
    "PodResizePending",
    "PodReadyToStartContainers",
    "AllContainersRestarting",
];

/// Whether only the kubelet writes this condition.
pub(crate) fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

const DISRUPTION: &str = "DisruptionTarget";

/// Value of a condition.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    const HOLDS: Self = Self { holds: true, reason: "", message: String::new() };

    fn not(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, reason, message: message.into() }
    }
}

/// Sets the conditions of a status whose phase and container statuses are set.
pub(crate) fn set(input: &StatusInput<'_>, old: &PodStatus, reported: &PodStatus, status: &mut PodStatus) {
    let foreign = reported.conditions.iter().flatten().filter(|known| !is_own(&known.type_));
    let mut conditions: Vec<PodCondition> = foreign.cloned().collect();
    conditions.extend(resources::conditions(input));
    if let Some(disruption) = &disruption(input, old) {
        match conditions.iter_mut().find(|known| known.type_ == disruption.type_) {
            Some(known) => known.clone_from(disruption),
            None => conditions.push(disruption.clone()),
        }
    }
    let ready = containers_ready(input, status);
    let pod_ready = match &ready {
        Verdict { holds: true, .. } => readiness_gates(input, &conditions),
        unready => Verdict::not(unready.reason, unready.message.clone()),
    };
    let own = [
        ("PodReadyToStartContainers", ready_to_start(input)),
        ("Initialized", initialized(input, old, status)),
        ("Ready", pod_ready),
        ("ContainersReady", ready),
        ("PodScheduled", Verdict::HOLDS),
    ];
    for (name, verdict) in own {
        conditions.push(condition(input, old, name, verdict));
    }
    if may_restart_all(input.pod, input.rules()) {
        let verdict = all_restarting(input, old, status);
        let own = condition(input, old, "AllContainersRestarting", verdict);
        // Upstream leaves the generation out of this one.
        conditions.push(PodCondition { observed_generation: None, ..own });
    }
    status.conditions = Some(conditions);
}

/// That the node ended the pod, once it has.
fn disruption(input: &StatusInput<'_>, old: &PodStatus) -> Option<PodCondition> {
    let ended = match input.verdict {
        crate::Verdict::Evicted { disruption, .. } if !disruption.is_empty() => Some(disruption),
        _ => None,
    };
    let known = find(old, DISRUPTION).cloned();
    let Some(message) = ended.filter(|_| known.as_ref().is_none_or(|known| known.status != "True")) else {
        return known;
    };
    let verdict = Verdict { reason: "TerminationByKubelet", message: message.to_owned(), ..Verdict::HOLDS };
    Some(condition(input, old, DISRUPTION, verdict))
}

fn condition(input: &StatusInput<'_>, old: &PodStatus, name: &str, verdict: Verdict) -> PodCondition {
    let value = if verdict.holds { "True" } else { "False" };
    let unchanged = find(old, name).filter(|known| known.status == value);
    PodCondition {
        type_: name.to_owned(),
        status: value.to_owned(),
        reason: (!verdict.reason.is_empty()).then(|| verdict.reason.to_owned()),
        message: (!verdict.message.is_empty()).then_some(verdict.message),
        observed_generation: input.pod.metadata.generation,
        last_transition_time: unchanged
            .and_then(|known| known.last_transition_time.clone())
            .or_else(|| Some(input.now.to_api())),
        last_probe_time: None,
    }
}

/// True when no sandbox would have to be made (CONTRACT 3.9).
fn ready_to_start(input: &StatusInput<'_>) -> Verdict {
    let not = |message: &str| Verdict::not("PodSandboxNotReady", message);
    let sandboxes = input.observed.map(|observed| observed.sandboxes.as_slice()).unwrap_or_default();
    let Some(latest) = sandboxes.first() else { return not("no pod sandbox exists") };
    if sandboxes.iter().filter(|sandbox| sandbox.is_ready()).count() > 1 {
        return not("multiple pod sandboxes are ready and need to be reconciled");
    }
    if !ObservedSandbox::is_ready(latest) {
        return not("pod sandbox is not ready");
    }
    if latest.0.host_network != input.pod.is_host_network() {
        return not("network namespace mode changed and sandbox needs to be recreated");
    }
    if !latest.0.host_network && latest.0.ips.is_empty() {
        return not("pod sandbox has no IP address");
    }
    Verdict::HOLDS
}

fn initialized(input: &StatusInput<'_>, old: &PodStatus, status: &PodStatus) -> Verdict {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in input.pod.container_refs() {
        let name = container.spec.name.as_str();
        let list = status.init_container_statuses.iter().flatten();
        let found = list.into_iter().find(|status| status.name == name);
        let is_done = match container.kind {
            ContainerKind::Init => found.map(|status| status.ready),
            ContainerKind::Sidecar => found.map(|status| status.started == Some(true)),
            ContainerKind::Regular | ContainerKind::Ephemeral => continue,
        };
        match is_done {
            None => unknown.push(name),
            Some(false) => incomplete.push(name),
            Some(true) => {}
        }
    }
    if status.phase.as_deref() == Some("Succeeded") && unknown.is_empty() {
        return Verdict { reason: "PodCompleted", ..Verdict::HOLDS };
    }
    let began = |status: &ContainerStatus| running(status).is_some() || ended(status).is_some();
    let message = names(&[("unknown", unknown), ("incomplete", incomplete)]);
    let was_initialized = find(old, "Initialized").is_some_and(|known| known.status == "True");
    if message.is_empty() || was_initialized || status.container_statuses.iter().flatten().any(began) {
        return Verdict::HOLDS;
    }
    Verdict::not("ContainersNotInitialized", message)
}

fn containers_ready(input: &StatusInput<'_>, status: &PodStatus) -> Verdict {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in input.pod.container_refs() {
        let list = match container.kind {
            ContainerKind::Sidecar => &status.init_container_statuses,
            ContainerKind::Regular => &status.container_statuses,
            ContainerKind::Init | ContainerKind::Ephemeral => continue,
        };
        let name = container.spec.name.as_str();
        match list.iter().flatten().find(|status| status.name == name) {
            None => unknown.push(name),
            Some(found) if !found.ready => unready.push(name),
            Some(_) => {}
        }
    }
    match status.phase.as_deref() {
        Some("Succeeded") if unknown.is_empty() => return Verdict::not("PodCompleted", ""),
        Some("Failed") => return Verdict::not("PodFailed", ""),
        _ => {}
    }
    match names(&[("unknown", unknown), ("unready", unready)]) {
        message if message.is_empty() => Verdict::HOLDS,
        message => Verdict::not("ContainersNotReady", message),
    }
}

fn all_restarting(input: &StatusInput<'_>, old: &PodStatus, status: &PodStatus) -> Verdict {
    match status.phase.as_deref() {
        Some("Succeeded") => return Verdict::not("PodCompleted", ""),
        Some("Failed") => return Verdict::not("PodFailed", ""),
        _ => {}
    }
    if all_containers(input, old) == AllContainers::Settled || is_cleaned_up(input) {
        return Verdict::not("", "");
    }
    let message = "container exited with restart policy rule".to_owned();
    Verdict { reason: "RestartAllContainersStarted", message, ..Verdict::HOLDS }
}

fn readiness_gates(input: &StatusInput<'_>, conditions: &[PodCondition]) -> Verdict {
    let gates = input.pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let unready: Vec<String> = gates
        .filter_map(|gate| {
            let name = &gate.condition_type;
            match conditions.iter().find(|known| known.type_ == *name) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate {name:?} does not exist."))
                }
                Some(known) if known.status != "True" => Some(format!(
                    "the status of pod readiness gate {name:?} is not \"True\", but {}",
                    known.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if unready.is_empty() {
        Verdict::HOLDS
    } else {
        Verdict::not("ReadinessGatesNotReady", unready.join(", "))
    }
}

/// `containers with unready status: [a b]` for each list that is not empty.
fn names(lists: &[(&str, Vec<&str>)]) -> String {
    let parts = lists.iter().filter(|(_, names)| !names.is_empty());
    let parts = parts.map(|(what, names)| format!("containers with {what} status: [{}]", names.join(" ")));
    parts.collect::<Vec<_>>().join(", ")
}

fn find<'a>(status: &'a PodStatus, name: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name)
}
