//! What pods were given of the node, and what of it is in force (CONTRACT 3.25): the sync loop's books, and how they are
//! kept over a restart.
//!
//! Guarantees: every change reaches the file in the end; a pod that is gone leaves nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_cm::{PodResources, ResourceBook};
use core_metrics::Registry;
use core_pods::allocation::{Allocations, ResizeNews, RetryTrigger, Round};
use core_types::api::Pod;
use core_types::{MonoTime, PodUid, WallTime};
use ports::Checkpoints;
use tokio::sync::watch;

use crate::active::Active;
use crate::checkpoints::{self, Keeper};
use crate::metrics::ResizeMetrics;

/// The books.
pub(crate) struct Sizes {
    allocations: Allocations,
    /// Those that count for the QoS cgroups.
    pub(crate) active: Active,
    actuated: ResourceBook,
    /// When something of a pod was put in force last: older pictures do not show it.
    changed_at: BTreeMap<PodUid, MonoTime>,
    keep_allocated: Keeper,
    /// Revision of the allocations that was handed over last.
    kept_revision: u64,
    keep_actuated: Keeper,
    /// What makes the next round of judging happen before its time.
    trigger: Option<(RetryTrigger, MonoTime)>,
    pub(crate) metrics: ResizeMetrics,
}

/// What is written of the books, for the tasks that write.
pub(crate) struct Kept {
    pub(crate) allocated: watch::Receiver<Arc<ResourceBook>>,
    pub(crate) actuated: watch::Receiver<Arc<ResourceBook>>,
}

impl Sizes {
    /// Empty books, and what the writing tasks read.
    pub(crate) fn new(registry: &Registry) -> (Self, Kept) {
        let (keep_allocated, allocated) = watch::channel(Arc::default());
        let (keep_actuated, actuated) = watch::channel(Arc::default());
        let sizes = Self {
            allocations: Allocations::default(),
            active: Active::default(),
            actuated: ResourceBook::new(),
            changed_at: BTreeMap::new(),
            keep_allocated,
            kept_revision: 0,
            keep_actuated,
            trigger: None,
            metrics: ResizeMetrics::new(registry),
        };
        (sizes, Kept { allocated, actuated })
    }

    /// Takes up what an earlier life of the agent wrote.
    pub(crate) async fn restore(&mut self, checkpoints: &dyn Checkpoints) {
        self.allocations =
            Allocations::restored(checkpoints::load_book(checkpoints, checkpoints::ALLOCATED).await);
        self.actuated = checkpoints::load_book(checkpoints, checkpoints::ACTUATED).await;
    }

    pub(crate) fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// The pod as it was given its resources.
    pub(crate) fn given(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        self.allocations.given(pod)
    }

    /// What of a pod is in force; `None` before its first sync.
    pub(crate) fn actuated(&self, uid: &PodUid) -> Option<&PodResources> {
        self.actuated.get(uid).map(Arc::as_ref)
    }

    /// When something of a pod was put in force last in this life of the agent.
    pub(crate) fn changed_at(&self, uid: &PodUid) -> Option<MonoTime> {
        self.changed_at.get(uid).copied()
    }

    /// Notes what is in force.
    pub(crate) fn set_actuated(&mut self, uid: &PodUid, resources: PodResources, now: MonoTime) {
        self.changed_at.insert(uid.clone(), now);
        self.actuated.insert(uid.clone(), Arc::new(resources));
        self.keep_actuated.send_replace(Arc::new(self.actuated.clone()));
    }

    /// Lets the allocations change, and keeps what came of it.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Allocations) -> T) -> T {
        let result = change(&mut self.allocations);
        if self.kept_revision != self.allocations.revision() {
            self.kept_revision = self.allocations.revision();
            self.keep_allocated.send_replace(Arc::new(self.allocations.book().clone()));
        }
        result
    }

    /// Judges what is pending.
    pub(crate) fn judge(&mut self, round: &Round<'_>) -> Vec<ResizeNews> {
        self.trigger = None;
        self.change(|allocations| allocations.judge(round))
    }

    /// Has what is pending judged soon: something became free.
    pub(crate) fn hasten(&mut self, trigger: RetryTrigger, now: MonoTime) {
        if self.allocations.has_pending() {
            self.trigger.get_or_insert((trigger, now));
        }
    }

    /// When to judge, and what for; `None` when nothing is pending.
    pub(crate) fn next_round(&self) -> Option<(RetryTrigger, MonoTime)> {
        let periodic = self.allocations.next_deadline().map(|at| (RetryTrigger::Periodic, at));
        self.trigger.filter(|_| self.allocations.has_pending()).or(periodic)
    }

    /// No source wants the pod any more: what it was given is free.
    pub(crate) fn release(&mut self, pod: &Pod, uid: &PodUid, now: WallTime) {
        let ended = self.change(|allocations| allocations.remove(uid));
        self.metrics.ended(pod, ended.as_ref(), now);
    }

    /// Nothing of the pod runs any more.
    pub(crate) fn end(&mut self, pod: Option<&Pod>, uid: &PodUid, now: WallTime) {
        let ended = self.change(|allocations| allocations.end(uid));
        if let Some(pod) = pod {
            self.metrics.ended(pod, ended.as_ref(), now);
        }
    }

    /// Nothing is left of the pod.
    pub(crate) fn forget(&mut self, uid: &PodUid) {
        self.changed_at.remove(uid);
        if self.actuated.remove(uid).is_some() {
            self.keep_actuated.send_replace(Arc::new(self.actuated.clone()));
        }
    }

    /// Forgets pods that are not among `kept`: those that went while the agent was away.
    pub(crate) fn retain(&mut self, kept: impl Fn(&PodUid) -> bool) {
        self.change(|allocations| allocations.retain(&kept));
        if self.actuated.keys().any(|uid| !kept(uid)) {
            self.actuated.retain(|uid, _| kept(uid));
            self.keep_actuated.send_replace(Arc::new(self.actuated.clone()));
        }
    }
}
