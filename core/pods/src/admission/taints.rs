//! Taints of the node against tolerations of the pod. The scheduler keeps pods off other taints; on the node only `NoExecute`
//! counts.

use core_types::api::PodSpec;
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// The only effect that ends pods on the node.
const NO_EXECUTE: &str = "NoExecute";

/// Whether a taint keeps the pod off this node.
pub(super) fn keep_off(spec: &PodSpec, taints: &[Taint]) -> bool {
    let is_tolerated = |taint: &Taint| spec.tolerations.iter().flatten().any(|rule| tolerates(rule, taint));
    taints.iter().any(|taint| taint.effect == NO_EXECUTE && !is_tolerated(taint))
}

/// An empty effect or key stands for all.
fn tolerates(rule: &Toleration, taint: &Taint) -> bool {
    let is_for = |own: &Option<String>, of_taint: &str| {
        own.as_deref().is_none_or(|own| own.is_empty() || own == of_taint)
    };
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    is_for(&rule.effect, &taint.effect)
        && is_for(&rule.key, &taint.key)
        && match rule.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => value(&rule.value) == value(&taint.value),
            "Exists" => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_taints_that_end_pods_count() {
        let keeps_off = |taint: Value, tolerations: Value| {
            let spec = json!({ "containers": [], "tolerations": tolerations });
            let taint = serde_json::from_value(taint).unwrap();
            keep_off(&serde_json::from_value(spec).unwrap(), &[taint])
        };
        let taint = json!({ "key": "k", "value": "v", "effect": "NoExecute" });
        let table = [
            (json!([]), true),
            (json!([{ "operator": "Exists" }]), false),
            (json!([{ "key": "k", "operator": "Exists" }]), false),
            (json!([{ "key": "k", "value": "v" }]), false),
            (json!([{ "key": "k", "operator": "Equal", "value": "w" }]), true),
            (json!([{ "key": "other", "operator": "Exists" }]), true),
            (json!([{ "key": "k", "operator": "Exists", "effect": "NoSchedule" }]), true),
            (json!([{ "key": "k", "operator": "Exists", "effect": "NoExecute" }]), false),
        ];
        for (tolerations, want) in table {
            assert_eq!(keeps_off(taint.clone(), tolerations.clone()), want, "{tolerations}");
        }
        assert!(!keeps_off(json!({ "key": "k", "effect": "NoSchedule" }), json!([])));
    }
}
