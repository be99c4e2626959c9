//! How fast one log grows, and when it is worth a look.
//!
//! A new log is looked at soon. One that grows is looked at again on the way to being full, ever more closely; one that does
//! not is looked at after the interval. So a log that fills in a tenth of a second is caught within a few milliseconds of its
//! cap, and one that rests costs one look per interval.
//!
//! ```text
//! rests: the next write is told > looked at before a burst could fill the log > rests again
//!   | written again within seconds                                             ^
//!   v                                                                          | did not grow for seconds
//! is written all the time: looked at some times per second, and no write is told
//! ```
//! A told write costs more than a look, and looks at many logs cost little more than at one: so what programs log steadily
//! costs the same however many lines they write.

use std::time::Duration;

use core_types::MonoTime;

use crate::LogPolicy;

/// First wait for a log of which nothing is known: a writer of 50 MB/s fills a tenth of the default cap in it.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Shortest wait: a writer of 50 MB/s adds 250 kB in it, 2.5 % of the default cap, and it bounds the looks at one log to 200
/// per second.
const MIN_WAIT: Duration = Duration::from_millis(5);
/// Part of the time until the log is full after which it is looked at: a writer may become two and a half times as fast
/// meanwhile and is still caught at the cap.
const PART_OF_WAY: f64 = 0.4;
/// What a measured speed still counts for at the next look, so that a short pause of the writer does not hide it.
const MEMORY: f64 = 0.8;

/// The fastest writer that is reckoned with where nothing is measured: what a runtime copies from a pipe to a file.
const BURST_BYTES_PER_SEC: u64 = 100_000_000;

/// A log that is written to so soon after a look, or grew within that time, is one that is written all the time.
const STEADY: Duration = Duration::from_secs(5);
/// Shortest wait between looks at such a log while it grows slowly: if it begins to burst just then, it passes its cap by what is
/// written in this time.
const STEADY_WAIT: Duration = Duration::from_millis(250);

/// Time from a look to the new file, in which a fast writer goes on: it is rotated that much before its cap. This is what it is
/// taken to be before it was measured, and at least.
const REACTION: Duration = Duration::from_millis(30);
/// What a measured reaction still counts for at the next rotation, so that one slow moment of the machine is forgotten.
const REACTION_MEMORY: f64 = 0.9;
/// A log is never rotated with less in it than this part of its cap, however slow the machine reacts.
const LEAST_FILL: (u64, u64) = (3, 4);

/// What is known of the growth of one log.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    size_bytes: u64,
    at: MonoTime,
    bytes_per_sec: f64,
    wait: Duration,
    /// How long a rotation takes from the look that asked for it.
    reaction: Duration,
    /// Until when it counts as written all the time.
    steady_until: MonoTime,
    /// Until when writes do not bring the next look forward.
    left_alone_until: MonoTime,
}

impl Growth {
    /// A log of which nothing is known yet: the first look is due soon after `now`.
    pub fn new(now: MonoTime) -> Self {
        Self {
            size_bytes: 0,
            at: now,
            bytes_per_sec: 0.0,
            wait: FIRST_WAIT,
            reaction: REACTION,
            steady_until: now,
            left_alone_until: now,
        }
    }

    /// A look has shown this size.
    pub fn looked(&mut self, size_bytes: u64, now: MonoTime, policy: &LogPolicy) {
        let secs = now.since(self.at).as_secs_f64();
        let grown = size_bytes.saturating_sub(self.size_bytes);
        if secs > 0.0 {
            let rate = grown as f64 / secs;
            self.bytes_per_sec = rate.max(self.bytes_per_sec * MEMORY);
        }
        (self.size_bytes, self.at) = (size_bytes, now);
        if grown > 0 && !self.rests(now) {
            self.steady_until = now + STEADY;
        }
        self.wait = self.next_wait(policy);
    }

    /// True when a look now should have the next write told.
    pub fn rests(&self, now: MonoTime) -> bool {
        self.steady_until <= now
    }

    /// Something was written after the last look: the next one comes before a burst could have filled the log.
    pub fn written(&mut self, now: MonoTime, policy: &LogPolicy) {
        let left = policy.max_size_bytes.saturating_sub(self.size_bytes);
        let until_full = Duration::from_micros(left / (BURST_BYTES_PER_SEC / 1_000_000));
        let due = self.next_look().min(now + until_full.max(MIN_WAIT)).max(self.left_alone_until).max(now);
        if now.since(self.at) < STEADY {
            self.steady_until = now + STEADY;
        }
        // It grows from here on: the time in which it rested does not make its writer look slow.
        self.at = now;
        self.wait = due.since(now);
    }

    /// True when the log is at its cap, or will be before it can be rotated; never when it is less than 3/4 full.
    pub fn is_full(&self, policy: &LogPolicy) -> bool {
        self.size_bytes >= self.full_at(policy)
    }

    /// The size at which it must be rotated, so that it is at its cap when that is done.
    fn full_at(&self, policy: &LogPolicy) -> u64 {
        let ahead = (self.bytes_per_sec * self.reaction.as_secs_f64()) as u64;
        let (part, whole) = LEAST_FILL;
        let least = policy.max_size_bytes - policy.max_size_bytes / whole * (whole - part);
        policy.max_size_bytes.saturating_sub(ahead).max(least)
    }

    /// The log was moved aside, and at `now` the runtime wrote into a new file; its speed is still known, and how long that took
    /// since the last look.
    pub fn rotated(&mut self, now: MonoTime, policy: &LogPolicy) {
        self.reaction = self.reaction.mul_f64(REACTION_MEMORY).max(now.since(self.at)).max(REACTION);
        (self.size_bytes, self.at) = (0, now);
        self.wait = match policy.max_size_bytes {
            0 => policy.interval,
            // Writes to the new file are told after a look at it.
            _ => self.next_wait(policy).min(FIRST_WAIT),
        };
    }

    /// The log could not be rotated or looked at: it is left alone for one interval.
    pub fn failed(&mut self, now: MonoTime, policy: &LogPolicy) {
        self.at = now;
        self.wait = policy.interval;
        self.left_alone_until = self.next_look();
    }

    /// When to look next.
    pub fn next_look(&self) -> MonoTime {
        self.at + self.wait
    }

    /// True when it is worth a look along with others that are due: half of its wait is over. So logs that rest come to be looked
    /// at together, and one that is written to does not have those looked at each time that are written to as well.
    pub fn may_join(&self, now: MonoTime) -> bool {
        self.at + self.wait / 2 <= now && self.left_alone_until <= now
    }

    fn next_wait(&self, policy: &LogPolicy) -> Duration {
        let longest = match self.rests(self.at) {
            true => policy.interval.max(MIN_WAIT),
            false => STEADY_WAIT,
        };
        if self.bytes_per_sec < 1.0 {
            return longest;
        }
        let left = self.full_at(policy).saturating_sub(self.size_bytes) as f64;
        let until_full = left / self.bytes_per_sec * PART_OF_WAY;
        Duration::try_from_secs_f64(until_full).unwrap_or(longest).clamp(MIN_WAIT, longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: LogPolicy =
        LogPolicy { max_size_bytes: 10 << 20, max_files: 5, interval: Duration::from_secs(10) };

    /// Plays a writer of this speed for some seconds; gives the largest size that a rotation met and the number of looks.
    fn play(bytes_per_sec: u64, policy: &LogPolicy, secs: u64) -> (u64, u64) {
        let mut growth = Growth::new(MonoTime::ZERO);
        let (mut began, mut largest, mut looks) = (MonoTime::ZERO, 0, 0);
        loop {
            let now = growth.next_look();
            if now > MonoTime::from_secs(secs) {
                return (largest, looks);
            }
            looks += 1;
            let size = (now.since(began).as_secs_f64() * bytes_per_sec as f64) as u64;
            growth.looked(size, now, policy);
            if size >= policy.max_size_bytes {
                largest = largest.max(size);
                growth.rotated(now, policy);
                began = now;
            }
        }
    }

    #[test]
    fn a_writer_of_50_mb_per_second_is_caught_within_a_tenth_of_the_cap() {
        let (largest, looks) = play(50_000_000, &POLICY, 10);
        let allowed = POLICY.max_size_bytes..=POLICY.max_size_bytes / 10 * 11;
        assert!(allowed.contains(&largest), "{largest}");
        assert!(looks < 10 * 100, "{looks} looks in 10 s");
    }

    /// The largest file of a writer of 50 MB/s on a machine that takes so long from a look to the new file, once that is known.
    fn largest_with(reaction: Duration) -> u64 {
        let mut growth = Growth::new(MonoTime::ZERO);
        let (mut began, mut largest) = (MonoTime::ZERO, 0);
        let size_at = |began: MonoTime, now: MonoTime| (now.since(began).as_secs_f64() * 50e6) as u64;
        for rotation in 0..20 {
            loop {
                let now = growth.next_look();
                growth.looked(size_at(began, now), now, &POLICY);
                if growth.is_full(&POLICY) {
                    let done = now + reaction;
                    if rotation > 0 {
                        largest = largest.max(size_at(began, done));
                    }
                    growth.rotated(done, &POLICY);
                    began = done;
                    break;
                }
            }
        }
        largest
    }

    #[test]
    fn a_machine_that_reacts_slowly_is_reckoned_with() {
        for reaction_ms in [1, 20, 40, 60] {
            let largest = largest_with(Duration::from_millis(reaction_ms));
            let allowed = POLICY.max_size_bytes / 4 * 3..=POLICY.max_size_bytes / 10 * 11;
            assert!(allowed.contains(&largest), "{largest} with {reaction_ms} ms");
        }
    }

    #[test]
    fn one_slow_rotation_is_forgotten() {
        let mut growth = Growth::new(MonoTime::ZERO);
        growth.looked(1, MonoTime::from_secs(1), &POLICY);
        growth.rotated(MonoTime::from_secs(3), &POLICY);
        let mut now = MonoTime::from_secs(3);
        for _ in 0..60 {
            now = now + Duration::from_secs(1);
            growth.looked(1, now, &POLICY);
            growth.rotated(now, &POLICY);
        }
        assert_eq!(growth.reaction, REACTION);
    }

    #[test]
    fn a_quiet_log_is_looked_at_once_per_interval() {
        let (_, first) = play(0, &POLICY, 30);
        let (_, all) = play(0, &POLICY, 3030);
        assert!(all - first <= 301, "{} looks in 3000 s", all - first);
    }

    #[test]
    fn a_log_that_cannot_be_rotated_is_left_alone_for_an_interval() {
        let mut growth = Growth::new(MonoTime::ZERO);
        growth.looked(20 << 20, MonoTime::from_secs(1), &POLICY);
        growth.failed(MonoTime::from_secs(2), &POLICY);
        assert_eq!(growth.next_look(), MonoTime::from_secs(12));
        for written_at in 2..12 {
            growth.written(MonoTime::from_secs(written_at), &POLICY);
            assert_eq!(growth.next_look(), MonoTime::from_secs(12), "whatever is written meanwhile");
            assert!(!growth.may_join(MonoTime::from_secs(written_at)), "whoever is looked at");
        }
        assert!(growth.may_join(MonoTime::from_secs(12)));
    }

    #[test]
    fn the_new_file_of_a_slow_writer_is_looked_at_soon_so_that_its_writes_are_told() {
        let mut growth = Growth::new(MonoTime::ZERO);
        growth.looked(POLICY.max_size_bytes, MonoTime::from_secs(100_000), &POLICY);
        assert!(growth.is_full(&POLICY));
        let rotated_at = MonoTime::from_secs(100_001);
        growth.rotated(rotated_at, &POLICY);
        assert_eq!(growth.next_look().since(rotated_at), FIRST_WAIT);
    }

    #[test]
    fn a_log_that_rested_and_then_bursts_is_caught_within_a_tenth_of_the_cap() {
        for quiet_secs in [0, 3, 25, 1000] {
            for before in [0, 5 << 20, POLICY.max_size_bytes / 10 * 8] {
                let mut growth = Growth::new(MonoTime::ZERO);
                while growth.next_look() < MonoTime::from_secs(quiet_secs) {
                    let now = growth.next_look();
                    growth.looked(before, now, &POLICY);
                }
                let burst_at = MonoTime::from_secs(quiet_secs);
                growth.written(burst_at, &POLICY);
                let size_at = |now: MonoTime| before + (now.since(burst_at).as_secs_f64() * 50e6) as u64;
                let caught = loop {
                    let now = growth.next_look();
                    growth.looked(size_at(now), now, &POLICY);
                    if growth.is_full(&POLICY) {
                        break size_at(now);
                    }
                };
                assert!(
                    caught <= POLICY.max_size_bytes / 10 * 11,
                    "{caught} after {quiet_secs} s from {before}"
                );
            }
        }
    }

    #[test]
    fn one_line_in_a_while_costs_one_look_more() {
        let mut growth = Growth::new(MonoTime::ZERO);
        let mut now = MonoTime::ZERO;
        for _ in 0..20 {
            now = growth.next_look();
            growth.looked(100, now, &POLICY);
        }
        growth.written(now + Duration::from_secs(1), &POLICY);
        let look = growth.next_look();
        assert!(look.since(now) < Duration::from_millis(1_200), "{look:?}");
        growth.written(now + Duration::from_secs(1), &POLICY);
        assert_eq!(growth.next_look(), look, "further writes change nothing");
    }

    /// What some logs cost, each with a line now and then.
    #[derive(Debug, Default)]
    struct Cost {
        rounds: u64,
        looks: u64,
        told_writes: u64,
    }

    /// Plays these logs: a line to each per period, at different times.
    fn play_lines(logs: u64, period: Duration, secs: u64) -> Cost {
        let mut growths = vec![(Growth::new(MonoTime::ZERO), 0, false); logs as usize];
        let line_at = |line: u64| {
            MonoTime::ZERO
                + period * (line / logs) as u32
                + period.mul_f64((line % logs) as f64 / logs as f64)
        };
        let (mut cost, mut line) = (Cost::default(), 0);
        while line_at(line) < MonoTime::from_secs(secs) {
            let due = growths.iter().map(|(growth, ..)| growth.next_look()).min().unwrap_or(MonoTime::ZERO);
            if line_at(line) <= due {
                let (growth, size, is_told) = &mut growths[(line % logs) as usize];
                *size += 100;
                if std::mem::take(is_told) {
                    cost.told_writes += 1;
                    growth.written(line_at(line), &POLICY);
                }
                line += 1;
                continue;
            }
            cost.rounds += 1;
            for (growth, size, is_told) in growths.iter_mut().filter(|(growth, ..)| growth.may_join(due)) {
                cost.looks += 1;
                *is_told |= growth.rests(due);
                growth.looked(*size, due, &POLICY);
            }
        }
        cost
    }

    #[test]
    fn logs_that_are_written_all_the_time_cost_the_same_however_many_lines_they_get() {
        let secs = 60;
        for (logs, period_ms) in [(1, 1_000), (30, 1_000), (30, 20), (100, 300)] {
            let cost = play_lines(logs, Duration::from_millis(period_ms), secs);
            assert!(cost.told_writes <= 2 * logs, "{logs} logs every {period_ms} ms: {cost:?}");
            assert!(cost.rounds <= 6 * secs, "{logs} logs every {period_ms} ms: {cost:?}");
            assert!(cost.looks <= 6 * secs * logs, "{logs} logs every {period_ms} ms: {cost:?}");
        }
    }

    #[test]
    fn a_line_once_in_a_while_costs_a_look_or_two() {
        let (secs, period_secs) = (600, 30);
        let cost = play_lines(1, Duration::from_secs(period_secs), secs);
        let looks_at_rest = secs / POLICY.interval.as_secs();
        assert!(cost.looks <= looks_at_rest + 2 * secs / period_secs + 10, "{cost:?}");
    }

    #[test]
    fn a_log_that_is_written_no_more_comes_to_rest() {
        let mut growth = Growth::new(MonoTime::ZERO);
        for round in 0..100 {
            let looked_at = growth.next_look();
            growth.looked(100 * round, looked_at, &POLICY);
            growth.written(looked_at + Duration::from_millis(10), &POLICY);
        }
        assert!(!growth.rests(growth.next_look()));
        let ended_at = growth.next_look();
        while !growth.rests(growth.next_look()) {
            growth.looked(10_000, growth.next_look(), &POLICY);
        }
        growth.looked(10_000, growth.next_look(), &POLICY);
        assert!(growth.next_look().since(ended_at) < STEADY * 2 + POLICY.interval);
        assert!(growth.rests(growth.next_look()));
    }

    #[test]
    fn a_log_that_is_written_all_the_time_and_then_bursts_passes_its_cap_by_one_wait_at_most() {
        for filled in [0, POLICY.max_size_bytes / 2, POLICY.max_size_bytes / 10 * 9] {
            let mut growth = Growth::new(MonoTime::ZERO);
            let looked_at = growth.next_look();
            growth.looked(filled, looked_at, &POLICY);
            growth.written(looked_at + Duration::from_secs(1), &POLICY);
            for round in 1..=100 {
                growth.looked(filled + 100 * round, growth.next_look(), &POLICY);
            }
            assert!(!growth.rests(growth.next_look()));
            let burst_at = growth.next_look() - growth.wait;
            let size_at = |now: MonoTime| filled + 10_000 + (now.since(burst_at).as_secs_f64() * 50e6) as u64;
            while !growth.is_full(&POLICY) {
                growth.looked(size_at(growth.next_look()), growth.next_look(), &POLICY);
            }
            let allowed = POLICY.max_size_bytes / 10 * 11 + (STEADY_WAIT.as_secs_f64() * 50e6) as u64;
            assert!(growth.size_bytes <= allowed, "{} from {filled}", growth.size_bytes);
        }
    }

    #[test]
    fn a_cap_of_nothing_is_no_busy_loop() {
        let (_, looks) = play(1000, &LogPolicy { max_size_bytes: 0, ..POLICY }, 100);
        assert!(looks <= 11, "{looks}");
    }

    proptest! {
        #[test]
        fn steady_writers_stay_within_a_tenth_of_the_cap(speed in 0_u64..80_000_000, cap_mib in 10_u64..200) {
            let policy = LogPolicy { max_size_bytes: cap_mib << 20, ..POLICY };
            let (largest, _) = play(speed, &policy, 60);
            prop_assert!(largest <= policy.max_size_bytes / 10 * 11, "{largest}");
        }

        #[test]
        fn the_next_look_is_never_at_once_and_never_later_than_the_interval(
            sizes in proptest::collection::vec((0_u64..20 << 20, 0_u64..20_000), 1..50)
        ) {
            let mut growth = Growth::new(MonoTime::ZERO);
            let mut now = MonoTime::ZERO;
            for (size, wait_ms) in sizes {
                now = now + Duration::from_millis(wait_ms);
                growth.looked(size, now, &POLICY);
                if size >= POLICY.max_size_bytes {
                    growth.rotated(now, &POLICY);
                }
                let wait = growth.next_look().since(now);
                prop_assert!((MIN_WAIT..=POLICY.interval).contains(&wait), "{wait:?}");
            }
        }
    }
}
