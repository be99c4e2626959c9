//! What the sync loop knows of a pod's probes: the latest results, by container instance (PR-1).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core_probes::ProbeKind;
use core_runtime::plan::FailedProbe;
use core_status::{ProbeResult, ProbeResults};
use core_types::api::{Container, Pod};
use core_types::runtime::ContainerState;
use core_types::{ContainerId, ObservedContainer, ObservedPod, PodExt, WallTime};

/// How long after its start the agent keeps back the status of a pod that it found running, until its probes have
/// answered: nobody remembers what was true before, and a guess would flip a condition (SP-2). Upstream, which reads the
/// last status from the API server, waits as long.
pub(crate) const ADOPTION_GRACE: Duration = Duration::from_secs(10);

/// Results of the probes of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeBook {
    /// What decides about `started` and `ready`.
    pub(crate) results: BTreeMap<ContainerId, ProbeResults>,
    /// Containers that must be restarted.
    pub(crate) failed: BTreeMap<ContainerId, FailedProbe>,
}

impl ProbeBook {
    /// Takes in a result of a container that the picture shows; others are dropped.
    pub(crate) fn take(
        &mut self,
        observed: Option<&ObservedPod>,
        container: &ContainerId,
        kind: ProbeKind,
        result: ProbeResult,
    ) {
        let is_shown = |id: &ContainerId| {
            observed.is_some_and(|observed| observed.containers.iter().any(|shown| shown.id() == id))
        };
        self.results.retain(|id, _| is_shown(id));
        self.failed.retain(|id, _| is_shown(id));
        if !is_shown(container) {
            return;
        }
        let failed = match kind {
            ProbeKind::Readiness => {
                self.results.entry(container.clone()).or_default().readiness = result;
                return;
            }
            ProbeKind::Startup => {
                self.results.entry(container.clone()).or_default().startup = result;
                FailedProbe::Startup
            }
            ProbeKind::Liveness => FailedProbe::Liveness,
        };
        if result == ProbeResult::Failure {
            self.failed.insert(container.clone(), failed);
        }
    }

    /// Running containers whose startup probe has not succeeded.
    pub(crate) fn unstarted(&self, pod: &Pod, observed: Option<&ObservedPod>) -> BTreeSet<ContainerId> {
        let waiting = running(pod, observed).filter(|(spec, instance)| {
            spec.startup_probe.is_some() && self.of(instance).startup != ProbeResult::Success
        });
        waiting.map(|(_, instance)| instance.id().clone()).collect()
    }

    /// True when a container that ran before the agent has a probe that decides about its status and has not answered.
    pub(crate) fn awaits_adopted(&self, pod: &Pod, observed: Option<&ObservedPod>, began: WallTime) -> bool {
        running(pod, observed).filter(|(_, instance)| instance.status.started_at < began).any(
            |(spec, instance)| {
                let results = self.of(instance);
                (spec.startup_probe.is_some() && results.startup == ProbeResult::Unknown)
                    || (spec.readiness_probe.is_some() && results.readiness == ProbeResult::Unknown)
            },
        )
    }

    fn of(&self, instance: &ObservedContainer) -> ProbeResults {
        self.results.get(instance.id()).copied().unwrap_or_default()
    }
}

/// The running containers with their specs.
fn running<'a>(
    pod: &'a Pod,
    observed: Option<&'a ObservedPod>,
) -> impl Iterator<Item = (&'a Container, &'a ObservedContainer)> {
    let containers = pod.container_refs().into_iter();
    containers.filter_map(move |container| {
        let latest = observed?.latest(&container.spec.name)?;
        (latest.state() == ContainerState::Running).then_some((container.spec, latest))
    })
}
