//! Reads the details of one pod from the runtime: statuses, and the termination messages of ended containers
//! (CONTRACT 3.17).

use core_pleg::{InspectedContainer, InspectedPod, PodToInspect};
use core_types::runtime::{ContainerState, ContainerStatus};
use core_types::{PodUid, keys};
use ports::pod_files::LogTail;
use ports::runtime::RuntimeResult;

use crate::outside::Outside;

/// Most bytes of a termination message file.
const MAX_MESSAGE_BYTES: usize = 4096;
/// What stands in for a termination message under `FallbackToLogsOnError`.
const LOG_FALLBACK: LogTail = LogTail { lines: 80, bytes: 2048 };

/// Asks for every status in `pod`. What has vanished meanwhile is left out.
pub(crate) async fn inspect(outside: &Outside, pod: PodToInspect) -> RuntimeResult<InspectedPod> {
    let mut inspected = InspectedPod::default();
    for sandbox in &pod.sandboxes {
        match outside.runtime.sandbox_status(&sandbox.id).await {
            Ok(status) => inspected.sandboxes.push(status),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    for container in &pod.containers {
        match outside.runtime.container_status(&container.id).await {
            Ok(status) => {
                let termination_message = termination_message(outside, &pod.uid, &status).await;
                inspected.containers.push(InspectedContainer { status, termination_message });
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inspected)
}

/// The message that an ended container left; empty when it left none or it cannot be read.
async fn termination_message(outside: &Outside, uid: &PodUid, status: &ContainerStatus) -> String {
    if status.state != ContainerState::Exited {
        return String::new();
    }
    let annotation = |key| status.annotations.get(key).map(String::as_str).unwrap_or_default();
    let path = annotation(keys::CONTAINER_TERMINATION_MESSAGE_PATH_ANNOTATION);
    let host_path = status
        .mounts
        .iter()
        .find(|mount| !path.is_empty() && mount.container_path == path)
        .map(|m| &m.host_path);
    let mut message = Vec::new();
    if let Some(host_path) = host_path {
        match outside.files.read_termination_log(uid, host_path, MAX_MESSAGE_BYTES).await {
            Ok(content) => message = content.unwrap_or_default(),
            Err(error) => tracing::warn!(container = %status.id, %error, "cannot read a termination message"),
        }
    }
    let falls_back =
        annotation(keys::CONTAINER_TERMINATION_MESSAGE_POLICY_ANNOTATION) == "FallbackToLogsOnError";
    if message.is_empty() && falls_back && status.exit_code != 0 && !status.log_path.is_empty() {
        match outside.files.read_log_tail(&status.log_path, LOG_FALLBACK).await {
            Ok(tail) => message = tail,
            Err(error) => tracing::warn!(container = %status.id, %error, "cannot read the end of a log"),
        }
    }
    String::from_utf8_lossy(&message).into_owned()
}
