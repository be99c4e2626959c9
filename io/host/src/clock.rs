//! The node's clocks. The only module of the product that reads them.
//!
//! Monotonic time is `tokio::time`'s, so that deadlines computed from it fit `tokio::time::sleep_until` and a paused
//! runtime moves both. Wall time is the system's and may jump.

use core_types::{MonoTime, WallTime};
use ports::Clock;

/// The real clocks. `MonoTime::ZERO` is the moment of construction.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    start: tokio::time::Instant,
}

impl HostClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// The `tokio` instant of a time of this clock, for `sleep_until`.
    pub fn instant(&self, time: MonoTime) -> tokio::time::Instant {
        self.start + time.since(MonoTime::ZERO)
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO + self.start.elapsed()
    }

    fn wall(&self) -> WallTime {
        wall_now()
    }
}

/// Wall time; a clock before 1970 reads as the epoch.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall_now() -> WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn monotonic_time_moves_with_tokio_time() {
        let clock = HostClock::new();
        let before = clock.now();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(3600));
        assert_eq!(clock.instant(clock.now()), tokio::time::Instant::now());
    }

    #[test]
    fn wall_time_is_after_this_was_written() {
        assert!(HostClock::new().wall() > WallTime::from_unix_secs(1_700_000_000));
    }
}
