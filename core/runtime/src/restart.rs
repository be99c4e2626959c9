//! Whether an ended container starts again (CONTRACT 3.12).
//!
//! The first matching rule of the container wins, then the container's own policy, then the pod's. A rule may also ask for
//! a restart of all containers of the pod; where the gate for that is off, such a rule falls back to the container's policy.

use core_types::api::{Container, ContainerStateTerminated, Pod};
use core_types::runtime::ContainerState;
use core_types::{ObservedPod, PodExt, RestartRules};

/// Reason of a container that waits, or was ended, because all containers of its pod are restarted.
pub const RESTARTING_ALL: &str = "RestartingAllContainers";

const RESTART: &str = "Restart";
const RESTART_ALL: &str = "RestartAllContainers";

/// True when a container that ended with `exit_code` is to start again.
pub fn restarts_after(pod: &Pod, container: &Container, exit_code: i32, rules: RestartRules) -> bool {
    if let Some(policy) = own_policy(container, rules) {
        match rule_action(container, exit_code) {
            Some(RESTART) => return true,
            Some(RESTART_ALL) if rules >= RestartRules::OfAllContainers => return true,
            _ => {}
        }
        match policy {
            "Always" => return true,
            "OnFailure" => return exit_code != 0,
            "Never" => return false,
            _ => {}
        }
    }
    match pod.restart_policy() {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// True when a container with this end in its status is to start again: also one that was ended with all others.
pub fn restarts_from(
    pod: &Pod,
    container: &Container,
    end: &ContainerStateTerminated,
    rules: RestartRules,
) -> bool {
    restarts_after(pod, container, end.exit_code, rules) || end.reason.as_deref() == Some(RESTARTING_ALL)
}

/// True when the end of a container, as the picture shows it, asks for a restart of all containers of the pod.
pub fn all_restart(pod: &Pod, observed: &ObservedPod, rules: RestartRules) -> bool {
    rules >= RestartRules::OfAllContainers
        && pod.container_refs().iter().any(|container| {
            let latest = observed.latest(&container.spec.name);
            latest.is_some_and(|latest| {
                latest.state() == ContainerState::Exited && ends_all(container.spec, latest.status.exit_code)
            })
        })
}

/// True when a container of the pod could ask for a restart of all of them.
pub fn may_restart_all(pod: &Pod, rules: RestartRules) -> bool {
    let asks = |container: &Container| {
        container.restart_policy_rules.iter().flatten().any(|rule| rule.action == RESTART_ALL)
    };
    rules >= RestartRules::OfAllContainers
        && pod.container_refs().iter().any(|container| asks(container.spec))
}

/// True when an end of the container with `exit_code` asks for a restart of all containers.
pub(crate) fn ends_all(container: &Container, exit_code: i32) -> bool {
    rule_action(container, exit_code) == Some(RESTART_ALL)
}

/// True when a container that did not end by itself (its state is unknown, or a probe failed) is to start again.
pub(crate) fn restarts_when_lost(pod: &Pod, container: &Container, rules: RestartRules) -> bool {
    own_policy(container, rules).unwrap_or_else(|| pod.restart_policy()) != "Never"
}

/// The container's own policy, where containers may have one.
fn own_policy(container: &Container, rules: RestartRules) -> Option<&str> {
    container.restart_policy.as_deref().filter(|_| rules >= RestartRules::OfContainers)
}

fn rule_action(container: &Container, exit_code: i32) -> Option<&str> {
    let rules = container.restart_policy_rules.iter().flatten();
    let mut matching = rules.filter(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    });
    matching.next().map(|rule| rule.action.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pod_policy: &str, container: &str) -> (Pod, Container) {
        let mut container: serde_json::Value = serde_json::from_str(container).unwrap();
        container["name"] = "c".into();
        let container: Container = serde_json::from_value(container).unwrap();
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {}, "spec": {"restartPolicy": pod_policy, "containers": []}
        }));
        (pod.unwrap(), container)
    }

    #[test]
    fn the_first_rule_wins_then_the_container_then_the_pod() {
        for (pod_policy, container, exit_code, restarts) in [
            ("Always", "{}", 0, true),
            ("OnFailure", "{}", 0, false),
            ("OnFailure", "{}", 1, true),
            ("Never", "{}", 1, false),
            ("Never", r#"{"restartPolicy":"Always"}"#, 0, true),
            ("Always", r#"{"restartPolicy":"Never"}"#, 1, false),
            ("Always", r#"{"restartPolicy":"OnFailure"}"#, 0, false),
            (
                "Never",
                r#"{"restartPolicy":"Never","restartPolicyRules":[
                    {"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]}"#,
                42,
                true,
            ),
            (
                "Never",
                r#"{"restartPolicy":"Never","restartPolicyRules":[
                    {"action":"Restart","exitCodes":{"operator":"NotIn","values":[42]}}]}"#,
                42,
                false,
            ),
            (
                "Always",
                r#"{"restartPolicy":"Never","restartPolicyRules":[
                    {"action":"RestartAllContainers","exitCodes":{"operator":"In","values":[42]}}]}"#,
                42,
                false,
            ),
        ] {
            let (pod, container) = read(pod_policy, container);
            let found = restarts_after(&pod, &container, exit_code, RestartRules::OfContainers);
            assert_eq!(found, restarts, "{pod_policy} {container:?}");
        }
    }

    #[test]
    fn gates_say_what_counts() {
        let rule = |action: &str| {
            format!(
                r#"{{"restartPolicy":"Never","restartPolicyRules":[
                    {{"action":"{action}","exitCodes":{{"operator":"In","values":[42]}}}}]}}"#
            )
        };
        for (pod_policy, container, rules, restarts) in [
            ("Always", rule("Restart"), RestartRules::OfPod, true),
            ("Never", rule("Restart"), RestartRules::OfPod, false),
            ("Never", rule("Restart"), RestartRules::OfContainers, true),
            ("Always", rule("RestartAllContainers"), RestartRules::OfContainers, false),
            ("Never", rule("RestartAllContainers"), RestartRules::OfAllContainers, true),
        ] {
            let (pod, container) = read(pod_policy, &container);
            assert_eq!(restarts_after(&pod, &container, 42, rules), restarts, "{pod_policy} {rules:?}");
            let counts = rules != RestartRules::OfPod;
            assert_eq!(restarts_when_lost(&pod, &container, rules), !counts && pod_policy == "Always");
        }
    }
}
