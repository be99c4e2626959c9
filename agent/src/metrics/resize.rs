//! What is measured of resizes (CONTRACT 5.15).

use core_cm::resize::{PendingReason, ResizeCondition, ResizeConditions};
use core_metrics::{Counter, Desc, Gauge, Histogram, Registry};
use core_pods::allocation::{Infeasible, NewsKind, RequestedResize, RetryTrigger};
use core_types::api::Pod;
use core_types::{PodUid, WallTime};

/// Upper bounds of the time that a resize takes, in milliseconds.
const DURATION_MS: &[f64] = &[
    10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0, 30_000.0, 60_000.0, 120_000.0,
    300_000.0, 600_000.0,
];
/// Upper bounds of the time that a resize waits, in seconds.
const DEFERRED_SECS: &[f64] = &[
    5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 150.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
];

const REQUESTED: Desc = Desc {
    name: "kubelet_container_requested_resizes_total",
    help: "[ALPHA] Number of requested resizes, counted at the container level. Different resources on the same container are counted separately. The 'requirement' label refers to 'memory' or 'limits'; the 'operation' label can be one of 'add', 'remove', 'increase' or 'decrease'.",
    labels: &["resource", "requirement", "operation"],
};
const DURATION: Desc = Desc {
    name: "kubelet_pod_resize_duration_milliseconds",
    help: "[ALPHA] Duration in milliseconds to actuate a pod resize",
    labels: &["success"],
};
const PENDING: Desc = Desc {
    name: "kubelet_pod_pending_resizes",
    help: "[ALPHA] Number of pending resizes for pods. Label 'priority_bucket' classifies the pod priority (system-critical: >=2000000000, high: 100000..1999999999, medium: 1..99999, normal: 0/default, low: -999..-1, very-low: <=-1000, unknown: nil pod). Label 'reason' describes the state (deferred, infeasible).",
    labels: &["reason", "priority_bucket"],
};
const INFEASIBLE: Desc = Desc {
    name: "kubelet_pod_infeasible_resizes_total",
    help: "[ALPHA] Number of infeasible resizes for pods.",
    labels: &["reason_detail"],
};
const IN_PROGRESS: Desc = Desc {
    name: "kubelet_pod_in_progress_resizes",
    help: "[ALPHA] Number of in-progress resizes for pods.",
    labels: &[],
};
const ACCEPTED: Desc = Desc {
    name: "kubelet_pod_deferred_accepted_resizes_total",
    help: "[ALPHA] Cumulative number of resizes that were accepted after being deferred.",
    labels: &["retry_trigger"],
};
const DEFERRED: Desc = Desc {
    name: "kubelet_pod_deferred_resize_duration_seconds",
    help: "[ALPHA] Duration in seconds that a pod resize remains deferred before completion. Label 'priority_bucket' classifies the pod priority (system-critical: >=2000000000, high: 100000..1999999999, medium: 1..99999, normal: 0/default, low: -999..-1, very-low: <=-1000, unknown: nil pod). Label 'resolution' describes how the deferred resize was resolved (accepted, reverted, terminated).",
    labels: &["resolution", "priority_bucket"],
};

/// The families.
#[derive(Clone, Debug)]
pub(crate) struct ResizeMetrics {
    requested: Counter,
    duration: Histogram,
    pending: Gauge,
    infeasible: Counter,
    in_progress: Gauge,
    accepted: Counter,
    deferred: Histogram,
}

impl ResizeMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            requested: registry.counter(REQUESTED),
            duration: registry.histogram(DURATION, DURATION_MS),
            pending: registry.gauge(PENDING),
            infeasible: registry.counter(INFEASIBLE),
            in_progress: registry.gauge(IN_PROGRESS),
            accepted: registry.counter(ACCEPTED),
            deferred: registry.histogram(DEFERRED, DEFERRED_SECS),
        }
    }

    /// A changed spec asks for something.
    pub(crate) fn requested(&self, what: RequestedResize) {
        self.requested.inc(&[what.resource, what.requirement, what.operation]);
    }

    /// A resize can never be.
    pub(crate) fn infeasible(&self, why: Infeasible) {
        self.infeasible.inc(&[why.detail()]);
    }

    /// A pending resize was judged; `waited` is the condition that ended with it.
    pub(crate) fn judged(
        &self,
        pod: &Pod,
        kind: NewsKind,
        waited: Option<&ResizeCondition>,
        trigger: RetryTrigger,
        now: WallTime,
    ) {
        let Some(waited) = waited.filter(|waited| waited.reason == PendingReason::Deferred.as_str()) else {
            return;
        };
        let resolution = match kind {
            NewsKind::Started => {
                self.accepted.inc(&[trigger.as_str()]);
                "accepted"
            }
            NewsKind::Reverted => "reverted",
            NewsKind::Deferred | NewsKind::Infeasible(_) => return,
        };
        self.waited(pod, waited, resolution, now);
    }

    /// A pod ended, and its resizes with it.
    pub(crate) fn ended(&self, pod: &Pod, conditions: Option<&ResizeConditions>, now: WallTime) {
        let pending = conditions.and_then(|own| own.pending.as_ref());
        if let Some(waited) = pending.filter(|waited| waited.reason == PendingReason::Deferred.as_str()) {
            self.waited(pod, waited, "terminated", now);
        }
    }

    fn waited(&self, pod: &Pod, waited: &ResizeCondition, resolution: &str, now: WallTime) {
        let secs = now.unix_secs().saturating_sub(waited.since.unix_secs()).max(0);
        self.deferred.observe(&[resolution, priority_bucket(Some(pod))], secs as f64);
    }

    /// An operation tried to resize a pod.
    pub(crate) fn tried(&self, succeeded: bool, millis: u64) {
        self.duration.observe(&[if succeeded { "true" } else { "false" }], millis as f64);
    }

    /// Counts the conditions of all pods anew.
    pub(crate) fn count<'a>(
        &self,
        all: impl Iterator<Item = (&'a PodUid, &'a ResizeConditions)>,
        pod: &dyn Fn(&PodUid) -> Option<&'a Pod>,
    ) {
        self.pending.clear();
        let mut in_progress = 0.0;
        for (uid, own) in all {
            if let Some(reason) = own.pending_reason() {
                let reason = reason.as_str().to_lowercase();
                self.pending.add(&[&reason, priority_bucket(pod(uid))], 1.0);
            }
            in_progress += f64::from(u8::from(own.in_progress.is_some()));
        }
        self.in_progress.set(&[], in_progress);
    }
}

/// Upstream's label for a pod's priority.
fn priority_bucket(pod: Option<&Pod>) -> &'static str {
    let Some(pod) = pod else { return "unknown" };
    match pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0) {
        2_000_000_000.. => "system-critical",
        100_000.. => "high",
        1.. => "medium",
        0 => "normal",
        -999.. => "low",
        _ => "very-low",
    }
}
