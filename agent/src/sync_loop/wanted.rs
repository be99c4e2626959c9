//! What the sources want: pod sets become steps of the workers, and a new pod is admitted or rejected.

use std::sync::Arc;
use std::time::Duration;

use core_pods::admission::{self, Admission, Room, StrictGroups};
use core_pods::allocation::RetryTrigger;
use core_pods::merge::{PodSetChange, SourcedPod};
use core_pods::mirror::is_mirror;
use core_pods::worker::{Event, Sighting, StopReason};
use core_types::api::Pod;
use core_types::view::{Lifecycle, OfflineStart, PodSource};
use core_types::{PodExt, PodUid};

use super::protection::Straits;
use super::{SyncLoop, sighting_of};
use crate::events::{Happening, Tally};
use crate::node::SeenNode;
use crate::record::{Eviction, Rejection};
use crate::settings::Settings;
use crate::sources::{SourceSet, Standing};
use crate::status;

const PREEMPTING: &str = "Preempting";
const PREEMPTED: &str = "Preempted in order to admit critical pod";
/// How long the end of a pod is waited for at least (CONTRACT 3.6).
const LEAST_KILL_WAIT: Duration = Duration::from_secs(10);

impl SyncLoop {
    pub(super) fn take_source(&mut self, set: SourceSet) {
        let now = self.outside.clock.wall();
        let change = match (set.standing, set.source) {
            (Standing::Remembered { saved_at }, _) => {
                self.begin_offline(set.pods.len(), OfflineStart { since: now, saved_at });
                self.sources.remember(set.source, set.pods, now)
            }
            (Standing::Told, PodSource::Api) => {
                let pods = self.part_with_mirrors(set.pods);
                let change = self.sources.replace(set.source, pods, now);
                self.end_offline(&change);
                change
            }
            (Standing::Told, PodSource::File | PodSource::Http | PodSource::Local) => {
                self.sources.replace(set.source, set.pods, now)
            }
        };
        self.problems.insert(set.source, set.problems);
        let of_manifests = self.problems.values().flatten().cloned();
        self.publisher.change().source_problems = of_manifests.chain(self.sources.problems()).collect();
        self.take_change(change);
        if self.sources.all_ready() && !self.publisher.node().sources_heard {
            self.publisher.change().sources_heard = true;
            let (sources, workers) = (&self.sources, &self.workers);
            self.sizes.retain(|uid| sources.get(uid).is_some() || workers.get(uid).is_some());
        }
        self.look_for_orphans();
    }

    fn begin_offline(&mut self, pods: usize, offline: OfflineStart) {
        self.publisher.change().offline = Some(offline);
        self.recorder.work().remembered(pods);
        self.recorder.node(&Happening::warning(
            "OfflineStart",
            format!(
                "The API server does not answer: {pods} pods are started as it told them before {}",
                offline.saved_at
            ),
        ));
    }

    /// The API server is back.
    fn end_offline(&mut self, change: &PodSetChange) {
        if self.publisher.change().offline.take().is_none() {
            return;
        }
        self.recorder.work().remembered(0);
        let (removed, added) = (change.removed.len(), change.added.len());
        self.recorder.node(&Happening::normal(
            "OfflineStartEnded",
            format!(
                "The API server tells its pods again: {removed} that were started without it are not wanted any more, {added} are new"
            ),
        ));
    }

    /// Shows the mirrors among the API server's pods, and gives the others.
    fn part_with_mirrors(&mut self, pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        let (mirrors, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_mirror(pod));
        let mirrors = mirrors.into_iter().map(|pod| (pod.key(), pod)).collect();
        self.publisher.change().mirrors = Some(Arc::new(mirrors));
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
        let now = self.outside.clock.now();
        self.records.entry(uid.clone()).or_default().start.seen(now);
        let active: Vec<Arc<Pod>> = self
            .workers
            .iter()
            .filter(|(other, worker)| **other != uid && worker.lifecycle() < Lifecycle::Terminating)
            .filter_map(|(_, worker)| Some(self.sizes.given(worker.pod()?)))
            .collect();
        let end = end_of(&pod);
        // What a person runs beside the node's own pods ends none of them.
        let room = if source == PodSource::Local { Room::AsItIs } else { Room::Make };
        // What it was given before the agent was started is what it has.
        let verdict = match end {
            Some(_) => Admission::Admit,
            None => self.judge(&self.sizes.given(&pod), &active, room),
        };
        if end.is_none() && !matches!(verdict, Admission::Reject { .. }) {
            self.sizes.change(|allocations| allocations.admit(&pod));
        }
        if let Admission::Preempt { victims, resource } = &verdict {
            self.preempt(&uid, victims, resource);
        }
        let grace_secs = pod.metadata.deletion_grace_period_seconds;
        self.step(Event::Desired { pod, source });
        if let Some(reason) = end {
            self.step(Event::Stop { uid: uid.clone(), reason, grace_secs });
        }
        match verdict {
            Admission::Admit | Admission::Preempt { .. } => {}
            Admission::Reject { reason, message } => {
                let reason = reason.as_str().into_owned();
                let why = Happening::warning(reason.clone(), message.clone());
                self.record_event(&uid, why.counted(Tally::AdmissionRejection));
                self.records.entry(uid.clone()).or_default().rejection = Some(Rejection { reason, message });
                self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Rejected, grace_secs: None });
            }
        }
        // Only now may it begin: a pod that was rejected must not be set up first.
        self.show_last_picture(&uid);
        self.refresh(&uid);
    }

    fn stop_deleted(&mut self, pod: &Pod) {
        let grace_secs = pod.metadata.deletion_grace_period_seconds;
        self.step(Event::Stop { uid: pod.uid(), reason: StopReason::Deleted, grace_secs });
    }

    /// Ends pods so that a critical one has room, which waits for them (CONTRACT 3.4).
    fn preempt(&mut self, uid: &PodUid, victims: &[PodUid], resource: &str) {
        let mut longest = Duration::ZERO;
        for victim in victims {
            let grace_secs =
                self.workers.get(victim).and_then(|worker| worker.pod()).map(|pod| pod.grace_period_secs());
            let grace =
                Duration::from_secs(grace_secs.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0));
            longest = longest.max(grace);
            let why = Happening::warning(PREEMPTING, PREEMPTED);
            self.record_event(victim, why.counted(Tally::Preemption { resource: resource.to_owned() }));
            self.records.entry(victim.clone()).or_default().eviction = Some(Eviction {
                reason: PREEMPTING.to_owned(),
                message: PREEMPTED.to_owned(),
                disruption: "Pod was preempted by Kubelet to accommodate a critical pod.".to_owned(),
            });
            self.step(Event::Stop { uid: victim.clone(), reason: StopReason::Evicted, grace_secs: None });
            self.refresh(victim);
        }
        let at_most = self.outside.clock.now() + LEAST_KILL_WAIT.max(longest.mul_f64(1.5));
        let until_ended = victims.iter().cloned().collect();
        self.step(Event::Hold { uid: uid.clone(), until_ended, at_most });
    }

    /// Whether this node takes a pod beside the others.
    fn judge(&self, pod: &Pod, others: &[Arc<Pod>], room: Room) -> Admission {
        let strict_groups = self.inputs.runtime.borrow().strict_groups();
        let node = self.inputs.node.borrow();
        admit((&self.settings, &node, strict_groups, self.straits()), pod, others, room)
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
pub(super) fn admit(
    (settings, node, strict_groups, straits): (&Settings, &SeenNode, StrictGroups, Straits),
    pod: &Pod,
    others: &[Arc<Pod>],
    room: Room,
) -> Admission {
    let node = admission::NodeFacts {
        name: &settings.host.node_name,
        labels: node.labels(settings),
        taints: node.taints(settings),
        allocatable: &settings.allocatable,
        sysctls: &settings.sysctls,
        app_armor: settings.host.app_armor,
        strict_groups,
        pod_level_resources: settings.resources.pod_level,
        restart_rules: settings.resources.gates.restart_rules,
        pressures: straits.pressures,
        shutdown: straits.shutdown,
    };
    admission::admit(pod, others, &node, room)
}
