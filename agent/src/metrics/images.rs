//! What is measured of images (CONTRACT 5.15).

use std::time::Duration;

use core_images::book::{MAX_RECORDS, Verdict};
use core_images::pull::{Presence, PullPolicy};
use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Gauge, Histogram, Registry};

/// Upper bounds of the time that a pull takes, in seconds.
const PULL_SECS: &[f64] = &[
    1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0,
    2700.0, 3600.0,
];

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Sizes from which an image counts under a label, greatest first.
const SIZES: &[(u64, &str)] = &[
    (100 * GIB, "GT100GB"),
    (60 * GIB, "60GB-100GB"),
    (40 * GIB, "40GB-60GB"),
    (30 * GIB, "30GB-40GB"),
    (20 * GIB, "20GB-30GB"),
    (10 * GIB, "10GB-20GB"),
    (5 * GIB, "5GB-10GB"),
    (GIB, "1GB-5GB"),
    (500 * MIB, "500MB-1GB"),
    (100 * MIB, "100MB-500MB"),
    (10 * MIB, "10MB-100MB"),
    (0, "0-10MB"),
];

const PULL_DURATION: Desc = Desc {
    name: "kubelet_image_pull_duration_seconds",
    help: "[ALPHA] Duration in seconds to pull an image.",
    labels: &["image_size_in_bytes"],
};
const ENSURE_REQUESTS: Desc = Desc {
    name: "kubelet_image_manager_ensure_image_requests_total",
    help: "[ALPHA] Number of ensure-image requests processed by the kubelet.",
    labels: &["pull_policy", "present_locally", "pull_required"],
};

const DISK_INTENTS: Desc = Desc {
    name: "kubelet_imagemanager_ondisk_pullintents",
    help: "[ALPHA] Number of ImagePullIntents stored on disk.",
    labels: &[],
};
const DISK_RECORDS: Desc = Desc {
    name: "kubelet_imagemanager_ondisk_pulledrecords",
    help: "[ALPHA] Number of ImagePulledRecords stored on disk.",
    labels: &[],
};
const MEMORY_INTENTS: Desc = Desc {
    name: "kubelet_imagemanager_inmemory_pullintents_usage_percent",
    help: "[ALPHA] The ImagePullIntents in-memory cache usage in percent.",
    labels: &[],
};
const MEMORY_RECORDS: Desc = Desc {
    name: "kubelet_imagemanager_inmemory_pulledrecords_usage_percent",
    help: "[ALPHA] The ImagePulledRecords in-memory cache usage in percent.",
    labels: &[],
};
const MUST_PULL_CHECKS: Desc = Desc {
    name: "kubelet_imagemanager_image_mustpull_checks_total",
    help: "[ALPHA] Counter for how many times kubelet checked whether credentials need to be re-verified to access an image",
    labels: &["result"],
};

const PLUGIN_ERRORS: Desc = Desc {
    name: "kubelet_credential_provider_plugin_errors_total",
    help: "[ALPHA] Number of errors from credential provider plugin",
    labels: &["plugin_name"],
};
const PLUGIN_DURATION: Desc = Desc {
    name: "kubelet_credential_provider_plugin_duration",
    help: "[ALPHA] Duration of execution in seconds for credential provider plugin",
    labels: &["plugin_name"],
};

const VOLUMES_REQUESTED: Desc = Desc {
    name: "kubelet_image_volume_requested_total",
    help: "[BETA] Number of requested image volumes.",
    labels: &[],
};
const VOLUMES_MOUNTED: Desc = Desc {
    name: "kubelet_image_volume_mounted_succeed_total",
    help: "[BETA] Number of successful image volume mounts.",
    labels: &[],
};
const VOLUMES_FAILED: Desc = Desc {
    name: "kubelet_image_volume_mounted_errors_total",
    help: "[BETA] Number of failed image volume mounts.",
    labels: &[],
};

/// The families.
#[derive(Clone, Debug)]
pub(crate) struct ImageMetrics {
    pull_duration: Histogram,
    ensure_requests: Counter,
    disk_intents: Gauge,
    disk_records: Gauge,
    memory_intents: Gauge,
    memory_records: Gauge,
    must_pull_checks: Counter,
    plugin_errors: Counter,
    plugin_duration: Histogram,
    volumes_requested: Counter,
    volumes_mounted: Counter,
    volumes_failed: Counter,
}

/// Whether the runtime mounted the images of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MountOutcome {
    Mounted,
    Failed,
}

/// Whether an image had to be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullNeed {
    Required,
    NotRequired,
}

impl ImageMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            pull_duration: registry.histogram(PULL_DURATION, PULL_SECS),
            ensure_requests: registry.counter(ENSURE_REQUESTS),
            disk_intents: registry.gauge(DISK_INTENTS),
            disk_records: registry.gauge(DISK_RECORDS),
            memory_intents: registry.gauge(MEMORY_INTENTS),
            memory_records: registry.gauge(MEMORY_RECORDS),
            must_pull_checks: registry.counter(MUST_PULL_CHECKS),
            plugin_errors: registry.counter(PLUGIN_ERRORS),
            plugin_duration: registry.histogram(PLUGIN_DURATION, DEFAULT_BUCKETS),
            volumes_requested: registry.counter(VOLUMES_REQUESTED),
            volumes_mounted: registry.counter(VOLUMES_MOUNTED),
            volumes_failed: registry.counter(VOLUMES_FAILED),
        }
    }

    /// A pod asked whether it may use an image that is there.
    pub(crate) fn checked(&self, verdict: Verdict) {
        self.must_pull_checks.inc(&[verdict.as_label()]);
    }

    /// So many intents and records are kept, on disk and in memory.
    pub(crate) fn kept(&self, intents: usize, records: usize) {
        let gauges = [
            (&self.disk_intents, &self.memory_intents, intents),
            (&self.disk_records, &self.memory_records, records),
        ];
        for (disk, memory, count) in gauges {
            disk.set(&[], count as f64);
            memory.set(&[], (count * 100 / MAX_RECORDS) as f64);
        }
    }

    /// A credential plugin has run.
    pub(crate) fn plugin_ran<T, E>(&self, name: &str, secs: f64, result: &Result<T, E>) {
        self.plugin_duration.observe(&[name], secs);
        if result.is_err() {
            self.plugin_errors.inc(&[name]);
        }
    }

    /// A container with so many mounts of images was tried to start.
    pub(crate) fn image_volumes(&self, mounts: usize, outcome: MountOutcome) {
        let mounts = mounts as f64;
        self.volumes_requested.add(&[], mounts);
        match outcome {
            MountOutcome::Mounted => self.volumes_mounted.add(&[], mounts),
            MountOutcome::Failed => self.volumes_failed.add(&[], mounts),
        }
    }

    /// A pull has succeeded after `total`, with the wait for its turn.
    pub(crate) fn pulled(&self, size_bytes: u64, total: Duration) {
        self.pull_duration.observe(&[size_label(size_bytes)], total.as_secs_f64());
    }

    /// An image was asked for; `None` for what was not found out.
    pub(crate) fn ensured(&self, policy: PullPolicy, found: Option<Presence>, need: Option<PullNeed>) {
        let found =
            found.map_or("unknown", |found| if found == Presence::Present { "true" } else { "false" });
        let need = need.map_or("unknown", |need| if need == PullNeed::Required { "true" } else { "false" });
        self.ensure_requests.inc(&[policy.as_label(), found, need]);
    }
}

fn size_label(size_bytes: u64) -> &'static str {
    SIZES.iter().find(|(from, _)| size_bytes > *from).map_or("N/A", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_under_upstreams_labels() {
        for (size, label) in [
            (0, "N/A"),
            (1, "0-10MB"),
            (10 * MIB, "0-10MB"),
            (10 * MIB + 1, "10MB-100MB"),
            (GIB, "500MB-1GB"),
            (3 * GIB, "1GB-5GB"),
            (u64::MAX, "GT100GB"),
        ] {
            assert_eq!(size_label(size), label, "{size}");
        }
    }
}
