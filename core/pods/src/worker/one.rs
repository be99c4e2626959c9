//! One pod incarnation in the machine: what is wanted of it, what was seen of it, what is being done for it.

use std::sync::Arc;
use std::time::Duration;

use core_types::api::Pod;
use core_types::view::{Lifecycle, PodSource};
use core_types::{Invariant, MonoTime, PodExt, PodKey, PodUid};

use super::{Effect, OpId, Operation, Outcome, Sighting, StopReason, Touched, WorkerPolicy};

/// Grace of a pod that only the runtime knows, in seconds (CONTRACT 3.6).
const ORPHAN_GRACE_SECS: i64 = 1;
/// The least grace of any pod, in seconds (CONTRACT 3.6).
const LEAST_GRACE_SECS: i64 = 1;

/// How long the end of a pod is waited for at least before it is told to be late (CONTRACT 3.6).
const LEAST_KILL_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct Stop {
    reason: StopReason,
    asked_at: MonoTime,
    grace_secs: i64,
    /// When it is late; `None` when nobody waits for it, or when that was told.
    overdue_at: Option<MonoTime>,
}

impl Stop {
    fn new(now: MonoTime, reason: StopReason, grace_secs: i64) -> Self {
        let grace = Duration::from_secs(u64::try_from(grace_secs).unwrap_or(0));
        let is_awaited = reason == StopReason::Evicted;
        let overdue_at = is_awaited.then(|| now + LEAST_KILL_WAIT.max(grace.mul_f64(1.5)));
        Self { reason, asked_at: now, grace_secs, overdue_at }
    }
}

/// Life of one pod incarnation.
#[derive(Debug)]
pub struct PodWorker {
    uid: PodUid,
    key: PodKey,
    pod: Option<Arc<Pod>>,
    source: Option<PodSource>,
    lifecycle: Lifecycle,
    running_op: Option<OpId>,
    stop: Option<Stop>,
    /// Still wanted by a source. A wanted pod stays Terminated instead of being erased.
    wanted: bool,
    /// The spec that a source gave while this incarnation was ending.
    successor: Option<(Arc<Pod>, PodSource)>,
    /// Pictures older than this do not show the effect of the last operation.
    acted_at: MonoTime,
    seen: Option<Sighting>,
    /// What the current state still has to do: released, for Terminated.
    released: bool,
    erased: bool,
    due_at: Option<MonoTime>,
    failures: u32,
}

impl PodWorker {
    /// A pod that a source wants.
    pub(super) fn desired(pod: &Arc<Pod>, source: PodSource) -> Self {
        Self {
            uid: pod.uid(),
            key: pod.key(),
            pod: Some(Arc::clone(pod)),
            source: Some(source),
            lifecycle: Lifecycle::Waiting,
            running_op: None,
            stop: None,
            wanted: true,
            successor: None,
            acted_at: MonoTime::ZERO,
            seen: None,
            released: false,
            erased: false,
            due_at: None,
            failures: 0,
        }
    }

    /// A pod that no source wants and of which something is left.
    pub(super) fn orphan(now: MonoTime, uid: PodUid, key: PodKey) -> Self {
        Self {
            uid,
            key,
            pod: None,
            source: None,
            lifecycle: Lifecycle::Terminating,
            running_op: None,
            stop: Some(Stop::new(now, StopReason::Orphaned, ORPHAN_GRACE_SECS)),
            wanted: false,
            successor: None,
            acted_at: MonoTime::ZERO,
            seen: None,
            released: false,
            erased: false,
            due_at: Some(now),
            failures: 0,
        }
    }

    /// Namespace and name.
    pub fn key(&self) -> &PodKey {
        &self.key
    }

    /// The newest spec of this incarnation; `None` when only the runtime knows the pod.
    pub fn pod(&self) -> Option<&Arc<Pod>> {
        self.pod.as_ref()
    }

    /// Where it comes from.
    pub fn source(&self) -> Option<PodSource> {
        self.source
    }

    /// Where it is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Why it stops or stopped.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.stop.as_ref().map(|stop| &stop.reason)
    }

    /// Whether nothing of it holds volumes or cgroups any more.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Whether a source asks for it now.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// When it needs attention by itself. While it waits for a picture or for an outcome, no time helps.
    pub fn due(&self) -> Option<MonoTime> {
        let waits_for_picture =
            matches!(self.lifecycle, Lifecycle::Syncing | Lifecycle::Terminating) && self.fresh().is_none();
        self.due_at.filter(|_| self.running_op.is_none() && !waits_for_picture)
    }

    /// When its end is late, while it has not ended.
    pub(super) fn overdue_at(&self) -> Option<MonoTime> {
        let stop = self.stop.as_ref().filter(|_| self.lifecycle < Lifecycle::Terminated);
        stop.and_then(|stop| stop.overdue_at)
    }

    /// Tells that its end is late.
    pub(super) fn tell_overdue(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.stop.iter_mut().for_each(|stop| stop.overdue_at = None);
            effects.push(Effect::Overdue { uid: self.uid.clone() });
        }
    }

    /// True when it waits in line for its name.
    pub(super) fn may_hold_name(&self) -> bool {
        self.stop.is_none()
    }

    /// Takes the newest spec (PW-6).
    pub(super) fn want(&mut self, pod: Arc<Pod>, source: PodSource) {
        if self.is_leaving() {
            self.successor = Some((pod, source));
            return;
        }
        let changed = self.pod.as_ref() != Some(&pod);
        self.wanted = true;
        self.source = Some(source);
        self.pod = Some(pod);
        if changed {
            self.due_at = Some(MonoTime::ZERO);
        }
    }

    /// Takes what changes nothing of what the pod should be: no operation follows from it.
    pub(super) fn renew(&mut self, pod: Arc<Pod>) {
        if !self.is_leaving() {
            self.pod = Some(pod);
        }
    }

    /// True when it stops for a reason after which the same UID can only mean another incarnation.
    fn is_leaving(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| match stop.reason {
            StopReason::Removed | StopReason::Orphaned => true,
            StopReason::Completed | StopReason::Rejected | StopReason::Evicted | StopReason::Deleted => false,
        })
    }

    /// Takes a stop request. Grace only shrinks.
    pub(super) fn stop(
        &mut self,
        now: MonoTime,
        reason: StopReason,
        grace_secs: Option<i64>,
        effects: &mut Vec<Effect>,
    ) {
        if reason == StopReason::Removed {
            self.wanted = false;
            self.successor = None;
        }
        let spec_grace = self.pod.as_ref().map_or(ORPHAN_GRACE_SECS, |pod| {
            pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_period_secs())
        });
        let grace_secs = grace_secs.unwrap_or(spec_grace).max(LEAST_GRACE_SECS);
        match &mut self.stop {
            Some(stop) => {
                if reason == StopReason::Removed {
                    stop.reason = reason;
                }
                if grace_secs < stop.grace_secs {
                    stop.grace_secs = grace_secs;
                    self.interrupt(effects);
                }
            }
            None => {
                self.stop = Some(Stop::new(now, reason, grace_secs));
                self.interrupt(effects);
            }
        }
        self.due_at = Some(now);
    }

    fn interrupt(&self, effects: &mut Vec<Effect>) {
        if self.running_op.is_some() {
            effects.push(Effect::Cancel { uid: self.uid.clone() });
        }
    }

    /// Takes a picture.
    pub(super) fn see(&mut self, now: MonoTime, sighting: Sighting) {
        if self.seen.is_some_and(|seen| seen.observed_at > sighting.observed_at) {
            return;
        }
        let first = self.seen.is_none();
        self.seen = Some(sighting);
        if sighting.changed || first {
            self.nudge(now);
        }
    }

    /// Makes the pod due now.
    pub(super) fn nudge(&mut self, now: MonoTime) {
        self.due_at = Some(self.due_at.map_or(now, |due| due.min(now)));
    }

    /// Takes the outcome of an operation.
    pub(super) fn ended(
        &mut self,
        now: MonoTime,
        op: OpId,
        outcome: Outcome,
        policy: &WorkerPolicy,
        effects: &mut Vec<Effect>,
    ) {
        if self.running_op != Some(op) {
            return;
        }
        self.running_op = None;
        if !matches!(outcome, Outcome::Done { touched: Touched::Nothing, .. }) {
            self.acted_at = now;
            effects.push(Effect::Look { uid: self.uid.clone() });
        }
        match outcome {
            Outcome::Done { again_at, .. } => {
                self.failures = 0;
                let latest = match self.lifecycle {
                    Lifecycle::Terminated => {
                        self.erased = self.released;
                        self.released = true;
                        now
                    }
                    Lifecycle::Terminating => now + policy.retry_max,
                    Lifecycle::Waiting | Lifecycle::Syncing | Lifecycle::Finished => {
                        now + self.interval(policy)
                    }
                };
                self.retain_due(now, again_at.map_or(latest, |at| at.min(latest)));
            }
            Outcome::Failed { retry_at, again_at } => {
                let wait =
                    policy.retry_first.saturating_mul(1 << self.failures.min(16)).min(policy.retry_max);
                self.failures = self.failures.saturating_add(1);
                let retry_at = retry_at.unwrap_or(now + wait);
                self.retain_due(now, again_at.map_or(retry_at, |at| at.min(retry_at)));
            }
            Outcome::Cancelled => self.due_at = Some(now),
        }
    }

    /// Sets the next time, unless something asked for an earlier one while the operation ran.
    fn retain_due(&mut self, now: MonoTime, at: MonoTime) {
        let asked_meanwhile = self.due_at.is_some();
        self.due_at = Some(if asked_meanwhile { now } else { at });
    }

    /// The regular interval, spread by UID so that pods do not sync together (upstream's jitter, CONTRACT 3.6).
    fn interval(&self, policy: &WorkerPolicy) -> Duration {
        let sum: u32 = self.uid.as_str().bytes().map(u32::from).sum();
        policy.sync_interval + policy.sync_interval.mul_f64(f64::from(sum % 50) / 100.0)
    }

    /// Moves on through every state that is complete. `may_start`: the runtime was seen and the name is free.
    pub(super) fn settle(&mut self, may_start: bool, effects: &mut Vec<Effect>) {
        if self.running_op.is_some() {
            return;
        }
        if self.stop.is_some() && self.lifecycle < Lifecycle::Terminating {
            self.move_to(Lifecycle::Terminating, effects);
        }
        if self.lifecycle == Lifecycle::Waiting && may_start {
            self.move_to(Lifecycle::Syncing, effects);
        }
        if self.lifecycle == Lifecycle::Terminating && self.fresh().is_some_and(|seen| seen.stopped) {
            self.move_to(Lifecycle::Terminated, effects);
        }
        if self.lifecycle == Lifecycle::Terminated && self.erased && !self.wanted {
            self.move_to(Lifecycle::Finished, effects);
        }
    }

    fn move_to(&mut self, to: Lifecycle, effects: &mut Vec<Effect>) {
        if to <= self.lifecycle {
            effects.push(Effect::Broken(Invariant::NoWayBack));
            return;
        }
        self.lifecycle = to;
        self.due_at = Some(MonoTime::ZERO);
        self.failures = 0;
        effects.push(Effect::Moved { uid: self.uid.clone(), to });
    }

    /// The latest picture, if it shows the effect of the last operation.
    fn fresh(&self) -> Option<Sighting> {
        self.seen.filter(|seen| seen.observed_at > self.acted_at || self.acted_at == MonoTime::ZERO)
    }

    /// The operation that is due now.
    pub(super) fn next_operation(&mut self, now: MonoTime) -> Option<Operation> {
        if self.running_op.is_some() || self.due_at.is_none_or(|due| due > now) {
            return None;
        }
        match self.lifecycle {
            // Never act on a picture that does not show our last act: containers would be started twice.
            Lifecycle::Syncing => {
                self.fresh()?;
                Some(Operation::Sync { pod: Arc::clone(self.pod.as_ref()?) })
            }
            Lifecycle::Terminating => {
                self.fresh()?;
                let stop = self.stop.as_ref()?;
                let elapsed_secs = i64::try_from(now.since(stop.asked_at).as_secs()).unwrap_or(i64::MAX);
                let grace_secs = stop.grace_secs.saturating_sub(elapsed_secs).max(LEAST_GRACE_SECS);
                Some(Operation::Terminate { pod: self.pod.clone(), grace_secs })
            }
            Lifecycle::Terminated if !self.released => Some(Operation::Release),
            Lifecycle::Terminated if !self.wanted && !self.erased => Some(Operation::Erase),
            Lifecycle::Terminated | Lifecycle::Waiting | Lifecycle::Finished => {
                self.due_at = None;
                None
            }
        }
    }

    /// Notes that an operation was started.
    pub(super) fn started(&mut self, op: OpId, effects: &mut Vec<Effect>) {
        if self.running_op.replace(op).is_some() {
            effects.push(Effect::Broken(Invariant::OneOperation));
        }
        self.due_at = None;
    }

    /// The incarnation that follows this one under the same UID.
    pub(super) fn take_successor(&mut self) -> Option<Self> {
        let (pod, source) = self.successor.take()?;
        let mut next = Self::desired(&pod, source);
        next.seen = self.seen.filter(|seen| seen.observed_at > self.acted_at);
        next.acted_at = self.acted_at;
        next.due_at = Some(MonoTime::ZERO);
        Some(next)
    }
}
