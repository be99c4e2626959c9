//! Reading a pod's status as `/pods` shows it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The statuses of the init and regular containers.
pub fn containers(pod: &Value) -> Vec<Value> {
    let lists =
        ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array().cloned());
    lists.into_iter().flatten().flatten().collect()
}

/// The status of the container `name`.
#[track_caller]
pub fn container(pod: &Value, name: &str) -> Value {
    let found = containers(pod).into_iter().find(|container| container["name"] == name);
    found.unwrap_or_else(|| panic!("no status of container {name}: {}", pod["status"]))
}

/// The status of the only container.
#[track_caller]
pub fn only(pod: &Value) -> Value {
    let all = containers(pod);
    assert_eq!(all.len(), 1, "{}", pod["status"]);
    all[0].clone()
}

/// The container's ID without the `containerd://` before it.
pub fn id(container: &Value) -> String {
    let id = container["containerID"].as_str().unwrap_or_default();
    id.strip_prefix("containerd://").unwrap_or(id).to_owned()
}

/// The pod's UID.
pub fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// The pod's first IP.
#[track_caller]
pub fn ip(pod: &Value) -> String {
    pod["status"]["podIP"].as_str().unwrap_or_else(|| panic!("no pod IP: {}", pod["status"])).to_owned()
}

/// Conditions by type: status and time of the last transition.
pub fn conditions(pod: &Value) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.iter().map(|c| (text(&c["type"]), (text(&c["status"]), text(&c["lastTransitionTime"])))).collect()
}

/// Conditions by type, without times: an agent that was killed knows them from what runs.
pub fn verdicts(pod: &Value) -> BTreeMap<String, String> {
    conditions(pod).into_iter().map(|(name, (status, _))| (name, status)).collect()
}

/// The restart count of the only container.
#[track_caller]
pub fn restarts(pod: &Value) -> u64 {
    only(pod)["restartCount"].as_u64().unwrap_or_default()
}

/// Why the containers that wait do so: `reason: message` of each.
pub fn waiting(pod: &Value) -> Vec<String> {
    let of = |container: &Value| {
        let waiting = &container["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        Some(format!("{reason}: {}", waiting["message"].as_str().unwrap_or_default()))
    };
    containers(pod).iter().filter_map(of).collect()
}
