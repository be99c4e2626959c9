//! Waiting for a deadline of the agent's clock with `tokio::time`, which simulation pauses.

use core_types::MonoTime;
use ports::Clock;

/// Returns at the deadline; never for `None`.
pub(crate) async fn until(clock: &dyn Clock, deadline: Option<MonoTime>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
pub(crate) use testing::TokioClock;

#[cfg(test)]
mod testing {
    use core_types::WallTime;
    use tokio::time::Instant;

    use super::*;

    /// Tokio's time, which tests pause.
    pub(crate) struct TokioClock(Instant);

    impl TokioClock {
        /// A clock that begins now.
        pub(crate) fn new() -> Self {
            Self(Instant::now())
        }
    }

    impl Clock for TokioClock {
        fn now(&self) -> MonoTime {
            MonoTime::ZERO + self.0.elapsed()
        }

        fn wall(&self) -> WallTime {
            WallTime::default()
        }
    }
}
