//! What the pods of a node request together, class by class: sums that are kept as pods come and go, so that one more pod costs the same
//! beside ten others and beside a thousand.

use std::collections::BTreeMap;

use core_types::api::Pod;
use core_types::{PodUid, QosClass};

use crate::qos::qos_class;
use crate::resources::{Overhead, pod_requests};

/// What the cgroups of the QoS classes are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassRequests {
    /// CPU of Burstable pods, in thousandths of a core.
    pub burstable_milli_cpu: i128,
    /// Memory of Burstable pods, in bytes.
    pub burstable_memory_bytes: i128,
    /// Memory of Guaranteed pods, in bytes.
    pub guaranteed_memory_bytes: i128,
}

impl ClassRequests {
    /// What one pod adds.
    fn of(pod: &Pod) -> Self {
        let class = qos_class(pod);
        if class == QosClass::BestEffort {
            return Self::default();
        }
        let requests = pod_requests(pod, Overhead::Included);
        let milli_cpu = requests.get("cpu").map_or(0, |cpu| cpu.milli_value());
        let memory_bytes = requests.get("memory").map_or(0, |memory| memory.value());
        match class {
            QosClass::Burstable => Self {
                burstable_milli_cpu: milli_cpu.into(),
                burstable_memory_bytes: memory_bytes.into(),
                ..Self::default()
            },
            QosClass::Guaranteed | QosClass::BestEffort => {
                Self { guaranteed_memory_bytes: memory_bytes.into(), ..Self::default() }
            }
        }
    }

    fn add(&mut self, other: Self, sign: i128) {
        self.burstable_milli_cpu += sign * other.burstable_milli_cpu;
        self.burstable_memory_bytes += sign * other.burstable_memory_bytes;
        self.guaranteed_memory_bytes += sign * other.guaranteed_memory_bytes;
    }
}

/// The pods that count, each with what it was given.
#[derive(Debug, Default)]
pub struct ActiveRequests {
    pods: BTreeMap<PodUid, ClassRequests>,
    sum: ClassRequests,
}

impl ActiveRequests {
    /// The pod counts with what it asks for now.
    pub fn put(&mut self, uid: &PodUid, pod: &Pod) {
        self.remove(uid);
        let own = ClassRequests::of(pod);
        self.sum.add(own, 1);
        self.pods.insert(uid.clone(), own);
    }

    /// The pod counts no more.
    pub fn remove(&mut self, uid: &PodUid) {
        if let Some(own) = self.pods.remove(uid) {
            self.sum.add(own, -1);
        }
    }

    /// All pods together.
    pub fn sum(&self) -> ClassRequests {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &str) -> Pod {
        let spec = format!(r#"{{"spec":{{"containers":[{{"name":"a","resources":{resources}}}]}}}}"#);
        serde_json::from_str(&spec).expect("a pod")
    }

    #[test]
    fn sums_follow_pods_that_come_change_and_go() {
        let mut active = ActiveRequests::default();
        let (a, b) = (PodUid::new("a"), PodUid::new("b"));
        active.put(&a, &pod(r#"{"requests":{"cpu":"250m","memory":"1Ki"}}"#));
        active
            .put(&b, &pod(r#"{"requests":{"cpu":"1","memory":"1Mi"},"limits":{"cpu":"1","memory":"1Mi"}}"#));
        active.put(&PodUid::new("c"), &pod("{}"));
        let sum = |milli_cpu, burstable, guaranteed| ClassRequests {
            burstable_milli_cpu: milli_cpu,
            burstable_memory_bytes: burstable,
            guaranteed_memory_bytes: guaranteed,
        };
        assert_eq!(active.sum(), sum(250, 1 << 10, 1 << 20));
        active.put(&a, &pod(r#"{"requests":{"cpu":"100m"}}"#));
        assert_eq!(active.sum(), sum(100, 0, 1 << 20));
        active.remove(&b);
        active.remove(&b);
        assert_eq!(active.sum(), sum(100, 0, 0));
        active.remove(&a);
        assert_eq!(active.sum(), ClassRequests::default());
    }
}
