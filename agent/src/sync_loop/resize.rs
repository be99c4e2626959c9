//! Resizes: when they are judged, what is told of them, and when they are done (CONTRACT 3.25).

use std::collections::BTreeMap;
use std::sync::Arc;

use core_cm::resize::{Novelty, is_resizing};
use core_pods::admission::Room;
use core_pods::allocation::{
    NewsKind, ResizeNews, RetryTrigger, Round, requested_resizes, resize_completed, resize_error,
};
use core_pods::worker::Event;
use core_types::api::Pod;
use core_types::view::Lifecycle;
use core_types::{PodExt, PodUid};

use super::SyncLoop;
use super::protection::Straits;
use crate::events::Happening;

impl SyncLoop {
    /// The specs of these pods changed: counts what they ask for, and judges it. Gives the pods that must be synced.
    pub(super) fn judge_updated(&mut self, updated: &[Arc<Pod>]) -> Vec<PodUid> {
        for pod in updated {
            let uid = pod.uid();
            let Some(old) = self.workers.get(&uid).and_then(|worker| worker.pod()) else { continue };
            if !self.sizes.allocations().book().contains_key(&uid) {
                continue;
            }
            for requested in requested_resizes(old, pod) {
                self.sizes.metrics.requested(requested);
            }
            if let Some(news) = self.sizes.change(|allocations| allocations.update(pod)) {
                self.take_resize_news(vec![news], RetryTrigger::PodUpdated);
            }
        }
        self.judge_resizes(RetryTrigger::PodUpdated)
    }

    /// Judges what is pending. Gives the pods that must be synced for it.
    pub(super) fn judge_resizes(&mut self, trigger: RetryTrigger) -> Vec<PodUid> {
        if !self.sizes.allocations().has_pending() {
            return Vec::new();
        }
        let now = (self.outside.clock.now(), self.outside.clock.wall());
        if !self.sources.all_ready() {
            self.sizes.change(|allocations| allocations.postpone(now.0));
            return Vec::new();
        }
        let pods = self.wanted_pods();
        let settings = Arc::clone(&self.settings);
        let seen = self.inputs.node.borrow().clone();
        // What runs already may grow on a node that is short, as far as it has room.
        let strict_groups = self.inputs.runtime.borrow().strict_groups();
        let known = (&*settings, &seen, strict_groups, Straits::default());
        let judge = |pod: &Pod, others: &[Arc<Pod>]| super::wanted::admit(known, pod, others, Room::AsItIs);
        let (node, rules) = (&settings.node_facts, settings.resources.resize);
        let news = self.sizes.judge(&Round { pods: &pods, judge: &judge, node, rules, now });
        self.take_resize_news(news, trigger)
    }

    /// Pods that hold resources of the node, as their sources want them.
    fn wanted_pods(&self) -> BTreeMap<PodUid, Arc<Pod>> {
        let active = self.workers.iter().filter(|(_, worker)| worker.lifecycle() < Lifecycle::Terminating);
        let newest = |uid: &PodUid, known: Option<&Arc<Pod>>| {
            self.sources.get(uid).map(|wanted| &wanted.pod).or(known).cloned()
        };
        active.filter_map(|(uid, worker)| Some((uid.clone(), newest(uid, worker.pod())?))).collect()
    }

    fn take_resize_news(&mut self, news: Vec<ResizeNews>, trigger: RetryTrigger) -> Vec<PodUid> {
        let now = self.outside.clock.wall();
        let mut started = Vec::new();
        for ResizeNews { uid, kind, message, waited } in news {
            let event = match kind {
                NewsKind::Started => Some(Happening::normal("ResizeStarted", message)),
                NewsKind::Deferred => Some(Happening::warning("ResizeDeferred", message)),
                NewsKind::Infeasible(why) => {
                    self.sizes.metrics.infeasible(why);
                    Some(Happening::warning("ResizeInfeasible", message))
                }
                NewsKind::Reverted => None,
            };
            if let Some(pod) = self.sources.get(&uid).map(|wanted| Arc::clone(&wanted.pod)) {
                self.sizes.metrics.judged(&pod, kind, waited.as_ref(), trigger, now);
            }
            // What was said before is not said again.
            if let Some(event) = event.filter(|event| !event.message.is_empty()) {
                self.record_event(&uid, event);
            }
            if kind == NewsKind::Started {
                started.push(uid.clone());
            }
            self.refresh(&uid);
        }
        self.count_resizes();
        started
    }

    /// Judges what is due, and syncs what was accepted.
    pub(super) fn judge_when_due(&mut self) {
        let now = self.outside.clock.now();
        let due = self.sizes.next_round().filter(|(_, at)| *at <= now);
        if let Some((trigger, _)) = due {
            for uid in self.judge_resizes(trigger) {
                self.step(Event::Nudge { uid });
            }
        }
    }

    /// An operation tried to resize its pod.
    pub(super) fn take_resized(&mut self, uid: &PodUid, result: Result<(), String>, millis: u64) {
        self.sizes.metrics.tried(result.is_ok(), millis);
        // Even one that failed may have changed something.
        self.looks.pods.add_closer(uid.clone());
        let Err(message) = result else { return };
        let Some(pod) =
            self.workers.get(uid).and_then(|worker| worker.pod()).map(|pod| self.sizes.given(pod))
        else {
            return;
        };
        let (wall, generation) = (self.outside.clock.wall(), pod.metadata.generation);
        let novelty = self
            .sizes
            .change(|allocations| allocations.conditions_mut(uid).fail(message.clone(), generation, wall));
        if novelty == Novelty::New {
            self.record_event(
                uid,
                Happening::warning("ResizeError", resize_error(&pod, generation, &message)),
            );
        }
        self.count_resizes();
        self.refresh(uid);
    }

    /// Compares what runs with what was given: a resize goes on, or is done once a picture shows it.
    pub(super) fn follow_resize(&mut self, uid: &PodUid) {
        let Some(worker) = self.workers.get(uid).filter(|worker| worker.lifecycle() == Lifecycle::Syncing)
        else {
            return;
        };
        let (Some(pod), Some(observed)) = (worker.pod(), self.publisher.node().observed.get(uid)) else {
            return;
        };
        let Some(actuated) = self.sizes.actuated(uid) else { return };
        let given = self.sizes.given(pod);
        let is_known = self.sizes.allocations().conditions(uid).is_some_and(|own| own.in_progress.is_some());
        let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
        if is_resizing(&given, observed, actuated) {
            if !is_known {
                let generation = given.metadata.generation;
                self.sizes.change(|allocations| allocations.conditions_mut(uid).go_on(generation, wall));
                self.count_resizes();
            }
            return;
        }
        let is_seen = self.sizes.changed_at(uid).is_none_or(|changed| observed.observed_at >= changed);
        if !is_known || !is_seen {
            return;
        }
        let done = self.sizes.change(|allocations| allocations.conditions_mut(uid).complete());
        let generation = done.and_then(|done| done.generation);
        self.record_event(uid, Happening::normal("ResizeCompleted", resize_completed(&given, generation)));
        self.sizes.hasten(RetryTrigger::PodResized, mono);
        self.count_resizes();
    }

    /// A pod has ended: its resizes too, and others may have room now.
    pub(super) fn end_resizes(&mut self, uid: &PodUid, to: Lifecycle) {
        let pod = self.workers.get(uid).and_then(|worker| worker.pod()).cloned();
        let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
        match to {
            Lifecycle::Waiting | Lifecycle::Finished => self.sizes.forget(uid),
            Lifecycle::Terminating | Lifecycle::Terminated => {
                self.sizes.end(pod.as_deref(), uid, wall);
                self.sizes.hasten(RetryTrigger::PodTerminated, mono);
            }
            Lifecycle::Syncing => return,
        }
        self.count_resizes();
    }

    fn count_resizes(&self) {
        let pods = |uid: &PodUid| self.workers.get(uid).and_then(|worker| worker.pod()).map(Arc::as_ref);
        self.sizes.metrics.count(self.sizes.allocations().all_conditions(), &pods);
    }
}
