//! Counts of what happens: one family of ours for all events, and upstream's for some of them.

use std::sync::Arc;

use core_events::{Happening, Tally};
use core_metrics::{Counter, Desc, Registry};
use core_types::api::{ContainerStatus, PodStatus};
use core_types::{ContainerKind, Invariant};

/// What is counted when something happens.
#[derive(Clone, Debug)]
pub(crate) struct EventMetrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    events: Counter,
    dropped: Counter,
    broken: Counter,
    rejections: Counter,
    hook_fallbacks: Counter,
    pods: Starts,
    user_namespaced_pods: Starts,
    container_starts: Counter,
    container_start_errors: Counter,
    container_ends: Counter,
    preemptions: Counter,
    evictions: Counter,
    sleeps_cut: Counter,
}

/// Starts of something.
#[derive(Debug)]
struct Starts {
    tried: Counter,
    failed: Counter,
}

impl Starts {
    /// Counters by name and help: what was tried, and what of it failed.
    fn new(registry: &Registry, [tried, failed]: [(&'static str, &'static str); 2]) -> Self {
        let counter = |(name, help)| registry.counter(Desc { name, help, labels: &[] });
        Self { tried: counter(tried), failed: counter(failed) }
    }
}

/// Starts of pods.
const PODS: [(&str, &str); 2] = [
    ("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started"),
    ("kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods"),
];

/// Starts of pods with users of their own.
const USER_NAMESPACED_PODS: [(&str, &str); 2] = [
    (
        "kubelet_started_user_namespaced_pods_total",
        "[ALPHA] Cumulative number of pods with user namespaces started. This metric will only be collected on Linux.",
    ),
    (
        "kubelet_started_user_namespaced_pods_errors_total",
        "[ALPHA] Cumulative number of errors when starting pods with user namespaces. This metric will only be collected on Linux.",
    ),
];

impl EventMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels| registry.counter(Desc { name, help, labels });
        Self(Arc::new(Counters {
            events: counter(
                "podwright_events_total",
                "Happenings that became events, by type and reason; repetitions count.",
                &["type", "reason"],
            ),
            dropped: counter(
                "podwright_events_dropped_total",
                "Events that were not told to the API server because too many waited.",
                &[],
            ),
            broken: counter(
                "podwright_invariant_violations_total",
                "Rules of docs/invariants.md that the agent found broken.",
                &["invariant"],
            ),
            rejections: counter(
                "kubelet_admission_rejections_total",
                "[ALPHA] Cumulative number pod admission rejections by the Kubelet.",
                &["reason"],
            ),
            hook_fallbacks: counter(
                "kubelet_lifecycle_handler_http_fallbacks_total",
                "[ALPHA] The number of times lifecycle handlers successfully fell back to http from https.",
                &[],
            ),
            pods: Starts::new(registry, PODS),
            user_namespaced_pods: Starts::new(registry, USER_NAMESPACED_PODS),
            container_starts: counter(
                "kubelet_started_containers_total",
                "[ALPHA] Cumulative number of containers started",
                &["container_type"],
            ),
            container_start_errors: counter(
                "kubelet_started_containers_errors_total",
                "[ALPHA] Cumulative number of errors when starting containers",
                &["container_type", "code"],
            ),
            container_ends: counter(
                "kubelet_terminated_containers_total",
                "[ALPHA] Cumulative number of container terminations.",
                &["container_type", "exit_code", "reason"],
            ),
            preemptions: counter(
                "kubelet_preemptions",
                "[ALPHA] Cumulative number of pod preemptions by preemption resource",
                &["preemption_signal"],
            ),
            evictions: counter(
                "kubelet_evictions",
                "[ALPHA] Cumulative number of pod evictions by eviction signal",
                &["eviction_signal"],
            ),
            sleeps_cut: counter(
                "kubelet_sleep_action_terminated_early_total",
                "[ALPHA] The number of times lifecycle sleep handler got terminated before it finishes",
                &[],
            ),
        }))
    }

    /// Something happened.
    pub(crate) fn count(&self, happening: &Happening) {
        self.0.events.inc(&[happening.event_type.as_str(), &happening.reason]);
        match &happening.tally {
            Tally::Nothing => {}
            Tally::AdmissionRejection => self.0.rejections.inc(&[&happening.reason]),
            Tally::HookFallback => self.0.hook_fallbacks.inc(&[]),
            Tally::PodStartError => self.0.pods.failed.inc(&[]),
            Tally::Eviction { signal } => self.0.evictions.inc(&[signal]),
            Tally::Preemption { resource } => self.0.preemptions.inc(&[resource]),
        }
    }

    /// The sleep of a hook did not come to its end.
    pub(crate) fn sleep_was_cut(&self) {
        self.0.sleeps_cut.inc(&[]);
    }

    /// The start of a sandbox is tried.
    pub(crate) fn pod_starts(&self) {
        self.0.pods.tried.inc(&[]);
    }

    /// The sandbox and the containers of a pod with users of its own were tried to be started.
    pub(crate) fn user_namespaced_pod_started(&self, failed: bool) {
        self.0.user_namespaced_pods.tried.inc(&[]);
        if failed {
            self.0.user_namespaced_pods.failed.inc(&[]);
        }
    }

    /// The start of a container is tried.
    pub(crate) fn container_starts(&self, kind: ContainerKind) {
        self.0.container_starts.inc(&[container_type(kind)]);
    }

    /// The start of a container failed, for this waiting reason.
    pub(crate) fn container_start_failed(&self, kind: ContainerKind, code: &str) {
        self.0.container_start_errors.inc(&[container_type(kind), code]);
    }

    /// Counts containers that a status shows as ended and the one before did not.
    pub(crate) fn ended(&self, before: Option<&PodStatus>, now: &PodStatus) {
        for (kind, list) in CONTAINER_LISTS {
            for status in list(now).iter().flatten() {
                let Some(end) = status.state.as_ref().and_then(|state| state.terminated.as_ref()) else {
                    continue;
                };
                let same = |known: &&ContainerStatus| known.name == status.name;
                let known = before.and_then(|before| list(before).iter().flatten().find(same));
                if known.and_then(|known| known.state.as_ref()).is_none_or(|state| state.terminated.is_none())
                {
                    let reason = end.reason.as_deref().unwrap_or_default();
                    self.0.container_ends.inc(&[kind, &end.exit_code.to_string(), reason]);
                }
            }
        }
    }

    /// Events lost so far because too many waited.
    pub(crate) fn dropped(&self, total: u64) {
        if total > 0 {
            self.0.dropped.set_total(&[], total as f64);
        }
    }

    /// A rule of ours was found broken.
    pub(crate) fn broken(&self, invariant: Invariant) {
        self.0.broken.inc(&[invariant.id()]);
    }
}

/// Reads one list of container statuses.
type ListOf = fn(&PodStatus) -> &Option<Vec<ContainerStatus>>;

/// The lists of a pod's status, by the word that metrics have for their containers.
const CONTAINER_LISTS: [(&str, ListOf); 3] = [
    ("init_container", |status| &status.init_container_statuses),
    ("container", |status| &status.container_statuses),
    ("ephemeral_container", |status| &status.ephemeral_container_statuses),
];

const fn container_type(kind: ContainerKind) -> &'static str {
    match kind {
        ContainerKind::Init | ContainerKind::Sidecar => "init_container",
        ContainerKind::Regular => "container",
        ContainerKind::Ephemeral => "ephemeral_container",
    }
}
