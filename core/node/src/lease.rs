//! The Lease in `kube-node-lease` that tells the control plane that the node lives (CONTRACT 4.8).
//!
//! ```text
//!            renewed: in a quarter of its duration, a little spread
//!  Idle ─────────────> Update ── conflict ──> Get ── known ──> Update
//!   ^ no owner known    │ five failures        │ ^ back-off        │ five failures
//!   └───────────────────┴──> Get ── not found ─┴─> Create          └──> Idle until the next time
//! ```
//! Guarantees: one call at a time; a Lease is made only with an owner, so that it goes with its node; what others have put into
//! the object stays.

use std::time::Duration;

use core_types::{MonoTime, WallTime};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};

use crate::spread::Spread;

/// Namespace of all nodes' leases.
pub const NAMESPACE: &str = "kube-node-lease";

/// Updates in a row before the machine asks for the object, or waits.
const TRIES: u32 = 5;
/// First wait after a failed Get or Create; doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(7);
/// How much longer than asked for a renewal may wait.
const JITTER: f64 = 0.04;

/// Whose lease it is and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Name of the node, of the lease and of its holder.
    pub node: String,
    /// `nodeLeaseDurationSeconds`.
    pub duration_seconds: i32,
}

impl LeaseSettings {
    fn renew_every(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.duration_seconds).unwrap_or(0) * 250)
    }
}

/// A call to make.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseCall {
    /// Ask for the object.
    Get,
    /// Make it.
    Create(Box<Lease>),
    /// Replace it.
    Update(Box<Lease>),
}

/// How the call went.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseAnswer {
    /// The object as it is now.
    Known(Box<Lease>),
    /// There is none.
    NotFound,
    /// Somebody else has changed it meanwhile.
    Conflict,
    /// It failed, or nobody answered.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Update { tries: u32, base: Base },
    Get { updates_tried: u32 },
    Create,
}

/// Where the object to update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// From the last answer of another time: when it cannot be updated, it is asked for.
    Remembered,
    /// It was just asked for.
    Fresh,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct LeaseMachine {
    settings: LeaseSettings,
    spread: Spread,
    latest: Option<Lease>,
    step: Step,
    is_waiting_for_answer: bool,
    due_at: MonoTime,
    backoff: Duration,
    failures: u32,
}

impl LeaseMachine {
    /// Wants its first call at once.
    pub fn new(settings: LeaseSettings, spread: Spread, now: MonoTime) -> Self {
        Self {
            settings,
            spread,
            latest: None,
            step: Step::Idle,
            is_waiting_for_answer: false,
            due_at: now,
            backoff: BACKOFF_MIN,
            failures: 0,
        }
    }

    /// When to call [`Self::next_call`]; `None` while a call is under way.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        (!self.is_waiting_for_answer).then_some(self.due_at)
    }

    /// The call to make now; `None` when none is due. `owner` is the UID of the Node object, once it is known.
    pub fn next_call(&mut self, now: MonoTime, wall: WallTime, owner: Option<&str>) -> Option<LeaseCall> {
        if self.is_waiting_for_answer || now < self.due_at {
            return None;
        }
        if self.step == Step::Idle {
            self.step = match self.latest {
                Some(_) => Step::Update { tries: 0, base: Base::Remembered },
                None => Step::Get { updates_tried: 0 },
            };
        }
        let call = match self.step {
            Step::Update { .. } => LeaseCall::Update(Box::new(self.renewed(wall, owner))),
            Step::Create if owner.is_none() => {
                self.wait_for_next_time(now);
                return None;
            }
            Step::Create => LeaseCall::Create(Box::new(self.renewed(wall, owner))),
            Step::Idle | Step::Get { .. } => LeaseCall::Get,
        };
        self.is_waiting_for_answer = true;
        Some(call)
    }

    /// The call was answered. Returns how many calls in a row have failed.
    pub fn on_answer(&mut self, now: MonoTime, answer: LeaseAnswer) -> u32 {
        self.is_waiting_for_answer = false;
        self.due_at = now;
        self.failures = if answer == LeaseAnswer::Failed { self.failures + 1 } else { 0 };
        match (self.step, answer) {
            (Step::Update { .. } | Step::Create, LeaseAnswer::Known(lease)) => {
                self.latest = Some(*lease);
                self.wait_for_next_time(now);
            }
            (Step::Update { tries, .. }, LeaseAnswer::Conflict) => {
                self.step = Step::Get { updates_tried: tries + 1 };
            }
            (Step::Update { tries, base }, _) => self.after_failed_update(now, tries + 1, base),
            (Step::Get { updates_tried }, LeaseAnswer::Known(lease)) => {
                self.backoff = BACKOFF_MIN;
                self.latest = Some(*lease);
                match updates_tried {
                    tries if tries >= TRIES => self.wait_for_next_time(now),
                    tries => self.step = Step::Update { tries, base: Base::Fresh },
                }
            }
            (Step::Get { .. }, LeaseAnswer::NotFound) => {
                self.latest = None;
                self.step = Step::Create;
            }
            _ => {
                self.step = Step::Get { updates_tried: 0 };
                self.due_at = now + self.backoff;
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            }
        }
        self.failures
    }

    fn after_failed_update(&mut self, now: MonoTime, tries: u32, base: Base) {
        match (tries >= TRIES, base) {
            (false, base) => self.step = Step::Update { tries, base },
            (true, Base::Remembered) => self.step = Step::Get { updates_tried: 0 },
            (true, Base::Fresh) => self.wait_for_next_time(now),
        }
    }

    fn wait_for_next_time(&mut self, now: MonoTime) {
        let share = 1.0 + JITTER * self.spread.next_number();
        self.step = Step::Idle;
        self.backoff = BACKOFF_MIN;
        self.due_at = now + self.settings.renew_every().mul_f64(share);
    }

    fn renewed(&self, now: WallTime, owner: Option<&str>) -> Lease {
        let mut lease = self.latest.clone().unwrap_or_else(|| self.new_lease());
        let spec = lease.spec.get_or_insert_default();
        spec.lease_duration_seconds = Some(self.settings.duration_seconds);
        spec.renew_time = Some(MicroTime(now.to_api().0));
        if let (None | Some([]), Some(uid)) = (lease.metadata.owner_references.as_deref(), owner) {
            lease.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: self.settings.node.clone(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }]);
        }
        lease
    }

    fn new_lease(&self) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.settings.node.clone());
        lease.metadata.namespace = Some(NAMESPACE.to_owned());
        lease.spec.get_or_insert_default().holder_identity = Some(self.settings.node.clone());
        lease
    }
}

#[cfg(test)]
mod tests;
