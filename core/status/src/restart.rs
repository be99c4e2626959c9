//! Whether a container that does not run will be started again (CONTRACT 3.12), as far as its status depends on it.

use core_types::PodExt;
use core_types::api::{Container, Pod};
use core_types::runtime::ContainerState;
use core_types::view::Lifecycle;

use crate::StatusInput;

/// True when a container that ended with `exit_code` is restarted: by its first matching rule, else by its own policy,
/// else by the pod's.
pub(crate) fn should_restart(container: &Container, pod: &Pod, exit_code: i32) -> bool {
    if let Some(policy) = &container.restart_policy {
        let rules = container.restart_policy_rules.iter().flatten();
        let action = rules
            .filter(|rule| {
                rule.exit_codes.as_ref().is_some_and(|codes| {
                    let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
                    match codes.operator.as_str() {
                        "In" => listed,
                        "NotIn" => !listed,
                        _ => false,
                    }
                })
            })
            .map(|rule| rule.action.as_str())
            .next();
        if matches!(action, Some("Restart" | "RestartAllContainers")) {
            return true;
        }
        if let Some(answer) = by_policy(policy, exit_code) {
            return answer;
        }
    }
    by_policy(pod.restart_policy(), exit_code).unwrap_or(true)
}

/// True when the executor will start the container (again), so that its status is Waiting when it says why it has not.
/// `spec` is `None` for an ephemeral container.
pub(crate) fn will_start(input: &StatusInput<'_>, name: &str, spec: Option<&Container>) -> bool {
    if input.pod.metadata.deletion_timestamp.is_some() || input.lifecycle >= Lifecycle::Terminating {
        return false;
    }
    let Some(latest) = input.observed.and_then(|observed| observed.latest(name)) else { return true };
    match latest.state() {
        ContainerState::Running => false,
        ContainerState::Created | ContainerState::Unknown => true,
        ContainerState::Exited => match spec {
            Some(spec) => should_restart(spec, input.pod, latest.status.exit_code),
            None => false,
        },
    }
}

fn by_policy(policy: &str, exit_code: i32) -> Option<bool> {
    match policy {
        "Always" => Some(true),
        "OnFailure" => Some(exit_code != 0),
        "Never" => Some(false),
        _ => None,
    }
}
