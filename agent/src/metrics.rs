//! The agent's own metrics (CONTRACT 5.15), each registered once under upstream's name.

mod events;
mod images;
mod probes;
mod reclaim;
mod resize;

use core_metrics::{DEFAULT_BUCKETS, Desc, Gauge, Histogram, Registry};
use core_types::WallTime;

pub(crate) use events::EventMetrics;
pub(crate) use images::{ImageMetrics, MountOutcome, PullNeed};
pub(crate) use probes::{ProbeMetrics, ProbeName};
pub(crate) use reclaim::ReclaimMetrics;
pub(crate) use resize::ResizeMetrics;

/// What the PLEG measures.
#[derive(Clone, Debug)]
pub(crate) struct PlegMetrics {
    relist_duration: Histogram,
    pod_relist_duration: Histogram,
    last_seen: Gauge,
}

impl PlegMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let histogram = |name, help| registry.histogram(Desc { name, help, labels: &[] }, DEFAULT_BUCKETS);
        Self {
            relist_duration: histogram(
                "kubelet_pleg_relist_duration_seconds",
                "[ALPHA] Duration in seconds for relisting pods in PLEG.",
            ),
            pod_relist_duration: histogram(
                "kubelet_pleg_pod_relist_duration_seconds",
                "[ALPHA] Duration in seconds for relisting one pod in PLEG.",
            ),
            last_seen: registry.gauge(Desc {
                name: "kubelet_pleg_last_seen_seconds",
                help: "[ALPHA] Timestamp in seconds when PLEG was last seen active.",
                labels: &[],
            }),
        }
    }

    /// A full relist has succeeded.
    pub(crate) fn relisted(&self, duration_secs: f64, at: WallTime) {
        self.relist_duration.observe(&[], duration_secs);
        self.last_seen.set(&[], at.unix_secs() as f64);
    }

    /// One pod was listed.
    pub(crate) fn pod_relisted(&self, duration_secs: f64) {
        self.pod_relist_duration.observe(&[], duration_secs);
    }
}
