//! The bench's own clock: no kubelet's figures are believed where time can be taken from outside.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "a measuring tool has no simulated time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
