//! When the API server counts as away at a start of the agent.
//!
//! ```text
//! silent --10 s----------------------+
//!   |  fails (no answer, 5xx)        v
//!   +--> away --3 s after the start--> due: what is kept is used
//!   |  refuses (4xx)
//!   +--> it is there and says no: nothing is due before it fails in another way
//! ```
//! A node that was thrown out of its cluster is refused, and must not start what it remembers.

use std::time::Duration;

use core_types::MonoTime;

/// A server that fails gets as long as its follower needs for a second try: the network of a machine that boots comes up late.
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// A server that says nothing at all may be a loaded one.
const IN_SILENCE: Duration = Duration::from_secs(10);

/// How the server failed to tell its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, did not answer in time, or could not do what was asked.
    Away,
    /// It answered that it will not tell.
    Refused,
}

/// The machine. It ends when the server tells its pods, or when it is due.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    began: MonoTime,
    last: Option<Failure>,
}

impl Patience {
    /// The server is asked from now on.
    pub fn new(now: MonoTime) -> Self {
        Self { began: now, last: None }
    }

    /// It failed.
    pub fn failed(&mut self, failure: Failure) {
        self.last = Some(failure);
    }

    /// When the server counts as away; `None` while it is there and refuses.
    pub fn due(&self) -> Option<MonoTime> {
        match self.last {
            None => Some(self.began + IN_SILENCE),
            Some(Failure::Away) => Some(self.began + AFTER_FAILURE),
            Some(Failure::Refused) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_failure_and_refusal_have_their_times() {
        let began = MonoTime::from_secs(100);
        let mut patience = Patience::new(began);
        assert_eq!(patience.due(), Some(began + IN_SILENCE));
        patience.failed(Failure::Away);
        assert_eq!(patience.due(), Some(began + AFTER_FAILURE));
        patience.failed(Failure::Refused);
        assert_eq!(patience.due(), None, "who is refused does not start what it remembers");
        patience.failed(Failure::Away);
        assert_eq!(patience.due(), Some(began + AFTER_FAILURE));
    }
}
