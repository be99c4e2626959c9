//! What pods were given of the node, and the queue of resizes that wait for it (CONTRACT 3.25).
//!
//! ```text
//! new pod --admitted--> given what its spec says
//! spec changes --differs from what was given--> pending --judged--> given   (resize starts)
//!                                                  ^  |---> Deferred   (judged again when something changes, and by time)
//!                                                  |  +---> Infeasible (judged again when the spec changes)
//! ```
//!
//! Reads specs, what was given before (a checkpoint), the judgement of admission. Gives news, worded as upstream words its
//! events. Guarantees: a pod is never given what admission refuses; what it was given stays until something else is given;
//! the pending ones are judged in upstream's order: those that ask for no more, then by priority, QoS class and waiting time.
//!
//! Left out: carrying a resize out (`core_cm::resize`), sizes of memory volumes.

mod change;
mod feasible;
mod order;
mod requested;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_cm::resize::{Novelty, PendingReason, ResizeCondition, ResizeConditions};
use core_cm::{NodeFacts, PodResources, ResourceBook};
use core_types::api::{Pod, PodStatus};
use core_types::{MonoTime, PodExt, PodUid, WallTime};

use crate::admission::Admission;

pub use change::{SpecChange, spec_change};
pub use feasible::{Infeasible, Managers, PodLevelResize, ResizeRules, StaticPolicy};
pub use requested::{RequestedResize, requested_resizes};
pub use text::{resize_completed, resize_error};

/// Time until pending resizes are judged again after the sources were not ready.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// Time until they are judged again by themselves.
const RETRY: Duration = Duration::from_secs(180);

/// What makes pending resizes be judged again; the label `retry_trigger` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryTrigger {
    /// Pods came.
    PodsAdded,
    /// A pod's spec changed.
    PodUpdated,
    /// Pods went.
    PodsRemoved,
    /// A pod ended.
    PodTerminated,
    /// A pod got smaller.
    PodResized,
    /// Time passed.
    Periodic,
}

impl RetryTrigger {
    /// Upstream's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodsAdded => "pods_added",
            Self::PodUpdated => "pod_updated",
            Self::PodsRemoved => "pods_removed",
            Self::PodTerminated => "pod_terminated",
            Self::PodResized => "pod_resized",
            Self::Periodic => "periodic_retry",
        }
    }
}

/// What a round of judging is made from.
pub struct Round<'a> {
    /// Pods that hold resources of the node, as their sources want them.
    pub pods: &'a BTreeMap<PodUid, Arc<Pod>>,
    /// Whether admission takes a pod beside others; these have what they were given.
    pub judge: &'a dyn Fn(&Pod, &[Arc<Pod>]) -> Admission,
    /// Facts of the node.
    pub node: &'a NodeFacts,
    /// What may be resized at all.
    pub rules: ResizeRules,
    /// Both times.
    pub now: (MonoTime, WallTime),
}

/// What came of a pending resize.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeNews {
    /// Of which pod.
    pub uid: PodUid,
    /// What.
    pub kind: NewsKind,
    /// Text of its event; empty for none.
    pub message: String,
    /// The condition `PodResizePending` that ended with it.
    pub waited: Option<ResizeCondition>,
}

/// Kinds of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewsKind {
    /// The pod was given its new size: it must be synced (event `ResizeStarted`).
    Started,
    /// It waits (event `ResizeDeferred`).
    Deferred,
    /// It can never be (event `ResizeInfeasible`).
    Infeasible(Infeasible),
    /// The spec asks for what the pod has.
    Reverted,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Allocations {
    book: ResourceBook,
    /// Counts changes of the book.
    revision: u64,
    /// Pods whose resize is to be judged.
    pending: BTreeSet<PodUid>,
    conditions: BTreeMap<PodUid, ResizeConditions>,
    retry_at: Option<MonoTime>,
}

impl Allocations {
    /// What was given before the agent was started.
    pub fn restored(book: ResourceBook) -> Self {
        Self { book, ..Self::default() }
    }

    /// Everything that was given, for the checkpoint.
    pub fn book(&self) -> &ResourceBook {
        &self.book
    }

    /// Another number after every change of [`Allocations::book`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The pod as it was given its resources: what it is run and counted by.
    pub fn given(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        self.book.get(&pod.uid()).map_or_else(|| Arc::clone(pod), |own| own.on(pod))
    }

    /// Conditions of a pod.
    pub fn conditions(&self, uid: &PodUid) -> Option<&ResizeConditions> {
        self.conditions.get(uid)
    }

    /// Conditions of all pods that have some.
    pub fn all_conditions(&self) -> impl Iterator<Item = (&PodUid, &ResizeConditions)> {
        self.conditions.iter()
    }

    /// Conditions of a pod, to be changed by what becomes of its resize.
    pub fn conditions_mut(&mut self, uid: &PodUid) -> &mut ResizeConditions {
        self.conditions.entry(uid.clone()).or_default()
    }

    /// The pod was admitted: it is given what it asks for, unless it was given something before the agent was started. Then
    /// the rest of what it asks for is pending.
    pub fn admit(&mut self, pod: &Pod) {
        let uid = pod.uid();
        let given = self.book.entry(uid.clone()).or_insert_with(|| {
            self.revision += 1;
            Arc::new(PodResources::of(pod))
        });
        let mut told = pod.status.as_ref().map(told_before).unwrap_or_default();
        match given.differ_from(pod) {
            true => {
                self.pending.insert(uid.clone());
            }
            false => told.pending = None,
        }
        if told != ResizeConditions::default() {
            self.conditions.entry(uid).or_insert(told);
        }
    }

    /// The spec of an admitted pod changed. True when a resize has to be judged.
    pub fn update(&mut self, pod: &Pod) -> Option<ResizeNews> {
        let uid = pod.uid();
        let given = self.book.get(&uid)?;
        if given.differ_from(pod) {
            self.pending.insert(uid);
            return None;
        }
        self.pending.remove(&uid);
        let waited = self.conditions.get_mut(&uid)?.pending.take()?;
        Some(ResizeNews { uid, kind: NewsKind::Reverted, message: String::new(), waited: Some(waited) })
    }

    /// The pod has ended or is gone: what it was given is free.
    pub fn remove(&mut self, uid: &PodUid) -> Option<ResizeConditions> {
        if self.book.remove(uid).is_some() {
            self.revision += 1;
        }
        self.end(uid)
    }

    /// The pod has ended: its resizes too. What it was given stays known while it is shown.
    pub fn end(&mut self, uid: &PodUid) -> Option<ResizeConditions> {
        self.pending.remove(uid);
        self.conditions.remove(uid)
    }

    /// Forgets pods that are not among `kept`.
    pub fn retain(&mut self, kept: impl Fn(&PodUid) -> bool) {
        let before = self.book.len();
        self.book.retain(|uid, _| kept(uid));
        self.revision += u64::from(self.book.len() != before);
    }

    /// Whether resizes wait.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When pending resizes are to be judged by themselves; `None` when none waits.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.retry_at.filter(|_| self.has_pending())
    }

    /// Puts judging off because not every source has delivered its pods.
    pub fn postpone(&mut self, now: MonoTime) {
        self.retry_at = Some(now + FIRST_RETRY);
    }

    /// Judges every pending resize.
    pub fn judge(&mut self, round: &Round<'_>) -> Vec<ResizeNews> {
        self.retry_at = Some(round.now.0 + RETRY);
        let queue = order::in_order(&self.pending, round.pods, &self.book, &self.conditions);
        self.pending.clear();
        queue.iter().filter_map(|pod| self.judge_one(pod, round)).collect()
    }

    fn judge_one(&mut self, pod: &Arc<Pod>, round: &Round<'_>) -> Option<ResizeNews> {
        let uid = pod.uid();
        let given = self.given(pod);
        if Arc::ptr_eq(&given, pod) {
            return self.update(pod);
        }
        let generation = pod.metadata.generation;
        let refusal = match feasible::infeasible(pod, &given, round.node, round.rules) {
            Some(why) => Some((PendingReason::Infeasible, NewsKind::Infeasible(why), why.message())),
            None => match (round.judge)(pod, &self.others(&uid, round.pods)) {
                // No other pod ends for a resize.
                Admission::Admit | Admission::Preempt { .. } => None,
                Admission::Reject { message, .. } => {
                    Some((PendingReason::Deferred, NewsKind::Deferred, message))
                }
            },
        };
        let Some((reason, kind, message)) = refusal else {
            self.book.insert(uid.clone(), Arc::new(PodResources::of(pod)));
            self.revision += 1;
            let conditions = self.conditions_mut(&uid);
            let waited = conditions.pending.take();
            conditions.accept(generation, round.now.1);
            let message = text::resize_started(pod);
            return Some(ResizeNews { uid, kind: NewsKind::Started, message, waited });
        };
        if reason == PendingReason::Deferred {
            self.pending.insert(uid.clone());
        }
        let event = text::resize_pending(pod, reason, &message);
        let message = match self.conditions_mut(&uid).wait(reason, message, generation, round.now.1) {
            Novelty::New => event,
            Novelty::Known => String::new(),
        };
        Some(ResizeNews { uid, kind, message, waited: None })
    }

    /// The other pods with what they were given.
    fn others(&self, uid: &PodUid, pods: &BTreeMap<PodUid, Arc<Pod>>) -> Vec<Arc<Pod>> {
        let others = pods.iter().filter(|(other, _)| *other != uid && self.book.contains_key(*other));
        others.map(|(_, pod)| self.given(pod)).collect()
    }
}

/// The conditions that an earlier life of the agent told an API server.
fn told_before(status: &PodStatus) -> ResizeConditions {
    let find = |name: &str| {
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == name)?;
        Some(ResizeCondition {
            reason: found.reason.clone().unwrap_or_default(),
            message: found.message.clone().unwrap_or_default(),
            generation: found.observed_generation,
            since: found.last_transition_time.as_ref().map(WallTime::from_api).unwrap_or_default(),
        })
    };
    ResizeConditions { pending: find("PodResizePending"), in_progress: find("PodResizeInProgress") }
}
