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
