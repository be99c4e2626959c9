//! What the node's protection says: pods end because the node is short or the machine goes down, and processes were killed for lack
//! of memory.

use core_pods::worker::{Event, PodWorker, StopReason};
use core_types::pressure::Pressures;
use core_types::view::Lifecycle;
use core_types::{ContainerRef, Invariant, PodExt, PodUid, Shutdown};

use super::SyncLoop;
use crate::events::{Happening, Tally};
use crate::eviction::{EvictionNews, EvictionOrder};
use crate::node_shutdown::ShutdownNews;
use crate::oom_watch::OomNews;
use crate::record::Eviction;

/// Reason of evicted pods, in their status and in the event.
const EVICTED: &str = "Evicted";
/// Reason and message of the status of pods that end because the machine goes down.
const TERMINATED: &str = "Terminated";
const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// Reason of the event of a container in which a process was killed.
const OOM_KILLED: &str = "OOMKilled";

/// What keeps new pods off the node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Straits {
    pub(super) pressures: Pressures,
    pub(super) shutdown: Shutdown,
}

impl SyncLoop {
    /// What keeps new pods off, as far as it is known.
    pub(super) fn straits(&self) -> Straits {
        let node = self.publisher.node();
        Straits { pressures: node.pressures.unwrap_or_default(), shutdown: node.shutdown }
    }

    pub(super) fn take_eviction(&mut self, news: EvictionNews) {
        match news {
            EvictionNews::Pressures(pressures) => self.publisher.change().pressures = Some(pressures),
            EvictionNews::Decisions(decisions) => self.publisher.change().evictions = decisions,
            EvictionNews::Evict(order) => self.evict(*order),
        }
    }

    fn evict(&mut self, order: EvictionOrder) {
        let EvictionOrder { uid, message, disruption, annotations, signal, grace_secs } = order;
        let may_end =
            self.workers.get(&uid).is_some_and(|worker| worker.lifecycle() < Lifecycle::Terminating);
        if !may_end {
            // It ended meanwhile.
            return;
        }
        if self.workers.get(&uid).and_then(PodWorker::pod).is_some_and(|pod| core_cm::is_critical(pod)) {
            return self.report_broken(Invariant::CriticalSpared);
        }
        let why = Happening::warning(EVICTED, message.clone()).annotated(annotations);
        self.record_event(&uid, why.counted(Tally::Eviction { signal }));
        let eviction = Eviction { reason: EVICTED.to_owned(), message, disruption };
        self.records.entry(uid.clone()).or_default().eviction = Some(eviction);
        let grace_secs = Some(grace_secs);
        self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Evicted, grace_secs });
        self.refresh(&uid);
    }

    pub(super) fn take_shutdown(&mut self, news: ShutdownNews) {
        match news {
            ShutdownNews::Changed(shutdown) => self.publisher.change().shutdown = shutdown,
            ShutdownNews::Stop { uid, grace_secs } => self.stop_for_shutdown(uid, grace_secs),
        }
    }

    /// A pod that ends already keeps its own reason, and may only get less time.
    fn stop_for_shutdown(&mut self, uid: PodUid, grace_secs: i64) {
        let Some(worker) = self.workers.get(&uid) else { return };
        if worker.lifecycle() < Lifecycle::Terminating {
            let message = SHUTDOWN_MESSAGE.to_owned();
            let eviction = Eviction { reason: TERMINATED.to_owned(), disruption: message.clone(), message };
            self.records.entry(uid.clone()).or_default().eviction = Some(eviction);
        }
        let grace_secs = Some(grace_secs);
        self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Evicted, grace_secs });
        self.refresh(&uid);
    }

    pub(super) fn take_oom_kill(&mut self, news: OomNews) {
        let OomNews { uid, container, message } = news;
        let Some(worker) = self.workers.get(&uid) else { return };
        let observed = self.publisher.node().observed.get(&uid);
        let found = observed.and_then(|pod| pod.containers.iter().find(|one| *one.id() == container));
        let name = found.map(|container| container.name().to_owned()).unwrap_or_default();
        let containers = worker.pod().map(|pod| pod.container_refs()).unwrap_or_default();
        let of_name = containers.iter().find(|container| container.spec.name == name);
        let place = of_name.map(ContainerRef::field_path).unwrap_or_default();
        let known = observed.map(|pod| pod.containers.iter().map(|one| one.id().clone()).collect::<Vec<_>>());
        self.record_event(&uid, Happening::warning(OOM_KILLED, message.clone()).of(place));
        let record = self.records.entry(uid.clone()).or_default();
        // What the runtime has forgotten shows in no status any more.
        record.oom_kills.retain(|id, _| known.as_ref().is_some_and(|known| known.contains(id)));
        record.oom_kills.insert(container, message);
        self.refresh(&uid);
    }
}
