//! Which pulls run now (CONTRACT 3.16): a machine that owns the queue of all pulls of the node.
//!
//! Pods that want the same image with the same credentials share one pull. Critical pods come first, then those of a
//! higher priority, then those that asked earlier. As many pulls run at once as configured, and as many begin in a second;
//! a pull that is one too many is refused, not delayed, as upstream does, and its pod backs off.
//!
//! ```text
//! Asked > queued ----a slot is free----> running > Ended > one answer for each ticket
//!            |  a slot, but no token: refused  |
//!            +------- last ticket withdrawn ---+--> forgotten, aborted
//! ```
//! Reads no clock. Needs no deadline of its own: what waits, waits for the end of another pull.

use std::collections::{BTreeMap, BTreeSet};

use core_types::MonoTime;
use core_types::runtime::ImageSpec;

use crate::credential::Credential;

/// Annotations with this prefix differ from pod to pod and are the agent's own: no runtime pulls by them.
const OWN_ANNOTATIONS: &str = "kubernetes.io/config.";

/// What makes two pulls the same: image, handler, annotations and the credentials that are tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullKey {
    image: String,
    written: String,
    handler: String,
    annotations: Vec<(String, String)>,
    credentials: Vec<String>,
}

impl PullKey {
    /// The key of a pull.
    pub fn new(spec: &ImageSpec, credentials: &[Credential]) -> Self {
        let annotations = spec.annotations.iter().filter(|(name, _)| !name.starts_with(OWN_ANNOTATIONS));
        Self {
            image: spec.image.clone(),
            written: spec.user_specified_image.clone(),
            handler: spec.runtime_handler.clone(),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            credentials: credentials.iter().map(|one| format!("{:?} {}", one.source, one.hash)).collect(),
        }
    }
}

/// How urgent a pull is. Greater goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullRank {
    /// The pod is critical.
    pub critical: bool,
    /// The pod's priority.
    pub priority: i32,
}

/// How many pulls may begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PullRate {
    /// `registryPullQPS: 0`.
    Unlimited,
    /// `registryPullQPS` and `registryBurst`.
    Limited {
        /// Pulls per second in the long run.
        per_second: f64,
        /// Pulls at once after a rest.
        burst: f64,
    },
}

/// One pod's wish for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One pull. Pulls that were asked for later have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId(u64);

/// What the machine hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod wants an image.
    Asked {
        /// New for each wish.
        ticket: Ticket,
        /// What is to be pulled.
        key: PullKey,
        /// How urgently.
        rank: PullRank,
    },
    /// A pod wants it no more.
    Withdrawn(Ticket),
    /// A pull that was started has ended, well or not.
    Ended(PullId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Begin a pull, with the spec and the credentials that came with `ticket`.
    Start {
        /// Pull.
        pull: PullId,
        /// The wish that it is started for.
        ticket: Ticket,
    },
    /// Drop a running pull: nobody wants it any more.
    Abort(PullId),
    /// Tell a pod that too many pulls began lately.
    Refuse(Ticket),
    /// Give a pod the result of a pull that has ended.
    Answer {
        /// Pull.
        pull: PullId,
        /// The wish.
        ticket: Ticket,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Running,
}

#[derive(Clone, Debug)]
struct Pull {
    key: PullKey,
    rank: PullRank,
    state: State,
    tickets: BTreeSet<Ticket>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct PullScheduler {
    parallel: usize,
    tokens: Tokens,
    pulls: BTreeMap<PullId, Pull>,
    next: u64,
}

impl PullScheduler {
    /// At most `parallel` pulls at once, which begin at `rate`.
    pub fn new(parallel: usize, rate: PullRate) -> Self {
        Self { parallel: parallel.max(1), tokens: Tokens::new(rate), pulls: BTreeMap::new(), next: 0 }
    }

    /// Takes note of an event and says what is to be done, in this order.
    pub fn step(&mut self, now: MonoTime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Asked { ticket, key, rank } => self.ask(ticket, key, rank),
            Event::Withdrawn(ticket) => effects.extend(self.withdraw(ticket)),
            Event::Ended(pull) => {
                let tickets = self.pulls.remove(&pull).map(|ended| ended.tickets).unwrap_or_default();
                effects.extend(tickets.into_iter().map(|ticket| Effect::Answer { pull, ticket }));
            }
        }
        self.begin(now, &mut effects);
        effects
    }

    fn ask(&mut self, ticket: Ticket, key: PullKey, rank: PullRank) {
        if let Some(same) = self.pulls.values_mut().find(|pull| pull.key == key) {
            same.tickets.insert(ticket);
            same.rank = same.rank.max(rank);
            return;
        }
        let pull = Pull { key, rank, state: State::Queued, tickets: BTreeSet::from([ticket]) };
        self.pulls.insert(PullId(self.next), pull);
        self.next += 1;
    }

    fn withdraw(&mut self, ticket: Ticket) -> Option<Effect> {
        let (id, pull) = self.pulls.iter_mut().find(|(_, pull)| pull.tickets.contains(&ticket))?;
        pull.tickets.remove(&ticket);
        if !pull.tickets.is_empty() {
            return None;
        }
        let id = *id;
        let gone = self.pulls.remove(&id)?;
        (gone.state == State::Running).then_some(Effect::Abort(id))
    }

    /// Fills the free slots.
    fn begin(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        while self.running() < self.parallel {
            let queued = self.pulls.iter().filter(|(_, pull)| pull.state == State::Queued);
            // Among equals `max_by` takes the last: count the other way, so that the earliest wins.
            let first = queued.max_by_key(|(id, pull)| (pull.rank, std::cmp::Reverse(**id)));
            let Some(id) = first.map(|(id, _)| *id) else { return };
            let Some(pull) = self.pulls.get_mut(&id) else { return };
            if self.tokens.take(now) {
                pull.state = State::Running;
                effects
                    .extend(pull.tickets.first().map(|ticket| Effect::Start { pull: id, ticket: *ticket }));
            } else {
                let tickets = std::mem::take(&mut pull.tickets);
                effects.extend(tickets.into_iter().map(Effect::Refuse));
                self.pulls.remove(&id);
            }
        }
    }

    fn running(&self) -> usize {
        self.pulls.values().filter(|pull| pull.state == State::Running).count()
    }
}

/// A bucket that fills with time: full at first, one token for each pull.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    rate: PullRate,
    left: f64,
    at: MonoTime,
}

impl Tokens {
    fn new(rate: PullRate) -> Self {
        let left = match rate {
            PullRate::Unlimited => 0.0,
            PullRate::Limited { burst, .. } => burst,
        };
        Self { rate, left, at: MonoTime::ZERO }
    }

    fn take(&mut self, now: MonoTime) -> bool {
        let PullRate::Limited { per_second, burst } = self.rate else { return true };
        self.left = (self.left + now.since(self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests;
