//! The node's conditions: pressure of memory, disk and process IDs, and Ready, which stays the last one (CONTRACT 4.7).

use core_types::WallTime;
use k8s_openapi::api::core::v1::NodeCondition;

use crate::picture::{NodeEvent, Picture};

/// One kind of pressure in upstream's words.
struct Words {
    type_: &'static str,
    /// Reason, message and event under pressure.
    present: [&'static str; 3],
    /// The same without it.
    absent: [&'static str; 3],
}

const MEMORY: Words = Words {
    type_: "MemoryPressure",
    present: [
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
        "NodeHasInsufficientMemory",
    ],
    absent: [
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
        "NodeHasSufficientMemory",
    ],
};

const DISK: Words = Words {
    type_: "DiskPressure",
    present: ["KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"],
    absent: ["KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"],
};

const PID: Words = Words {
    type_: "PIDPressure",
    present: [
        "KubeletHasInsufficientPID",
        "kubelet has insufficient PID available",
        "NodeHasInsufficientPID",
    ],
    absent: ["KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"],
};

/// Brings the conditions up to date and returns what is to be told. Conditions of others stay.
pub(crate) fn update(
    conditions: &mut Vec<NodeCondition>,
    picture: &Picture,
    node: &str,
    now: WallTime,
) -> Vec<NodeEvent> {
    let pressures = picture.pressures;
    let kinds = [(MEMORY, pressures.memory), (DISK, pressures.disk), (PID, pressures.pid)];
    let mut events = Vec::new();
    for (words, is_present) in kinds {
        events.extend(pressure(conditions, &words, is_present, now));
    }
    events.extend(ready(conditions, picture, now));
    events.into_iter().map(|reason| NodeEvent::status(node, reason)).collect()
}

fn pressure(
    conditions: &mut Vec<NodeCondition>,
    words: &Words,
    is_present: bool,
    now: WallTime,
) -> Option<&'static str> {
    let (status, [reason, message, event]) = match is_present {
        true => ("True", words.present),
        false => ("False", words.absent),
    };
    let condition = of_type(conditions, words.type_);
    condition.last_heartbeat_time = Some(now.to_api_secs());
    if condition.status == status {
        return None;
    }
    condition.status = status.to_owned();
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message.to_owned());
    condition.last_transition_time = Some(now.to_api_secs());
    Some(event)
}

/// No event for the first Ready of a node: nothing has changed by it.
fn ready(conditions: &mut Vec<NodeCondition>, picture: &Picture, now: WallTime) -> Option<&'static str> {
    let (status, reason, event) = match picture.readiness.is_ready() {
        true => ("True", "KubeletReady", "NodeReady"),
        false => ("False", "KubeletNotReady", "NodeNotReady"),
    };
    let condition = of_type(conditions, "Ready");
    let is_new = condition.status.is_empty();
    let has_changed = condition.status != status;
    condition.last_heartbeat_time = Some(now.to_api_secs());
    condition.reason = Some(reason.to_owned());
    condition.message = Some(picture.readiness.message());
    if has_changed {
        condition.status = status.to_owned();
        condition.last_transition_time = Some(now.to_api_secs());
    }
    (has_changed && !is_new).then_some(event)
}

/// The condition of this type, made with an empty status at the end of the list if it is missing.
fn of_type<'a>(conditions: &'a mut Vec<NodeCondition>, type_: &str) -> &'a mut NodeCondition {
    let at = conditions.iter().position(|condition| condition.type_ == type_);
    let at = at.unwrap_or_else(|| {
        conditions.push(NodeCondition { type_: type_.to_owned(), ..NodeCondition::default() });
        conditions.len() - 1
    });
    &mut conditions[at]
}

/// Conditions without what every report renews: what matters when two are compared.
pub(crate) fn without_heartbeats(conditions: &[NodeCondition]) -> Vec<NodeCondition> {
    let mut conditions = conditions.to_vec();
    for condition in &mut conditions {
        condition.last_heartbeat_time = None;
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    conditions
}
