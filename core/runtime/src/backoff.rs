//! Back-off of restarts and image pulls: 10 s, doubling to a maximum, forgotten after a quiet time of twice the maximum
//! (CONTRACT 3.12, 3.16).
//!
//! [`Backoff`] counts failures by a key. [`CrashBackoff`] reads the ends of containers from what the runtime shows:
//! the first end costs nothing, each further one doubles the wait, counted from the container's finish time. The finish
//! time is wall time; at the first sight of an end it becomes a monotonic deadline, so that a clock that jumps afterwards
//! neither shortens nor lengthens the wait.
//!
//! After a restart of the agent nothing is remembered. The wait then follows from the container itself: with `n` restarts
//! behind it, `10 s * 2^(n-1)` up to the maximum, and nothing when it ran longer than twice the maximum. That is what an
//! agent that had watched all the time would say, unless a quiet time long ago had reset the count; then the wait is
//! longer than it would have been, never shorter.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::api::{Container, Pod};
use core_types::runtime::ContainerState;
use core_types::{
    ContainerId, MonoTime, ObservedContainer, ObservedPod, PodExt, PodUid, RestartRules, WallTime,
};

use crate::hash::{container_hash, fnv64a};
use crate::restart::all_restart;

/// First wait after a failure.
const INITIAL: Duration = Duration::from_secs(10);
/// Longest wait unless configured otherwise.
pub const DEFAULT_MAX: Duration = Duration::from_secs(300);

const REDUCED_INITIAL: Duration = Duration::from_secs(1);
const REDUCED_MAX: Duration = Duration::from_secs(60);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time, for deadlines.
    pub mono: MonoTime,
    /// Wall time, to compare with the runtime's timestamps.
    pub wall: WallTime,
}

/// How waits grow: doubling from the first to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    initial: Duration,
    max: Duration,
}

impl Growth {
    /// From 10 s (or `max`, if shorter) to `max`.
    pub fn to(max: Duration) -> Self {
        Self { initial: INITIAL.min(max), max }
    }

    /// From 1 s to `max`, or to 60 s when that is `None` (the gate `ReduceDefaultCrashLoopBackOffDecay`).
    pub fn reduced(max: Option<Duration>) -> Self {
        let max = max.unwrap_or(REDUCED_MAX);
        Self { initial: REDUCED_INITIAL.min(max), max }
    }

    fn after(self, delay: Duration) -> Duration {
        if delay.is_zero() { self.initial } else { delay.saturating_mul(2).min(self.max) }
    }

    fn after_restarts(self, restarts: u32) -> Duration {
        match restarts {
            0 => Duration::ZERO,
            _ => {
                self.initial.saturating_mul(1_u32.checked_shl(restarts - 1).unwrap_or(u32::MAX)).min(self.max)
            }
        }
    }

    fn is_quiet(self, quiet: Duration) -> bool {
        quiet > self.max * 2
    }
}

/// Failures by key, for image pulls (`<pod UID>_<image>`).
#[derive(Clone, Debug)]
pub struct Backoff {
    growth: Growth,
    entries: BTreeMap<String, Failure>,
}

#[derive(Clone, Debug)]
struct Failure {
    delay: Duration,
    at: MonoTime,
    message: String,
}

/// A wait in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait<'a> {
    /// When the next attempt may start.
    pub until: MonoTime,
    /// What the last attempt said.
    pub message: &'a str,
}

impl Backoff {
    /// Waits grow from 10 s (or `max`, if shorter) to `max`.
    pub fn new(max: Duration) -> Self {
        Self { growth: Growth::to(max), entries: BTreeMap::new() }
    }

    /// Counts a failure at `now`, with the text to show while waiting.
    pub fn fail(&mut self, key: &str, message: &str, now: MonoTime) {
        let growth = self.growth;
        self.entries.retain(|_, failure| !growth.is_quiet(now.since(failure.at)));
        let delay = self.entries.get(key).map_or(growth.initial, |failure| growth.after(failure.delay));
        self.entries.insert(key.to_owned(), Failure { delay, at: now, message: message.to_owned() });
    }

    /// The wait that holds for `key` at `now`; `None` when an attempt may start.
    pub fn wait(&self, key: &str, now: MonoTime) -> Option<Wait<'_>> {
        let failure = self.entries.get(key)?;
        let until = failure.at + failure.delay;
        (now < until).then_some(Wait { until, message: &failure.message })
    }

    /// Forgets every key that starts with `prefix` (a pod's UID when the pod goes).
    pub fn forget(&mut self, prefix: &str) {
        self.entries.retain(|key, _| !key.starts_with(prefix));
    }
}

/// The crash back-off of all containers on the node.
#[derive(Clone, Debug)]
pub struct CrashBackoff {
    growth: Growth,
    entries: BTreeMap<(PodUid, String), CrashEntry>,
}

#[derive(Clone, Debug)]
struct CrashEntry {
    /// What resets the count when it changes: image and resources.
    spec_key: u64,
    instance: ContainerId,
    delay: Duration,
    retry_at: MonoTime,
}

/// A container that waits for its restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashWait {
    /// The whole wait since the container's end.
    pub delay: Duration,
    /// When it may start again.
    pub retry_at: MonoTime,
}

impl CrashBackoff {
    /// No container has ended yet.
    pub fn new(growth: Growth) -> Self {
        Self { growth, entries: BTreeMap::new() }
    }

    /// Takes note of the containers of a pod that have ended. Call it with each new picture before planning; the same
    /// end is counted once. Ends that belong to a restart of all containers are no crashes.
    pub fn observe(&mut self, pod: &Pod, observed: &ObservedPod, rules: RestartRules, now: Now) {
        if all_restart(pod, observed, rules) {
            return;
        }
        for container in pod.container_refs() {
            let spec = container.spec;
            let mut instances = observed.instances(&spec.name);
            if let Some(ended) = instances.find(|instance| instance.state() == ContainerState::Exited) {
                self.note_end(pod, spec, ended, now);
            }
        }
    }

    /// The wait that holds for `container` at `now`; `None` when it may start.
    pub fn wait(&self, pod: &Pod, container: &Container, now: MonoTime) -> Option<CrashWait> {
        let entry = self.entries.get(&(pod.uid(), container.name.clone()))?;
        let holds = entry.spec_key == spec_key(pod, container) && now < entry.retry_at;
        holds.then_some(CrashWait { delay: entry.delay, retry_at: entry.retry_at })
    }

    /// Forgets a pod that is gone.
    pub fn forget(&mut self, uid: &PodUid) {
        self.entries.retain(|(owner, _), _| owner != uid);
    }

    fn note_end(&mut self, pod: &Pod, spec: &Container, ended: &ObservedContainer, now: Now) {
        let key = (pod.uid(), spec.name.clone());
        let spec_key = spec_key(pod, spec);
        let known = self.entries.get(&key);
        if known.is_some_and(|entry| entry.instance == *ended.id() && entry.spec_key == spec_key) {
            return;
        }
        let ran = ended.status.finished_at.since(ended.status.created_at);
        let was_changed = ended.spec_hash() != Some(container_hash(spec));
        let delay = match known {
            _ if was_changed || self.growth.is_quiet(ran) => Duration::ZERO,
            Some(entry) if entry.spec_key != spec_key => Duration::ZERO,
            Some(entry) => self.growth.after(entry.delay),
            None => self.growth.after_restarts(ended.restart_count()),
        };
        let passed = now.wall.since(ended.status.finished_at).min(delay);
        let retry_at = now.mono + (delay - passed);
        self.entries.insert(key, CrashEntry { spec_key, instance: ended.id().clone(), delay, retry_at });
    }
}

/// Names the container and everything whose change starts the count anew.
fn spec_key(pod: &Pod, container: &Container) -> u64 {
    let resources =
        container.resources.as_ref().map(|resources| format!("{resources:?}")).unwrap_or_default();
    let image = container.image.as_deref().unwrap_or_default();
    fnv64a(format!("{}/{}/{}/{image}/{resources}", pod.key(), pod.uid(), container.name).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{now_at, observed, observed_container, pod};

    #[test]
    fn pull_failures_double_and_are_forgotten_after_a_quiet_time() {
        let mut backoff = Backoff::new(DEFAULT_MAX);
        let mut now = MonoTime::ZERO;
        for secs in [10, 20, 40, 80, 160, 300, 300] {
            backoff.fail("uid_image", "no such host", now);
            let until = now + Duration::from_secs(secs);
            assert_eq!(backoff.wait("uid_image", now), Some(Wait { until, message: "no such host" }));
            assert_eq!(backoff.wait("uid_image", until), None);
            now = until;
        }
        now = now + Duration::from_secs(601);
        backoff.fail("uid_image", "again", now);
        assert_eq!(
            backoff.wait("uid_image", now).map(|wait| wait.until),
            Some(now + Duration::from_secs(10))
        );
        backoff.forget("uid_");
        assert_eq!(backoff.wait("uid_image", now), None);
    }

    #[test]
    fn a_short_maximum_shortens_the_first_wait() {
        let mut backoff = Backoff::new(Duration::from_secs(3));
        backoff.fail("k", "", MonoTime::ZERO);
        assert_eq!(backoff.wait("k", MonoTime::ZERO).map(|wait| wait.until), Some(MonoTime::from_secs(3)));
    }

    /// Ends instance `attempt` at `finished` after `ran` seconds and returns the wait at that moment.
    fn crash(backoff: &mut CrashBackoff, attempt: u32, finished: u64, ran: u64) -> u64 {
        let pod = pod("Always", &[], &["a"]);
        let mut container = observed_container(&pod, "a", attempt, ContainerState::Exited);
        container.status.finished_at = now_at(finished).wall;
        container.status.created_at = now_at(finished - ran).wall;
        let observed = observed(&pod, true, vec![container]);
        backoff.observe(&pod, &observed, RestartRules::default(), now_at(finished));
        backoff.observe(&pod, &observed, RestartRules::default(), now_at(finished));
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        backoff.wait(&pod, spec, now_at(finished).mono).map_or(0, |wait| {
            assert_eq!(wait.retry_at, now_at(finished).mono + wait.delay);
            wait.delay.as_secs()
        })
    }

    #[test]
    fn crashes_wait_longer_each_time_and_a_long_run_resets() {
        let mut backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
        let waits: Vec<u64> =
            (0..8).map(|n| crash(&mut backoff, n, 10_000 + u64::from(n) * 400, 5)).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(crash(&mut backoff, 8, 20_000, 601), 0);
        assert_eq!(crash(&mut backoff, 9, 20_100, 5), 10);
    }

    #[test]
    fn waits_are_as_short_as_they_are_configured() {
        let secs = Duration::from_secs;
        for (growth, expected) in [
            (Growth::to(secs(3)), [0, 3, 3, 3]),
            (Growth::to(secs(25)), [0, 10, 20, 25]),
            (Growth::reduced(None), [0, 1, 2, 4]),
            (Growth::reduced(Some(secs(3))), [0, 1, 2, 3]),
        ] {
            let mut backoff = CrashBackoff::new(growth);
            let waits = [0, 1, 2, 3].map(|n| crash(&mut backoff, n, 10_000 + u64::from(n) * 5, 1));
            assert_eq!(waits, expected, "{growth:?}");
        }
    }

    #[test]
    fn a_restarted_agent_derives_the_wait_from_the_container() {
        for (restarts, secs) in [(0, 0), (1, 10), (3, 40), (6, 300), (500, 300)] {
            assert_eq!(crash(&mut CrashBackoff::new(Growth::to(DEFAULT_MAX)), restarts, 10_000, 5), secs);
        }
        assert_eq!(crash(&mut CrashBackoff::new(Growth::to(DEFAULT_MAX)), 500, 10_000, 700), 0);
    }

    #[test]
    fn a_changed_image_or_changed_resources_start_at_once() {
        let mut backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
        for n in 0..4 {
            crash(&mut backoff, n, 10_000 + u64::from(n), 1);
        }
        let mut pod = pod("Always", &[], &["a"]);
        let spec = &mut pod.spec.as_mut().unwrap().containers[0];
        assert!(
            backoff.wait(&crate::testing::pod("Always", &[], &["a"]), spec, now_at(10_004).mono).is_some()
        );
        spec.image = Some("other".to_owned());
        let spec = pod.spec.as_ref().unwrap().containers[0].clone();
        assert_eq!(backoff.wait(&pod, &spec, now_at(10_004).mono), None);
        backoff.forget(&pod.uid());
        assert!(backoff.entries.is_empty());
    }

    #[test]
    fn a_wall_clock_that_jumps_does_not_move_the_deadline() {
        let pod = pod("Always", &[], &["a"]);
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let mut container = observed_container(&pod, "a", 2, ContainerState::Exited);
        container.status.created_at = now_at(4_990).wall;
        container.status.finished_at = now_at(5_000).wall;
        let observed = observed(&pod, true, vec![container]);
        let mut backoff = CrashBackoff::new(Growth::to(DEFAULT_MAX));
        // The clock was set back by an hour after the container had ended.
        let set_back = Now { wall: now_at(1_400).wall, ..now_at(5_001) };
        backoff.observe(&pod, &observed, RestartRules::default(), set_back);
        let wait = backoff.wait(&pod, spec, set_back.mono).unwrap();
        assert_eq!(wait.retry_at, set_back.mono + Duration::from_secs(20));
        backoff.observe(&pod, &observed, RestartRules::default(), now_at(5_010));
        assert_eq!(backoff.wait(&pod, spec, wait.retry_at), None);
    }
}
