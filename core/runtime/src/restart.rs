//! Whether an ended container starts again (CONTRACT 3.12).
//!
//! The first matching rule of the container wins, then the container's own policy, then the pod's. Left out: the rule
//! action `RestartAllContainers`; as in a kubelet with that gate off, such a rule falls back to the container's policy.

use core_types::PodExt;
use core_types::api::{Container, Pod};

/// True when a container that ended with `exit_code` is to start again.
pub fn restarts_after(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    if let Some(policy) = container.restart_policy.as_deref() {
        if rule_action(container, exit_code) == Some("Restart") {
            return true;
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

/// True when a container that did not end by itself (its state is unknown) is to start again.
pub(crate) fn restarts_when_lost(pod: &Pod, container: &Container) -> bool {
    container.restart_policy.as_deref().unwrap_or_else(|| pod.restart_policy()) != "Never"
}

/// True when a successful end of the container is final.
pub(crate) fn succeeds_once(pod: &Pod, container: &Container) -> bool {
    container.restart_policy.as_deref().unwrap_or_else(|| pod.restart_policy()) == "OnFailure"
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
            let mut container: serde_json::Value = serde_json::from_str(container).unwrap();
            container["name"] = "c".into();
            let container: Container = serde_json::from_value(container).unwrap();
            let pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {}, "spec": {"restartPolicy": pod_policy, "containers": []}
            }))
            .unwrap();
            assert_eq!(restarts_after(&pod, &container, exit_code), restarts, "{pod_policy} {container:?}");
        }
    }
}
