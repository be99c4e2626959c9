//! Pods that a node which is short of something does not take (CONTRACT 3.4): all but critical ones while disk or process IDs are
//! short, and while only memory is short those that ask for none of it. What a person runs on the node is taken.

use core_cm::qos_class;
use core_reclaim::refusal_text;
use core_types::api::{Pod, PodSpec};
use core_types::pressure::Pressures;
use core_types::{PodExt as _, QosClass};

use super::is_critical;

/// The taint that the cluster puts on a node which is short of memory.
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Why the pod is not taken now.
pub(super) fn refusal(pod: &Pod, spec: &PodSpec, shown: Pressures) -> Option<String> {
    let only_memory = Pressures { memory: true, ..Pressures::default() };
    let is_taken = shown == Pressures::default()
        || is_critical(pod)
        // Whoever runs a pod on the node is there to see what comes of it.
        || pod.is_local()
        || (shown == only_memory
            && (qos_class(pod) != QosClass::BestEffort || tolerates_memory_pressure(spec)));
    (!is_taken).then(|| refusal_text(shown))
}

fn tolerates_memory_pressure(spec: &PodSpec) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        let operator = toleration.operator.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        // The taint has no value.
        let has_value = toleration.value.as_deref().is_some_and(|value| !value.is_empty());
        let fits = match operator {
            "" | "Equal" => key == MEMORY_TAINT && !has_value,
            "Exists" => key.is_empty() || key == MEMORY_TAINT,
            _ => false,
        };
        fits && matches!(effect, "" | "NoSchedule")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(spec: serde_json::Value, shown: Pressures) -> Option<String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        refusal(&pod, pod.spec.as_ref().unwrap(), shown)
    }

    #[test]
    fn short_memory_refuses_pods_that_ask_for_none_and_a_full_disk_all() {
        let memory = Pressures { memory: true, ..Pressures::default() };
        let disk = Pressures { disk: true, ..Pressures::default() };
        let both = Pressures { memory: true, disk: true, pid: false };
        let best_effort = json!({"containers": [{"name": "a"}]});
        let asks = json!({"containers": [{"name": "a", "resources": {"requests": {"memory": "1Mi"}}}]});
        let tolerates = |key: &str, effect: &str| json!({"containers": [{"name": "a"}], "tolerations": [{"key": key, "operator": "Exists", "effect": effect}]});
        let critical = json!({"containers": [{"name": "a"}], "priority": 2_000_000_000});
        let text = |names: &str| Some(format!("The node had condition: [{names}]. "));
        for (spec, shown, expected) in [
            (best_effort.clone(), Pressures::default(), None),
            (best_effort.clone(), memory, text("MemoryPressure")),
            (asks.clone(), memory, None),
            (asks, disk, text("DiskPressure")),
            (tolerates(MEMORY_TAINT, "NoSchedule"), memory, None),
            (tolerates(MEMORY_TAINT, "NoExecute"), memory, text("MemoryPressure")),
            (tolerates("node.kubernetes.io/disk-pressure", ""), memory, text("MemoryPressure")),
            (tolerates("", ""), memory, None),
            (tolerates("", ""), both, text("MemoryPressure DiskPressure")),
            (critical, both, None),
        ] {
            assert_eq!(refused(spec.clone(), shown), expected, "{spec}");
        }
    }
}
