//! What probes come to, by container: `/metrics/probes` (CONTRACT 5.17). Series go with their pod.

use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Histogram, Registry};
use core_probes::{ProbeKind, Verdict};
use core_types::{PodKey, PodUid};

const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

/// The families of all probes.
#[derive(Clone, Debug)]
pub(crate) struct ProbeMetrics {
    total: Counter,
    duration: Histogram,
}

/// Whose probe it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeName<'a> {
    pub(crate) key: &'a PodKey,
    pub(crate) uid: &'a PodUid,
    pub(crate) container: &'a str,
    pub(crate) kind: ProbeKind,
}

impl ProbeMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            total: registry.counter(Desc {
                name: "prober_probe_total",
                help: "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
                labels: &["probe_type", "result", "container", "pod", "namespace", "pod_uid"],
            }),
            duration: registry.histogram(
                Desc {
                    name: "prober_probe_duration_seconds",
                    help: "[ALPHA] Duration in seconds for a probe response.",
                    labels: &["probe_type", "container", "pod", "namespace"],
                },
                DEFAULT_BUCKETS,
            ),
        }
    }

    /// A run has ended. As upstream, the time of one that failed is not counted.
    pub(crate) fn ended(&self, probe: ProbeName<'_>, verdict: Verdict, secs: f64) {
        let result = match verdict {
            Verdict::Success => "successful",
            Verdict::Failure | Verdict::TimedOut => "failed",
            Verdict::Unknown => "unknown",
        };
        self.total.inc(&total_labels(&probe, result));
        if result != "failed" {
            self.duration.observe(&duration_labels(&probe), secs);
        }
    }

    /// The probe is there no more.
    pub(crate) fn forget(&self, probe: ProbeName<'_>) {
        RESULTS.iter().for_each(|result| self.total.remove(&total_labels(&probe, result)));
        self.duration.remove(&duration_labels(&probe));
    }
}

fn total_labels<'a>(probe: &ProbeName<'a>, result: &'a str) -> [&'a str; 6] {
    let ProbeName { key, uid, container, kind } = probe;
    [kind.as_str(), result, container, &key.name, &key.namespace, uid.as_str()]
}

fn duration_labels<'a>(probe: &ProbeName<'a>) -> [&'a str; 4] {
    [probe.kind.as_str(), probe.container, &probe.key.name, &probe.key.namespace]
}
