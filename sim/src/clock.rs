//! Clocks of a simulation: monotonic time is tokio's paused time, wall time can be stepped.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use core_types::{MonoTime, WallTime};
use ports::Clock;

/// Where the wall clock of every simulation starts, seconds since the epoch.
const START_UNIX_SECS: i64 = 1_800_000_000;

/// Clock of one simulated node.
#[derive(Debug)]
pub struct SimClock {
    start: tokio::time::Instant,
    wall_offset_nanos: AtomicI64,
    /// The last reading: like a real clock, no two readings are the same, or order would be lost in ties.
    last_nanos: AtomicU64,
}

impl SimClock {
    /// A clock that starts now. Must be made inside a runtime with paused time.
    pub fn new() -> Self {
        // One second in, so that no time is the special time zero.
        let start = tokio::time::Instant::now() - std::time::Duration::from_secs(1);
        Self { start, wall_offset_nanos: AtomicI64::new(0), last_nanos: AtomicU64::new(0) }
    }

    /// Steps the wall clock.
    pub fn step_wall_secs(&self, secs: i64) {
        self.wall_offset_nanos.fetch_add(secs * 1_000_000_000, Ordering::Relaxed);
    }

    /// The last reading: a trace that took a new one would change what it traces.
    pub fn last(&self) -> MonoTime {
        MonoTime::from_nanos(self.last_nanos.load(Ordering::Relaxed))
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> MonoTime {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let reading = elapsed.max(self.last_nanos.load(Ordering::Relaxed) + 1);
        self.last_nanos.store(reading, Ordering::Relaxed);
        MonoTime::from_nanos(reading)
    }

    fn wall(&self) -> WallTime {
        let elapsed = i64::try_from(self.now().as_nanos()).unwrap_or(i64::MAX);
        let offset = self.wall_offset_nanos.load(Ordering::Relaxed);
        WallTime::from_unix_nanos(START_UNIX_SECS * 1_000_000_000 + elapsed + offset)
    }
}
