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

/// Tokio's time, which tests pause.
#[cfg(test)]
pub(crate) struct TokioClock(tokio::time::Instant);

#[cfg(test)]
impl TokioClock {
    /// A clock that begins now.
    pub(crate) fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[cfg(test)]
impl Clock for TokioClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO + self.0.elapsed()
    }

    fn wall(&self) -> core_types::WallTime {
        core_types::WallTime::default()
    }
}
