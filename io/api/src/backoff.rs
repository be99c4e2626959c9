//! Waiting times between tries to follow objects: doubled after each failure, spread by chance so that the nodes of a cluster do not
//! all come back at once.

use std::time::Duration;

/// First and longest wait, as client-go's reflector.
const FIRST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(30);

/// The waits of one follower.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let base = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Between once and twice the base, never above the longest.
        base.mul_f64(1.0 + fastrand::f64()).min(LONGEST)
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let first = backoff.next();
        assert!(first >= FIRST && first <= FIRST * 2, "{first:?}");
        for _ in 0..40 {
            assert!(backoff.next() <= LONGEST);
        }
        assert_eq!(backoff.next(), LONGEST);
        backoff.reset();
        assert!(backoff.next() <= FIRST * 2);
    }
}
