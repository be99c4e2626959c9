//! What is measured of what the node takes back (CONTRACT 5.15).

use std::time::Duration;

use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Histogram, Registry};
use core_reclaim::{RemovalReason, Signal};

/// What the node took back.
#[derive(Clone, Debug)]
pub(crate) struct ReclaimMetrics {
    images: Counter,
    stats_age: Histogram,
}

impl ReclaimMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            images: registry.counter(Desc {
                name: "kubelet_image_garbage_collected_total",
                help: "[ALPHA] Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
                labels: &["reason"],
            }),
            stats_age: registry.histogram(
                Desc {
                    name: "kubelet_eviction_stats_age_seconds",
                    help: "[ALPHA] Time between when stats are collected, and when pod is evicted based on those stats by eviction signal",
                    labels: &["eviction_signal"],
                },
                DEFAULT_BUCKETS,
            ),
        }
    }

    /// An image was removed.
    pub(crate) fn image_removed(&self, reason: RemovalReason) {
        self.images.inc(&[reason.name()]);
    }

    /// A pod goes for what was measured so long ago.
    pub(crate) fn evicted_after(&self, signal: Signal, age: Duration) {
        self.stats_age.observe(&[signal.name()], age.as_secs_f64());
    }
}
