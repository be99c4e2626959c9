//! Comparison with upstream: `testdata/pods.jsonl` holds random pod specs with upstream's sums (in thousandths), QoS class,
//! pod cgroup values and OOM scores (init containers first, on a node with 10 GB).

use core_types::api::Pod;
use serde_json::{Value, json};

use crate::oom::oom_score_adj;
use crate::qos::qos_class;
use crate::resources::{Overhead, ResourceList, all_containers, pod_limits, pod_requests};
use crate::values::pod_values;
use crate::values::tests::node;

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
