//! One probe of one container: when it runs and what its results come to.
//!
//! ```text
//!             runs, gate open          due                answered: threshold reached
//!   no container ----------> waiting ------> running ------------------------------> published
//!        ^                      ^               |                                      |   |
//!        |                      +---------------+ answered ----------------------------+   | liveness Failure,
//!        +------ the container's ID changes ------------------------------------------ held + any startup result
//! ```
//!
//! A result belongs to the container that was asked; an answer that comes when another one runs is dropped (PR-1).
//!
//! **A starved node is not the application's failure.** A probe that got no answer in time counts only when the agent
//! itself was on time: when the run began no later than [`PUNCTUAL`] after it was due, and ended no later than that after
//! its time was up. An agent that is late by more had to wait for a processor, and so, most likely, had the application.
//! An answer that did come, such as a status code or a refused connection, always counts. At most [`MAX_STARVED`] runs in
//! a row are passed over, so that a container that hangs is found on a busy node too, only later.

use std::time::Duration;

use core_status::ProbeResult;
use core_types::api::Probe;
use core_types::{ContainerId, MonoTime};

use crate::ProbeKind;

/// How late an agent that gets its processor time may be. A loop at rest is late by a millisecond or less.
const PUNCTUAL: Duration = Duration::from_millis(500);
/// All runs but the first begin on multiples of this, so that the agent wakes once for the probes of several containers. Periods are whole
/// seconds, so that a probe that is on one stays on it.
const TICK: Duration = Duration::from_millis(20);
/// Runs without an answer in a row that a starved node excuses.
const MAX_STARVED: u32 = 10;
/// Containers that ran before the agent are asked within this time: their status waits for it.
const ADOPTED_SPREAD: Duration = Duration::from_secs(1);

/// The times and thresholds of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the container's start to the first run.
    pub initial_delay: Duration,
    /// Between two runs.
    pub period: Duration,
    /// For one run.
    pub timeout: Duration,
    /// Successes in a row that make a success.
    pub success_threshold: u32,
    /// Failures in a row that make a failure.
    pub failure_threshold: u32,
}

impl Schedule {
    /// The schedule of a probe, with the API's defaults.
    pub fn of(probe: &Probe) -> Self {
        let secs = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok()).filter(|&value| value > 0);
            Duration::from_secs(value.unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0).unwrap_or(default)
        };
        Self {
            initial_delay: secs(probe.initial_delay_seconds, 0),
            period: secs(probe.period_seconds, 10),
            timeout: secs(probe.timeout_seconds, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// ID.
    pub id: ContainerId,
    /// How long it has run.
    pub age: Duration,
}

/// Whether the container has started, which readiness and liveness probes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It has, or this is the startup probe.
    Open,
    /// It has not.
    Shut,
}

/// What came of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Success,
    /// The container answered, and not well.
    Failure,
    /// There was no answer in time.
    TimedOut,
    /// The probe could not be carried out.
    Unknown,
}

/// One run. It must come back through [`Machine::end`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The container that is asked.
    pub container: ContainerId,
    /// When it was due.
    pub due_at: MonoTime,
    /// When it began.
    pub began_at: MonoTime,
    /// The time it has.
    pub timeout: Duration,
}

/// Whether a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Counted,
    /// The node was starved: passed over.
    Starved,
    /// It could not be carried out: passed over.
    Unknown,
    /// It was about a container that is not there any more.
    Stale,
}

/// What the end of a run means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether the run counts.
    pub standing: Standing,
    /// The container's new result, when it changed.
    pub published: Option<ProbeResult>,
}

impl Ending {
    const fn without_result(standing: Standing) -> Self {
        Self { standing, published: None }
    }
}

/// The machine of one probe.
#[derive(Clone, Debug)]
pub struct Machine {
    kind: ProbeKind,
    schedule: Schedule,
    /// Part of the period by which the first run is put off while the agent is young.
    spread: Duration,
    agent_started_at: MonoTime,
    watch: Option<Watch>,
}

/// What is known of the container that is watched.
#[derive(Clone, Debug)]
struct Watch {
    id: ContainerId,
    /// When its initial delay is over.
    open_at: MonoTime,
    /// It ran before the agent.
    is_adopted: bool,
    gate: Gate,
    next_due: MonoTime,
    state: State,
    result: ProbeResult,
    /// Equal answers in a row.
    streak: Option<(ProbeResult, u32)>,
    starved: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Held,
}

impl Machine {
    /// A probe that watches no container yet. `spread` is below the period ([`spread`]).
    pub fn new(kind: ProbeKind, schedule: Schedule, spread: Duration, agent_started_at: MonoTime) -> Self {
        Self { kind, schedule, spread, agent_started_at, watch: None }
    }

    /// Takes in which container runs now, if any. Another one than before begins with nothing known of it.
    pub fn see(&mut self, now: MonoTime, instance: Option<&Instance>, gate: Gate) {
        let Some(instance) = instance else {
            self.watch = None;
            return;
        };
        match &mut self.watch {
            Some(watch) if watch.id == instance.id => {
                // A container that has just started is asked at once, not when the next period begins.
                if watch.gate == Gate::Shut && gate == Gate::Open {
                    watch.next_due = now.max(watch.open_at);
                }
                watch.gate = gate;
            }
            _ => {
                let open_at = now + self.schedule.initial_delay.saturating_sub(instance.age);
                let agent_age = now.since(self.agent_started_at);
                let is_adopted = instance.age > agent_age;
                let spread = match (agent_age < self.schedule.period, is_adopted) {
                    (false, _) => Duration::ZERO,
                    (true, false) => self.spread,
                    (true, true) => self.spread.min(ADOPTED_SPREAD),
                };
                self.watch = Some(Watch {
                    id: instance.id.clone(),
                    open_at,
                    is_adopted,
                    next_due: open_at + spread,
                    gate,
                    state: State::Waiting,
                    result: ProbeResult::Unknown,
                    streak: None,
                    starved: 0,
                });
            }
        }
    }

    /// When the next run is due; `None` while one is under way or none is to come.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let watch = self.watch.as_ref()?;
        (watch.state == State::Waiting && watch.gate == Gate::Open).then_some(watch.next_due)
    }

    /// Begins a run that is due.
    pub fn begin(&mut self, now: MonoTime) -> Option<Run> {
        let due_at = self.next_deadline().filter(|&due| due <= now)?;
        let watch = self.watch.as_mut()?;
        watch.state = State::Running;
        let timeout = self.schedule.timeout;
        Some(Run { container: watch.id.clone(), due_at, began_at: now, timeout })
    }

    /// The result for the container that is watched.
    pub fn result(&self) -> Option<(&ContainerId, ProbeResult)> {
        self.watch.as_ref().map(|watch| (&watch.id, watch.result))
    }

    /// Ends a run. Missed periods are left out, not made good.
    pub fn end(&mut self, now: MonoTime, run: &Run, verdict: Verdict) -> Ending {
        let (schedule, kind) = (self.schedule, self.kind);
        let Some(watch) =
            self.watch.as_mut().filter(|watch| watch.id == run.container && watch.state == State::Running)
        else {
            return Ending::without_result(Standing::Stale);
        };
        watch.state = State::Waiting;
        watch.next_due = next_period(run.due_at, schedule.period, now);
        let answer = match verdict {
            Verdict::Success => ProbeResult::Success,
            Verdict::Failure => ProbeResult::Failure,
            Verdict::Unknown => return Ending::without_result(Standing::Unknown),
            Verdict::TimedOut if watch.starved < MAX_STARVED && was_starved(now, run) => {
                watch.starved += 1;
                return Ending::without_result(Standing::Starved);
            }
            Verdict::TimedOut => ProbeResult::Failure,
        };
        watch.starved = 0;
        let in_a_row = match watch.streak {
            Some((same, count)) if same == answer => count.saturating_add(1),
            _ => 1,
        };
        watch.streak = Some((answer, in_a_row));
        // Of a container that ran before the agent nothing is known: its first success restores what was true.
        let is_restored = watch.is_adopted && watch.result == ProbeResult::Unknown;
        let threshold = match answer {
            ProbeResult::Success if is_restored => 1,
            ProbeResult::Success => schedule.success_threshold,
            _ => schedule.failure_threshold,
        };
        if in_a_row < threshold || watch.result == answer {
            return Ending::without_result(Standing::Counted);
        }
        watch.result = answer;
        if kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && answer == ProbeResult::Failure) {
            watch.state = State::Held;
        }
        Ending { standing: Standing::Counted, published: Some(answer) }
    }
}

/// True when the agent itself was late, before or after the run.
fn was_starved(now: MonoTime, run: &Run) -> bool {
    run.began_at.since(run.due_at) > PUNCTUAL || now.since(run.began_at + run.timeout) > PUNCTUAL
}

/// The first point of the raster `due + n * period` after `now`, put off to the next [`TICK`].
fn next_period(due: MonoTime, period: Duration, now: MonoTime) -> MonoTime {
    let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let passed = now.as_nanos().saturating_sub(due.as_nanos()) / period_ns;
    let next_ns = due.as_nanos().saturating_add(period_ns.saturating_mul(passed.saturating_add(1)));
    let tick_ns = u64::try_from(TICK.as_nanos()).unwrap_or(1);
    MonoTime::from_nanos(next_ns.div_ceil(tick_ns).saturating_mul(tick_ns))
}

/// A part of the period that only depends on the probe's name, so that the probes of a node do not run all at once.
pub fn spread(name: &str, period: Duration) -> Duration {
    // FNV-1a: spreads short names well and is the same in every life of the agent.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    period.mul_f64((hash >> 11) as f64 / (1_u64 << 53) as f64)
}
