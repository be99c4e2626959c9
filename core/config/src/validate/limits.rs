//! Rules about single numbers and durations.

use super::Check;
use crate::duration::GoDuration;
use crate::features::Feature;

pub(super) fn check(check: &mut Check<'_>) {
    numbers(check);
    durations(check);
    image_removal(check);
    pulls(check);
}

/// Field, value, lowest, highest.
type Range = (&'static str, i64, i64, i64);

fn numbers(check: &mut Check<'_>) {
    const MAX: i64 = i64::MAX;
    let c = check.config;
    let ranges: [Range; 22] = [
        ("nodeLeaseDurationSeconds", c.node_lease_duration_seconds.into(), 1, MAX),
        ("eventBurst (--event-burst)", c.event_burst.into(), 0, MAX),
        ("eventRecordQPS (--event-qps)", c.event_record_qps.into(), 0, MAX),
        ("healthzPort (--healthz-port)", c.healthz_port.into(), 0, 65535),
        (
            "imageGCHighThresholdPercent (--image-gc-high-threshold)",
            c.image_gc_high_threshold_percent.into(),
            0,
            100,
        ),
        (
            "imageGCLowThresholdPercent (--image-gc-low-threshold)",
            c.image_gc_low_threshold_percent.into(),
            0,
            100,
        ),
        ("iptablesDropBit", c.iptables_drop_bit.into(), 0, 31),
        ("iptablesMasqueradeBit", c.iptables_masquerade_bit.into(), 0, 31),
        ("kubeAPIBurst (--kube-api-burst)", c.kube_api_burst.into(), 0, MAX),
        ("kubeAPIQPS (--kube-api-qps)", c.kube_api_qps.into(), 0, MAX),
        ("nodeStatusMaxImages (--node-status-max-images)", c.node_status_max_images.into(), -1, MAX),
        ("maxOpenFiles (--max-open-files)", c.max_open_files, 0, MAX),
        ("maxPods (--max-pods)", c.max_pods.into(), 0, MAX),
        ("oomScoreAdj (--oom-score-adj)", c.oom_score_adj.into(), -1000, 1000),
        ("podsPerCore (--pods-per-core)", c.pods_per_core.into(), 0, MAX),
        ("port (--port)", c.port.into(), 1, 65535),
        ("readOnlyPort (--read-only-port)", c.read_only_port.into(), 0, 65535),
        ("registryBurst (--registry-burst)", c.registry_burst.into(), 0, MAX),
        ("registryPullQPS (--registry-qps)", c.registry_pull_qps.into(), 0, MAX),
        ("containerLogMaxWorkers", c.container_log_max_workers.into(), 1, MAX),
        ("containerLogMaxFiles (--container-log-max-files)", c.container_log_max_files.into(), 2, MAX),
        ("maxParallelImagePulls", c.max_parallel_image_pulls.unwrap_or(1).into(), 1, MAX),
    ];
    for (field, value, lowest, highest) in ranges {
        if !(lowest..=highest).contains(&value) {
            check.fail(field, outside(value, lowest, highest));
        }
    }
}

fn outside(value: i64, lowest: i64, highest: i64) -> String {
    match (lowest, highest) {
        (0, i64::MAX) => format!("{value} must not be a negative number"),
        (lowest, i64::MAX) => format!("{value} must be {lowest} or greater"),
        (lowest, highest) => format!("{value} must be between {lowest} and {highest}, inclusive"),
    }
}

fn durations(check: &mut Check<'_>) {
    let c = check.config;
    let period = c.cpu_cfs_quota_period;
    let field = "cpuCFSQuotaPeriod (--cpu-cfs-quota-period)";
    if check.on(Feature::CustomCPUCFSQuotaPeriod) {
        if !(GoDuration::from_millis(1)..=GoDuration::from_secs(1)).contains(&period) {
            check.fail(field, format!("{period} must be between 1ms and 1s, inclusive"));
        }
    } else if period != GoDuration::from_millis(100) {
        check.fail(field, format!("{period} requires feature gate CustomCPUCFSQuotaPeriod"));
    }
    if c.container_log_monitor_interval < GoDuration::from_secs(3) {
        check.fail("containerLogMonitorInterval", "must be 3s or longer");
    }
    let field = "crashLoopBackOff.maxContainerRestartPeriod";
    match (check.on(Feature::KubeletCrashLoopBackOffMax), c.crash_loop_back_off.max_container_restart_period)
    {
        (true, Some(most)) => {
            if !(GoDuration::from_secs(1)..=GoDuration::from_secs(300)).contains(&most) {
                check.fail(field, format!("{most} must be between 1s and 300s"));
            }
        }
        (true, None) => check.fail(field, "must be set with feature gate KubeletCrashLoopBackOffMax"),
        (false, Some(_)) => check.fail(field, "requires feature gate KubeletCrashLoopBackOffMax"),
        (false, None) => {}
    }
}

fn image_removal(check: &mut Check<'_>) {
    let c = check.config;
    let (low, high) = (c.image_gc_low_threshold_percent, c.image_gc_high_threshold_percent);
    if low >= high {
        let message =
            format!("{low} must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) {high}");
        check.fail("imageGCLowThresholdPercent (--image-gc-low-threshold)", message);
    }
    let (youngest, oldest) = (c.image_minimum_gc_age, c.image_maximum_gc_age);
    if youngest < GoDuration::ZERO {
        check.fail("imageMinimumGCAge", format!("{youngest} must not be negative"));
    }
    if oldest < GoDuration::ZERO {
        check.fail("imageMaximumGCAge", format!("{oldest} must not be negative"));
    }
    if oldest > GoDuration::ZERO && oldest <= youngest {
        check
            .fail("imageMaximumGCAge", format!("{oldest} must be greater than imageMinimumGCAge {youngest}"));
    }
}

fn pulls(check: &mut Check<'_>) {
    let c = check.config;
    if c.serialize_image_pulls && c.max_parallel_image_pulls.is_some_and(|most| most > 1) {
        let message =
            "must not be larger than 1 unless serializeImagePulls (--serialize-image-pulls) is false";
        check.fail("maxParallelImagePulls", message);
    }
}
