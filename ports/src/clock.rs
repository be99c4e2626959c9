//! Time. Waiting is `tokio::time`'s, which simulation pauses; reading the time goes through here.

use core_types::{MonoTime, WallTime};

/// The node's clocks.
pub trait Clock: Send + Sync {
    /// Monotonic time; in step with `tokio::time`.
    fn now(&self) -> MonoTime;
    /// Wall time; may jump.
    fn wall(&self) -> WallTime;
}
