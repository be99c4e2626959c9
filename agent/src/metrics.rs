//! The agent's own metrics (CONTRACT 5.15), each registered once under upstream's name.

mod events;
mod images;
mod probes;
mod reclaim;
mod resize;
mod work;

use core_metrics::{DEFAULT_BUCKETS, Desc, Gauge, Histogram, Registry};
use core_types::WallTime;

pub(crate) use events::EventMetrics;
pub(crate) use images::{ImageMetrics, MountOutcome, PullNeed};
pub(crate) use probes::{ProbeMetrics, ProbeName};
pub(crate) use reclaim::ReclaimMetrics;
pub(crate) use resize::ResizeMetrics;
pub(crate) use work::{OperationType, WorkMetrics};

/// What the PLEG measures.
#[derive(Clone, Debug)]
pub(crate) struct PlegMetrics {
    relist_duration: Histogram,
    pod_relist_duration: Histogram,
    relist_interval: Histogram,
    last_seen: Gauge,
}

impl PlegMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let histogram = |name, help| registry.histogram(Desc { name, help, labels: &[] }, DEFAULT_BUCKETS);
        // It stays at zero: pictures wait for their turn, none is thrown away.
        registry.counter(Desc {
            name: "kubelet_pleg_discard_events",
            help: "[ALPHA] The number of discard events in PLEG.",
            labels: &[],
        });
        Self {
            relist_duration: histogram(
                "kubelet_pleg_relist_duration_seconds",
                "[ALPHA] Duration in seconds for relisting pods in PLEG.",
            ),
            pod_relist_duration: histogram(
                "kubelet_pleg_pod_relist_duration_seconds",
                "[ALPHA] Duration in seconds for relisting one pod in PLEG.",
            ),
            relist_interval: histogram(
                "kubelet_pleg_relist_interval_seconds",
                "[ALPHA] Interval in seconds between relisting in PLEG.",
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

    /// A full relist began so long after the one before.
    pub(crate) fn relists_after(&self, interval_secs: f64) {
        self.relist_interval.observe(&[], interval_secs);
    }

    /// One pod was listed.
    pub(crate) fn pod_relisted(&self, duration_secs: f64) {
        self.pod_relist_duration.observe(&[], duration_secs);
    }
}
