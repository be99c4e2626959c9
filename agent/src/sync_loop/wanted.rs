//! What the sources want: pod sets become steps of the workers, and a new pod is admitted or rejected.

use std::sync::Arc;

use core_pods::admission::{self, Admission};
use core_pods::allocation::RetryTrigger;
use core_pods::merge::{PodSetChange, SourcedPod};
use core_pods::mirror::is_mirror;
use core_pods::worker::{Event, Sighting, StopReason};
use core_types::api::Pod;
use core_types::view::{Lifecycle, PodSource};
use core_types::{PodExt, PodUid};

use super::{SyncLoop, sighting_of};
use crate::events::{Happening, Tally};
use crate::record::Rejection;
use crate::settings::Settings;
use crate::sources::SourceSet;
use crate::status;

impl SyncLoop {
    pub(super) fn take_source(&mut self, set: SourceSet) {
        let pods = match set.source {
            PodSource::Api => self.part_with_mirrors(set.pods),
            PodSource::File | PodSource::Http | PodSource::Local => set.pods,
        };
        let change = self.sources.replace(set.source, pods, self.outside.clock.wall());
        self.problems.insert(set.source, set.problems);
        let of_manifests = self.problems.values().flatten().cloned();
        self.publisher.change().source_problems = of_manifests.chain(self.sources.problems()).collect();
        self.take_change(change);
        if self.sources.all_ready() {
            let (sources, workers) = (&self.sources, &self.workers);
            self.sizes.retain(|uid| sources.get(uid).is_some() || workers.get(uid).is_some());
        }
        self.look_for_orphans();
    }

    /// Shows the mirrors among the API server's pods, and gives the others.
    fn part_with_mirrors(&mut self, pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        let (mirrors, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_mirror(pod));
        let mirrors = mirrors.into_iter().map(|pod| (pod.key(), pod)).collect();
        self.publisher.change().mirrors = Some(mirrors);
        pods
    }

    pub(super) fn take_change(&mut self, change: PodSetChange) {
        for refused in &change.refused {
            tracing::error!("{}", refused.message);
        }
        for SourcedPod { pod, .. } in change.removed {
            let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
            self.sizes.release(&pod, &pod.uid(), wall);
            self.sizes.hasten(RetryTrigger::PodsRemoved, mono);
            self.step(Event::Stop { uid: pod.uid(), reason: StopReason::Removed, grace_secs: None });
        }
        for SourcedPod { pod, source } in change.added {
            self.add_pod(pod, source);
        }
        let mut resized = self.judge_resizes(RetryTrigger::PodsAdded);
        let updated: Vec<Arc<Pod>> = change.updated.iter().map(|updated| Arc::clone(&updated.pod)).collect();
        resized.extend(self.judge_updated(&updated));
        for SourcedPod { pod, source } in change.updated {
            self.step(Event::Desired { pod, source });
        }
        for uid in resized {
            self.step(Event::Nudge { uid });
        }
        for SourcedPod { pod, source } in change.deleted {
            let uid = pod.uid();
            self.stop_deleted(&pod);
            self.step(Event::Desired { pod, source });
            // A pod that had ended before moves no more, and is shown as deleted all the same.
            self.refresh(&uid);
        }
        for SourcedPod { pod, .. } in change.reconciled {
            let uid = pod.uid();
            self.step(Event::Renewed { pod });
            self.refresh(&uid);
        }
    }

    pub(super) fn add_pod(&mut self, pod: Arc<Pod>, source: PodSource) {
        let uid = pod.uid();
        let active: Vec<Arc<Pod>> = self
            .workers
            .iter()
            .filter(|(other, worker)| **other != uid && worker.lifecycle() < Lifecycle::Terminating)
            .filter_map(|(_, worker)| Some(self.sizes.given(worker.pod()?)))
            .collect();
        let end = end_of(&pod);
        // What it was given before the agent was started is what it has.
        let verdict = match end {
            Some(_) => Admission::Admit,
            None => admit(&self.settings, &self.sizes.given(&pod), &active),
        };
        if verdict == Admission::Admit && end.is_none() {
            self.sizes.change(|allocations| allocations.admit(&pod));
        }
        let grace_secs = pod.metadata.deletion_grace_period_seconds;
        self.step(Event::Desired { pod, source });
        if let Some(reason) = end {
            self.step(Event::Stop { uid: uid.clone(), reason, grace_secs });
        }
        if let Admission::Reject { reason, message } = verdict {
            let reason = reason.as_str().into_owned();
            self.record_event(
                &uid,
                Happening::warning(reason.clone(), message.clone()).counted(Tally::AdmissionRejection),
            );
            self.records.entry(uid.clone()).or_default().rejection = Some(Rejection { reason, message });
            self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Rejected, grace_secs: None });
        }
        // Only now may it begin: a pod that was rejected must not be set up first.
        self.show_last_picture(&uid);
        self.refresh(&uid);
    }

    fn stop_deleted(&mut self, pod: &Pod) {
        let grace_secs = pod.metadata.deletion_grace_period_seconds;
        self.step(Event::Stop { uid: pod.uid(), reason: StopReason::Deleted, grace_secs });
    }

    /// Tells the machine what is known of a pod that it has just met.
    pub(super) fn show_last_picture(&mut self, uid: &PodUid) {
        let Some(relisted_at) = self.seen.relisted_at.filter(|_| self.seen.covers(uid)) else { return };
        let sighting = match self.publisher.node().observed.get(uid) {
            Some(observed) => sighting_of(observed, true),
            None => Sighting { observed_at: relisted_at, stopped: true, changed: true },
        };
        self.step(Event::Seen { uid: uid.clone(), sighting });
    }
}

/// Why a pod that the API server tells of must not begin any more.
fn end_of(pod: &Pod) -> Option<StopReason> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(StopReason::Deleted);
    }
    pod.status.as_ref().is_some_and(status::is_terminal).then_some(StopReason::Completed)
}

/// Whether this node takes a pod beside the others.
pub(super) fn admit(settings: &Settings, pod: &Pod, others: &[Arc<Pod>]) -> Admission {
    let node = admission::NodeFacts {
        name: &settings.host.node_name,
        labels: &settings.node.labels,
        allocatable: &settings.allocatable,
        sysctls: &settings.sysctls,
        app_armor: settings.host.app_armor,
        pod_level_resources: settings.resources.pod_level,
    };
    admission::admit(pod, others, &node)
}
