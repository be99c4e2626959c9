//! `kubeAPIQPS` and `kubeAPIBurst`: how many requests the client makes of its own accord.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many requests may be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As many as are asked for.
    Unlimited,
    /// So many a second in the long run, and so many at once after a pause.
    Limited {
        /// Requests a second.
        per_second: f64,
        /// Requests at once; at least 1.
        burst: u32,
    },
}

/// A token bucket. Requests take their turn in the order in which they come.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    /// Tokens left, negative while requests wait, and when that was so.
    bucket: Mutex<(f64, Option<Instant>)>,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        let full = match rate {
            Rate::Unlimited => 0.0,
            Rate::Limited { burst, .. } => f64::from(burst.max(1)),
        };
        Self { rate, bucket: Mutex::new((full, None)) }
    }

    /// Waits for its turn; says how long that took.
    pub(crate) async fn turn(&self) -> Duration {
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        wait
    }

    fn reserve(&self, now: Instant) -> Duration {
        let Rate::Limited { per_second, burst } = self.rate else { return Duration::ZERO };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, at) = *bucket;
        let gained = at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() * per_second);
        let left = (tokens + gained).min(f64::from(burst.max(1))) - 1.0;
        *bucket = (left, Some(now));
        match left < 0.0 {
            true => Duration::try_from_secs_f64(-left / per_second).unwrap_or(Duration::MAX),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let limiter = Limiter::new(Rate::Limited { per_second: 10.0, burst: 3 });
        let waits: Vec<u128> = (0..5).map(|_| limiter.reserve(Instant::now()).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        tokio::time::advance(Duration::from_secs(10)).await;
        let waits: Vec<u128> = (0..4).map(|_| limiter.reserve(Instant::now()).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100], "a long pause fills the bucket and no more");
        assert_eq!(Limiter::new(Rate::Unlimited).turn().await, Duration::ZERO);
    }
}
