//! The pod worker machine: the life of every pod incarnation on the node, and the only place that decides it.
//!
//! ```text
//!            name free, runtime seen            stop wanted             nothing runs (PW-4)          erased
//!  Waiting ---------------------------> Syncing -----------> Terminating -----------> Terminated ---------> Finished
//!     |                                                          ^                        ^
//!     +------------------- stop wanted --------------------------+     orphaned files ----+
//! ```
//!
//! Reads: desired pods, stop requests, pictures of the runtime (only their time and whether anything runs), outcomes of
//! operations. Gives: which operation to start or cancel, and which pod to look at. It keeps PW-1 to PW-6.
//!
//! A pod leaves the machine when it is Finished. A pod whose containers have all ended for good stays Terminated while it
//! is still desired, so that its status and logs can be read. The same UID may come back (static pods): the new spec
//! waits until the old incarnation is Finished.

mod names;
mod one;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_types::api::Pod;
use core_types::view::{Lifecycle, PodSource};
use core_types::{Invariant, MonoTime, PodExt, PodKey, PodUid};

use names::Names;
pub use one::PodWorker;

/// Identifies one started operation; the outcome of an operation that is not the current one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What to do for a pod. One at a time (PW-1).
#[derive(Clone, Debug)]
pub enum Operation {
    /// Bring the pod to what its spec says.
    Sync {
        /// The newest spec.
        pod: Arc<Pod>,
    },
    /// Stop everything that runs of it.
    Terminate {
        /// The spec; `None` for a pod that only the runtime knows.
        pod: Option<Arc<Pod>>,
        /// Seconds left for the processes to end by themselves, at least 1.
        grace_secs: i64,
    },
    /// Release what a stopped pod holds: volumes, cgroup. Its containers, logs and status stay readable.
    Release,
    /// Remove every trace: containers, sandboxes, directories, logs, cgroup.
    Erase,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All done. `again_at` is when something is due by itself (a back-off ends, a deadline passes).
    Done {
        /// When to run again; `None` for the regular interval.
        again_at: Option<MonoTime>,
        /// Whether the last picture still holds.
        touched: Touched,
    },
    /// Something failed and was reported; it is tried again.
    Failed {
        /// When at the earliest; `None` for the machine's own back-off.
        retry_at: Option<MonoTime>,
        /// When something else is due by itself, failure or not.
        again_at: Option<MonoTime>,
    },
    /// Stopped half-way because it was cancelled.
    Cancelled,
}

/// What an operation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nothing that the runtime shows: no new picture is needed.
    Nothing,
    /// Something that the runtime shows.
    Runtime,
}

/// Why a pod must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// No source wants it any more.
    Removed,
    /// Its containers have ended and none may run again.
    Completed,
    /// Refused at admission.
    Rejected,
    /// It was deleted at the API server. It stays known there, and wanted here, until nothing of it is left.
    Deleted,
    /// The node ended it: to make room for a critical pod.
    Evicted,
    /// Only the runtime knows it.
    Orphaned,
}

/// What a picture of the runtime says of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When the runtime was asked.
    pub observed_at: MonoTime,
    /// Nothing of the pod runs.
    pub stopped: bool,
    /// Something differs from the picture before.
    pub changed: bool,
}

/// Input of the machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A source wants this pod, as new or changed.
    Desired {
        /// The pod.
        pod: Arc<Pod>,
        /// Where it comes from.
        source: PodSource,
    },
    /// The pod must stop. `grace_secs` overrides the spec's when given, and can only shorten what was given before.
    Stop {
        /// Which pod.
        uid: PodUid,
        /// Why.
        reason: StopReason,
        /// Override in seconds.
        grace_secs: Option<i64>,
    },
    /// The API server has another status, or something else that changes nothing of what the pod should be.
    Renewed {
        /// The pod.
        pod: Arc<Pod>,
    },
    /// The runtime or the file system holds something of a pod that no source wants.
    Orphan {
        /// UID found.
        uid: PodUid,
        /// Name found; empty parts when only a directory or cgroup is left.
        key: PodKey,
    },
    /// The runtime runs a pod that no source has asked for yet. It keeps its name from others until it is claimed, found
    /// stopped, or declared an orphan.
    Found {
        /// UID found.
        uid: PodUid,
        /// Name found.
        key: PodKey,
    },
    /// One pod was looked at.
    Seen {
        /// Which pod.
        uid: PodUid,
        /// What was seen.
        sighting: Sighting,
    },
    /// All pods were listed. The runtime has nothing of those that are named in neither set.
    Relisted {
        /// When the runtime was asked.
        observed_at: MonoTime,
        /// What was seen.
        sightings: BTreeMap<PodUid, Sighting>,
        /// Pods that the runtime has and whose details are not known yet.
        unknown: BTreeMap<PodUid, PodKey>,
    },
    /// A pod that has not begun waits until others have ended, but not longer than until `at_most`.
    Hold {
        /// Which pod.
        uid: PodUid,
        /// For whom it waits.
        until_ended: BTreeSet<PodUid>,
        /// When it begins all the same.
        at_most: MonoTime,
    },
    /// Something outside the runtime asks for a sync, e.g. a back-off that a user cleared.
    Nudge {
        /// Which pod.
        uid: PodUid,
    },
    /// An operation ended.
    Ended {
        /// Which pod.
        uid: PodUid,
        /// Which operation.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A deadline passed.
    Tick,
}

/// Output of the machine, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start this operation.
    Start {
        /// For which pod.
        uid: PodUid,
        /// Its ID.
        op: OpId,
        /// What.
        operation: Operation,
    },
    /// Ask the running operation to end early. Its outcome is still reported.
    Cancel {
        /// Of which pod.
        uid: PodUid,
    },
    /// Take a new picture of this pod; `Seen` must follow.
    Look {
        /// Which pod.
        uid: PodUid,
    },
    /// The pod's life moved on.
    Moved {
        /// Which pod.
        uid: PodUid,
        /// To which state.
        to: Lifecycle,
    },
    /// The node ended the pod, and it still runs long after its grace. Told once.
    Overdue {
        /// Which pod.
        uid: PodUid,
    },
    /// A rule was broken: our error.
    Broken(Invariant),
}

/// Waiting times of the machine.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPolicy {
    /// Longest time between two syncs of a pod (`syncFrequency`).
    pub sync_interval: Duration,
    /// First wait after a failed operation; doubles up to `retry_max`.
    pub retry_first: Duration,
    /// Longest wait after failed operations.
    pub retry_max: Duration,
}

impl Default for WorkerPolicy {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(10),
        }
    }
}

/// All pods of the node.
#[derive(Debug)]
pub struct PodWorkers {
    policy: WorkerPolicy,
    workers: BTreeMap<PodUid, PodWorker>,
    /// The pods of each name.
    names: Names,
    next_op: u64,
    /// When the runtime was first seen as a whole; nothing starts before.
    relisted_at: Option<MonoTime>,
    /// Pods that the runtime runs and that nobody has claimed.
    unclaimed: BTreeMap<PodUid, PodKey>,
    /// Pods that wait until others have ended.
    holds: BTreeMap<PodUid, Hold>,
}

/// For whom a pod waits that has not begun.
#[derive(Debug)]
struct Hold {
    until_ended: BTreeSet<PodUid>,
    at_most: MonoTime,
}

impl PodWorkers {
    /// A node without pods.
    pub fn new(policy: WorkerPolicy) -> Self {
        Self {
            policy,
            workers: BTreeMap::new(),
            names: Names::default(),
            next_op: 0,
            relisted_at: None,
            unclaimed: BTreeMap::new(),
            holds: BTreeMap::new(),
        }
    }

    /// The worker of a pod.
    pub fn get(&self, uid: &PodUid) -> Option<&PodWorker> {
        self.workers.get(uid)
    }

    /// All workers.
    pub fn iter(&self) -> impl Iterator<Item = (&PodUid, &PodWorker)> {
        self.workers.iter()
    }

    /// When `Tick` is due at the latest.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let holds = self.holds.values().map(|hold| hold.at_most);
        let overdue = self.workers.values().filter_map(PodWorker::overdue_at);
        self.workers.values().filter_map(PodWorker::due).chain(overdue).chain(holds).min()
    }

    fn due(&self, now: MonoTime) -> BTreeSet<PodUid> {
        let has_come = |at: Option<MonoTime>| at.is_some_and(|at| at <= now);
        let is_due = |uid: &PodUid, worker: &PodWorker| {
            has_come(worker.due())
                || has_come(worker.overdue_at())
                || has_come(self.holds.get(uid).map(|hold| hold.at_most))
        };
        self.workers.iter().filter(|(uid, worker)| is_due(uid, worker)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Takes one event and says what follows from it.
    pub fn step(&mut self, now: MonoTime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let everyone = self.take(now, event, &mut effects);
        let affected: BTreeSet<PodUid> = match everyone {
            Affected::One(uid) => {
                // The pod's own progress may free its name for another, or room.
                let key = self.workers.get(&uid).map(PodWorker::key);
                let waiting = self.holds.iter().filter(|(_, hold)| hold.until_ended.contains(&uid));
                let waiting = waiting.map(|(other, _)| other);
                key.into_iter().flat_map(|key| self.names.of(key)).chain(waiting).cloned().collect()
            }
            Affected::Due => self.due(now),
            Affected::All => self.workers.keys().cloned().collect(),
        };
        // One pod's move may free its name for another: go round until nothing moves.
        loop {
            let before = effects.len();
            for uid in &affected {
                self.advance(now, uid, &mut effects);
            }
            if !effects[before..].iter().any(|effect| matches!(effect, Effect::Moved { .. })) {
                return effects;
            }
        }
    }

    fn take(&mut self, now: MonoTime, event: Event, effects: &mut Vec<Effect>) -> Affected {
        match event {
            Event::Desired { pod, source } => {
                let uid = pod.uid();
                self.unclaimed.remove(&uid);
                self.meet(&uid, &pod.key(), || PodWorker::desired(&pod, source)).want(pod, source);
                Affected::One(uid)
            }
            Event::Renewed { pod } => {
                let uid = pod.uid();
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.renew(pod);
                }
                Affected::One(uid)
            }
            Event::Stop { uid, reason, grace_secs } => {
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.stop(now, reason, grace_secs, effects);
                }
                Affected::One(uid)
            }
            Event::Orphan { uid, key } => {
                self.unclaimed.remove(&uid);
                self.meet(&uid, &key.clone(), || PodWorker::orphan(now, uid.clone(), key));
                Affected::One(uid)
            }
            Event::Found { uid, key } => {
                if !self.workers.contains_key(&uid) {
                    self.unclaimed.insert(uid.clone(), key);
                }
                Affected::One(uid)
            }
            Event::Seen { uid, sighting } => {
                if sighting.stopped && self.unclaimed.remove(&uid).is_some() {
                    return Affected::All;
                }
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.see(now, sighting);
                }
                Affected::One(uid)
            }
            Event::Relisted { observed_at, sightings, unknown } => {
                self.relist(now, observed_at, &sightings, &unknown);
                Affected::All
            }
            Event::Hold { uid, until_ended, at_most } => {
                self.holds.insert(uid.clone(), Hold { until_ended, at_most });
                Affected::One(uid)
            }
            Event::Nudge { uid } => {
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.nudge(now);
                }
                Affected::One(uid)
            }
            Event::Ended { uid, op, outcome } => {
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.ended(now, op, outcome, &self.policy, effects);
                }
                Affected::One(uid)
            }
            Event::Tick => Affected::Due,
        }
    }

    /// The incarnation, which is new when nobody knows it.
    fn meet(&mut self, uid: &PodUid, key: &PodKey, new: impl FnOnce() -> PodWorker) -> &mut PodWorker {
        self.workers.entry(uid.clone()).or_insert_with(|| {
            self.names.add(key.clone(), uid.clone());
            new()
        })
    }

    /// Takes a whole picture: what it does not show has stopped.
    fn relist(
        &mut self,
        now: MonoTime,
        observed_at: MonoTime,
        sightings: &BTreeMap<PodUid, Sighting>,
        unknown: &BTreeMap<PodUid, PodKey>,
    ) {
        self.relisted_at.get_or_insert(observed_at);
        self.unclaimed.retain(|uid, _| sightings.get(uid).is_some_and(|seen| !seen.stopped));
        let found = unknown.iter().filter(|(uid, _)| !self.workers.contains_key(*uid));
        self.unclaimed.extend(found.map(|(uid, key)| (uid.clone(), key.clone())));
        let nothing = Sighting { observed_at, stopped: true, changed: false };
        for (uid, worker) in self.workers.iter_mut().filter(|(uid, _)| !unknown.contains_key(*uid)) {
            worker.see(now, sightings.get(uid).copied().unwrap_or(nothing));
        }
    }

    /// Moves one pod on as far as it can go now, and starts its next operation if one is due.
    fn advance(&mut self, now: MonoTime, uid: &PodUid, effects: &mut Vec<Effect>) {
        let may_start = self.relisted_at.is_some() && !self.name_is_taken(uid) && !self.is_held(now, uid);
        let Some(worker) = self.workers.get_mut(uid) else { return };
        worker.settle(may_start, effects);
        worker.tell_overdue(now, effects);
        if worker.lifecycle() == Lifecycle::Finished {
            self.names.remove(worker.key(), uid);
            match worker.take_successor() {
                Some(successor) => {
                    self.names.add(successor.key().clone(), uid.clone());
                    *worker = successor;
                    effects.push(Effect::Moved { uid: uid.clone(), to: Lifecycle::Waiting });
                }
                None => {
                    self.workers.remove(uid);
                }
            }
            return;
        }
        if let Some(operation) = worker.next_operation(now) {
            self.next_op += 1;
            let op = OpId(self.next_op);
            worker.started(op, effects);
            effects.push(Effect::Start { uid: uid.clone(), op, operation });
        }
    }

    /// True while pods have not ended that this one was told to wait for.
    fn is_held(&mut self, now: MonoTime, uid: &PodUid) -> bool {
        let Some(hold) = self.holds.get(uid) else { return false };
        let runs =
            |uid: &PodUid| self.workers.get(uid).is_some_and(|w| w.lifecycle() < Lifecycle::Terminated);
        let waits = |worker: &PodWorker| worker.lifecycle() == Lifecycle::Waiting;
        let is_held = self.workers.get(uid).is_some_and(waits)
            && now < hold.at_most
            && hold.until_ended.iter().any(runs);
        if !is_held {
            self.holds.remove(uid);
        }
        is_held
    }

    /// True when another pod with the same full name may still run something (PW-5), or when one that was here before
    /// this pod is first in line.
    fn name_is_taken(&self, uid: &PodUid) -> bool {
        let Some(me) = self.workers.get(uid).filter(|me| me.lifecycle() == Lifecycle::Waiting) else {
            return false;
        };
        let held = self.unclaimed.values().any(|key| key == me.key());
        let others = self.names.of(me.key()).filter(|other_uid| *other_uid != uid);
        let others = others.filter_map(|other_uid| Some((other_uid, self.workers.get(other_uid)?)));
        let has_it = |(other_uid, other): (&PodUid, &PodWorker)| match other.lifecycle() {
            Lifecycle::Syncing | Lifecycle::Terminating => true,
            Lifecycle::Waiting => other.may_hold_name() && other_uid < uid,
            Lifecycle::Terminated | Lifecycle::Finished => false,
        };
        held || others.into_iter().any(has_it)
    }

    /// Checks the invariants that concern several pods; for simulation and debug builds.
    pub fn check(&self) -> Result<(), Invariant> {
        let mut syncing: Vec<&PodKey> = self
            .workers
            .values()
            .filter(|w| w.lifecycle() == Lifecycle::Syncing)
            .map(PodWorker::key)
            .collect();
        syncing.sort();
        match syncing.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Invariant::OnePerName),
            false => Ok(()),
        }
    }
}

enum Affected {
    One(PodUid),
    /// Those for whom time has come.
    Due,
    All,
}
