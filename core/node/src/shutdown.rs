//! Graceful shutdown: which pods end when the machine goes down, in which order, and when it may go (CONTRACT 4.9).
//!
//! ```text
//!            goes down            group ended, or its time is over            all told, or not worth waiting
//!  Idle ----------------> Group 1 ------------> ... ------------> Telling ------------------------------> LetGo
//!    ^                       |                                      |                                       |
//!    +--- it stays up -------+--------------------------------------+---------------------------------------+
//! ```
//! Pods stand in groups by priority, the lowest goes first; each group has a time of its own, and a group without pods takes none.
//! When the last group has ended, the API server is given a moment to hear how pods ended: what it does not hear now it hears
//! after the next boot at the earliest, and controllers would wait for it as long.
//!
//! Reads, as arguments: pods with what is left of them, the time. Gives: which pods to stop with which grace, and that the machine
//! may go down. Guarantees: each pod is told once; no group is told before the ones below it have ended or used up their time; the
//! machine may go at the latest when the times of all groups are over; once it stays up, nothing more is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::{MonoTime, PodUid};

/// Priority from which pods are critical to the system (`system-cluster-critical`).
const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;
/// How long the API server is waited for at most, in the time that the groups have left.
const TELLING_PATIENCE: Duration = Duration::from_secs(10);

/// The time of pods from a priority upward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPeriod {
    /// The lowest priority in the group; the first group takes those below it too.
    pub priority: i32,
    /// Its time.
    pub period: Duration,
}

/// The times of all groups, by priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPeriods(Vec<GroupPeriod>);

impl GroupPeriods {
    /// `shutdownGracePeriod`, of which critical pods keep `shutdownGracePeriodCriticalPods` for themselves; `None` for no time at
    /// all.
    pub fn of_total(total: Duration, critical: Duration) -> Option<Self> {
        let others = total.checked_sub(critical)?;
        let seconds = |period: Duration| Duration::from_secs(period.as_secs());
        (!total.is_zero()).then(|| {
            Self(vec![
                GroupPeriod { priority: 0, period: seconds(others) },
                GroupPeriod { priority: SYSTEM_CRITICAL_PRIORITY, period: seconds(critical) },
            ])
        })
    }

    /// `shutdownGracePeriodByPodPriority`; `None` for no group.
    pub fn by_priority(groups: impl IntoIterator<Item = GroupPeriod>) -> Option<Self> {
        let mut groups: Vec<GroupPeriod> = groups.into_iter().collect();
        groups.sort_by_key(|group| group.priority);
        (!groups.is_empty()).then_some(Self(groups))
    }

    /// What all groups may take together.
    pub fn total(&self) -> Duration {
        self.0.iter().map(|group| group.period).sum()
    }

    /// The group of a priority.
    fn index(&self, priority: i32) -> usize {
        self.0.partition_point(|group| group.priority <= priority).saturating_sub(1)
    }
}

/// A pod that is there when the machine goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownPod {
    /// The pod.
    pub uid: PodUid,
    /// Its priority.
    pub priority: i32,
    /// The grace of its spec.
    pub grace_secs: i64,
}

/// What is left of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Something runs or holds volumes.
    Something,
    /// Nothing of it is left on the node, and the API server does not know.
    Untold,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum ShutdownEvent {
    /// The machine goes down. These pods end.
    GoesDown(Vec<ShutdownPod>),
    /// It stays up after all.
    StaysUp,
    /// What is left of pods now; nothing of those that are not named. Also when a deadline has passed.
    Looked(BTreeMap<PodUid, Left>),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShutdownEffect {
    /// Stop a pod.
    Stop {
        /// The pod.
        uid: PodUid,
        /// How long its processes may take.
        grace_secs: i64,
    },
    /// Let the machine go down.
    LetGo,
}

/// A group that has not ended.
#[derive(Clone, Debug)]
struct Group {
    period: Duration,
    pods: Vec<ShutdownPod>,
}

#[derive(Clone, Debug)]
enum Stage {
    Idle,
    Stopping { now: Vec<PodUid>, until: MonoTime, later: Vec<Group> },
    Telling { until: MonoTime },
    LetGo,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct GracefulShutdown {
    periods: GroupPeriods,
    stage: Stage,
    /// Pods that were told to end.
    stopped: Vec<PodUid>,
    /// When the times of all groups are over.
    over_at: MonoTime,
}

impl GracefulShutdown {
    /// A machine that stays up.
    pub fn new(periods: GroupPeriods) -> Self {
        Self { periods, stage: Stage::Idle, stopped: Vec::new(), over_at: MonoTime::ZERO }
    }

    /// Whether pods are being stopped or waited for, so that [`ShutdownEvent::Looked`] is wanted.
    pub fn is_at_work(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. } | Stage::Telling { .. })
    }

    /// Whether the machine is known to go down.
    pub fn goes_down(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// When it wants to be told how things are although nothing has changed.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        match self.stage {
            Stage::Stopping { until, .. } | Stage::Telling { until } => Some(until),
            Stage::Idle | Stage::LetGo => None,
        }
    }

    /// Takes one event and says what follows from it.
    pub fn step(&mut self, now: MonoTime, event: ShutdownEvent) -> Vec<ShutdownEffect> {
        match event {
            ShutdownEvent::GoesDown(pods) => match self.stage {
                Stage::Idle => self.begin(now, pods),
                Stage::Stopping { .. } | Stage::Telling { .. } | Stage::LetGo => Vec::new(),
            },
            ShutdownEvent::StaysUp => {
                self.stage = Stage::Idle;
                self.stopped.clear();
                Vec::new()
            }
            ShutdownEvent::Looked(left) => self.look(now, &left),
        }
    }

    fn begin(&mut self, now: MonoTime, pods: Vec<ShutdownPod>) -> Vec<ShutdownEffect> {
        let mut groups: Vec<Group> =
            self.periods.0.iter().map(|group| Group { period: group.period, pods: Vec::new() }).collect();
        for pod in pods {
            groups[self.periods.index(pod.priority)].pods.push(pod);
        }
        groups.retain(|group| !group.pods.is_empty());
        groups.reverse();
        self.over_at = now + self.periods.total();
        self.next_group(now, groups)
    }

    /// Stops the next group; `later` has it at its end.
    fn next_group(&mut self, now: MonoTime, mut later: Vec<Group>) -> Vec<ShutdownEffect> {
        let Some(group) = later.pop() else {
            self.stage = Stage::Telling { until: self.over_at.min(now + TELLING_PATIENCE) };
            return Vec::new();
        };
        let most = i64::try_from(group.period.as_secs()).unwrap_or(i64::MAX);
        let uids: Vec<PodUid> = group.pods.iter().map(|pod| pod.uid.clone()).collect();
        self.stopped.extend(uids.iter().cloned());
        self.stage = Stage::Stopping { now: uids, until: now + group.period, later };
        let stop =
            |pod: ShutdownPod| ShutdownEffect::Stop { uid: pod.uid, grace_secs: pod.grace_secs.min(most) };
        group.pods.into_iter().map(stop).collect()
    }

    fn look(&mut self, now: MonoTime, left: &BTreeMap<PodUid, Left>) -> Vec<ShutdownEffect> {
        let mut effects = Vec::new();
        while let Stage::Stopping { now: uids, until, later } = &mut self.stage {
            let holds = |uid: &PodUid| left.get(uid) == Some(&Left::Something);
            if now < *until && uids.iter().any(holds) {
                return effects;
            }
            let later = std::mem::take(later);
            effects.extend(self.next_group(now, later));
        }
        if let Stage::Telling { until } = self.stage
            && (now >= until || !self.stopped.iter().any(|uid| left.contains_key(uid)))
        {
            self.stage = Stage::LetGo;
            effects.push(ShutdownEffect::LetGo);
        }
        effects
    }
}

#[cfg(test)]
mod tests;
