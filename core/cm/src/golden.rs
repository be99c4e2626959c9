//! Comparison with upstream: `testdata/pods.jsonl` holds random pod specs with upstream's sums (in thousandths), QoS class,
//! pod cgroup values and OOM scores (init containers first, on a node with 10 GB).

use core_types::api::Pod;
use serde_json::{Value, json};

use crate::memory_qos::{MemoryQos, MemoryReservation};
use crate::oom::oom_score_adj;
use crate::qos::qos_class;
use crate::resources::{Overhead, ResourceList, all_containers, pod_limits, pod_requests};
use crate::values::tests::node;
use crate::values::{NodeFacts, pod_values};

/// `testdata/checkpoints.jsonl` holds files as upstream writes them.
#[test]
fn checkpoints_are_read_and_written_as_upstream_writes_them() {
    let lines: Vec<&str> = include_str!("../testdata/checkpoints.jsonl").lines().collect();
    assert_eq!(lines.len(), 40);
    for line in lines {
        let book = crate::checkpoint::decode(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(crate::checkpoint::encode(&book)).unwrap(), line);
    }
}

/// `testdata/memory_qos.jsonl` holds random pod specs with the keys that upstream sets in their cgroups with
/// `TieredReservation`, and with a throttling factor of 0.9.
#[test]
fn memory_of_random_pods_is_protected_and_throttled_as_upstream_does() {
    let lines: Vec<&str> = include_str!("../testdata/memory_qos.jsonl").lines().collect();
    assert_eq!(lines.len(), 150);
    for line in lines {
        let golden: Value = serde_json::from_str(line).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": golden["spec"]})).unwrap();
        let unified = |throttling_factor, reservation| {
            let (allocatable_bytes, page_bytes) = (10_000_000_000, 4096);
            let memory_qos = MemoryQos::On { throttling_factor, reservation, allocatable_bytes, page_bytes };
            json!(pod_values(&pod, &NodeFacts { memory_qos, ..node() }).unified)
        };
        assert_eq!(unified(None, MemoryReservation::Tiered), golden["tiered"], "{line}");
        assert_eq!(unified(Some(0.9), MemoryReservation::None), golden["throttled"], "{line}");
    }
}

fn milli(list: ResourceList) -> Value {
    list.into_iter().map(|(name, amount)| (name, Value::from(amount.milli_value().to_string()))).collect()
}

#[test]
fn random_pods_have_upstreams_sums_classes_and_scores() {
    let lines: Vec<&str> = include_str!("../testdata/pods.jsonl").lines().collect();
    assert_eq!(lines.len(), 300);
    for line in lines {
        let golden: Value = serde_json::from_str(line).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": golden["spec"]})).unwrap();
        let scores: Vec<i64> = all_containers(pod.spec.as_ref().unwrap())
            .map(|container| oom_score_adj(&pod, container, 10_000_000_000))
            .collect();
        let values = pod_values(&pod, &node());
        let ours = json!({
            "cgroup": {
                "shares": values.cpu_shares,
                "quota": values.cpu_quota_us,
                "period": values.cpu_period_us,
                "memory": values.memory_limit_bytes,
                "hugepages2M": values.hugepage_limits["2MB"],
            },
            "spec": golden["spec"],
            "qos": format!("{:?}", qos_class(&pod)),
            "oom": scores,
            "requests": milli(pod_requests(&pod, Overhead::Included)),
            "requestsWithoutOverhead": milli(pod_requests(&pod, Overhead::Excluded)),
            "limits": milli(pod_limits(&pod, Overhead::Included)),
        });
        assert_eq!(ours, golden);
    }
}
