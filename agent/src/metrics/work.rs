//! How long the work on pods takes (CONTRACT 5.15).

use std::sync::Arc;
use std::time::Duration;

use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Gauge, Histogram, Registry};
use core_pods::worker::Operation;
use core_status::StartTimes;

/// Upper bounds of the time that a pod takes to start, in seconds.
const START_SECS: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0,
    480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// Upper bounds of the number of containers.
const CONTAINERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0];

/// What is measured of work on pods.
#[derive(Clone, Debug)]
pub(crate) struct WorkMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    operations: Histogram,
    worker_starts: Histogram,
    containers: Histogram,
    starts: Histogram,
    total: Histogram,
    sli: Histogram,
    orphans: Counter,
    restarted: Counter,
    remembered: Gauge,
}

/// What an operation is called in `operation_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OperationType(&'static str);

impl OperationType {
    /// Of an operation on a pod of which the runtime has something, or nothing yet.
    pub(crate) fn of(operation: &Operation, is_observed: bool) -> Self {
        Self(match operation {
            Operation::Sync { .. } if is_observed => "sync",
            Operation::Sync { .. } => "create",
            Operation::Terminate { .. } => "kill",
            Operation::Release | Operation::Erase => "terminated",
        })
    }
}

impl WorkMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let histogram = |name, help, labels, bounds| registry.histogram(Desc { name, help, labels }, bounds);
        let counter = |name, help, labels| registry.counter(Desc { name, help, labels });
        Self(Arc::new(Families {
            operations: histogram(
                "kubelet_pod_worker_duration_seconds",
                "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
                &["operation_type"],
                DEFAULT_BUCKETS,
            ),
            worker_starts: histogram(
                "kubelet_pod_worker_start_duration_seconds",
                "[ALPHA] Duration in seconds from kubelet seeing a pod to starting a worker.",
                &[],
                DEFAULT_BUCKETS,
            ),
            containers: histogram(
                "kubelet_containers_per_pod_count",
                "[ALPHA] The number of containers per pod.",
                &[],
                CONTAINERS,
            ),
            starts: histogram(
                "kubelet_pod_start_duration_seconds",
                "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
                &[],
                START_SECS,
            ),
            total: histogram(
                "kubelet_pod_start_total_duration_seconds",
                "[ALPHA] Duration in seconds to start a pod since creation, including time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
                &[],
                START_SECS,
            ),
            sli: histogram(
                "kubelet_pod_start_sli_duration_seconds",
                "[ALPHA] Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
                &[],
                START_SECS,
            ),
            orphans: counter(
                "kubelet_orphaned_runtime_pods_total",
                "[ALPHA] Number of pods that have been detected in the container runtime without being already known to the pod worker. This typically indicates the kubelet was restarted while a pod was force deleted in the API or in the local configuration, which is unusual.",
                &[],
            ),
            restarted: counter(
                "kubelet_restarted_pods_total",
                "[ALPHA] Number of pods that have been restarted because they were deleted and recreated with the same UID while the kubelet was watching them (common for static pods, extremely uncommon for API pods)",
                &["static"],
            ),
            remembered: registry.gauge(Desc {
                name: "podwright_offline_pods",
                help: "Number of pods that run as the API server told them before it went away, because it has not answered since the agent started.",
                labels: &[],
            }),
        }))
    }

    /// So many pods are those that the API server told before it went away.
    pub(crate) fn remembered(&self, pods: usize) {
        self.0.remembered.set(&[], pods as f64);
    }

    /// An operation took so long.
    pub(crate) fn operation(&self, kind: OperationType, took: Duration) {
        self.0.operations.observe(&[kind.0], took.as_secs_f64());
    }

    /// Work on a pod with so many containers began, so long after it was seen.
    pub(crate) fn began(&self, after: Duration, containers: usize) {
        self.0.worker_starts.observe(&[], after.as_secs_f64());
        self.0.containers.observe(&[], containers as f64);
    }

    /// Parts of a start are over.
    pub(crate) fn started(&self, times: StartTimes) {
        let all = [(times.running, &self.0.starts), (times.total, &self.0.total), (times.sli, &self.0.sli)];
        for (took, family) in all {
            if let Some(took) = took {
                family.observe(&[], took.as_secs_f64());
            }
        }
    }

    /// The runtime has a pod that nobody wants.
    pub(crate) fn orphan(&self) {
        self.0.orphans.inc(&[]);
    }

    /// A pod came again under its UID.
    pub(crate) fn came_again(&self, is_static: bool) {
        self.0.restarted.inc(&[if is_static { "true" } else { "" }]);
    }
}
