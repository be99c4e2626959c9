//! Texts of the events about resizes, as upstream words them: a sentence and the pod's resources as JSON.

use core_cm::resize::PendingReason;
use core_types::api::{Pod, ResourceRequirements};
use core_types::{ContainerKind, PodExt};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Own<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Own<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Own<'a> {
    name: &'a str,
    resources: ResourceRequirements,
}

/// Text of `ResizeStarted`.
pub(super) fn resize_started(pod: &Pod) -> String {
    text("Pod resize started", pod, pod.metadata.generation, "")
}

/// Text of `ResizeDeferred` and `ResizeInfeasible`.
pub(super) fn resize_pending(pod: &Pod, reason: PendingReason, why: &str) -> String {
    text(&format!("Pod resize {}", reason.as_str()), pod, pod.metadata.generation, why)
}

/// Text of `ResizeCompleted`; `pod` has what it was given.
pub fn resize_completed(pod: &Pod, generation: Option<i64>) -> String {
    text("Pod resize completed", pod, generation, "")
}

/// Text of `ResizeError`; `pod` has what it was given.
pub fn resize_error(pod: &Pod, generation: Option<i64>, error: &str) -> String {
    text("Pod resize error", pod, generation, error)
}

/// Go writes these three as escapes, wherever they stand.
fn escaped(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn text(sentence: &str, pod: &Pod, generation: Option<i64>, error: &str) -> String {
    let mut summary = Summary {
        init_containers: Vec::new(),
        containers: Vec::new(),
        generation: generation.unwrap_or(0),
        error,
    };
    let containers = pod.container_refs();
    for container in &containers {
        let resources = container.spec.resources.clone().unwrap_or_default();
        let own = Own { name: &container.spec.name, resources };
        match container.kind {
            ContainerKind::Init | ContainerKind::Sidecar => summary.init_containers.push(own),
            ContainerKind::Regular | ContainerKind::Ephemeral => summary.containers.push(own),
        }
    }
    match serde_json::to_string(&summary) {
        Ok(json) => format!("{sentence}: {}", escaped(&json)),
        Err(_) => sentence.to_owned(),
    }
}
