//! The clock of the tools: elapsed time, and waiting for a condition with a deadline.
//!
//! Guarantees: a wait ends with a value, with an error that says what was waited for and what was seen last, or at once
//! when the flag of [`interrupt`] is set (Ctrl-C).
//! Reads: `PODWRIGHT_PATIENCE`, by which every deadline is multiplied on a machine that is much slower than others.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};

/// The pause between two looks at a condition: short enough to time things to a few hundredths of a second.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A point in time from which elapsed time is measured.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the clock of the tools, which have no paused time")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// What a look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds; the wait ends with this value.
    Done(T),
    /// Not yet; the text says what was seen, for the error when time runs out.
    Waiting(String),
}

/// Looks until `look` is done or `limit` has passed; `what` completes the sentence "waited for ...".
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    until_even_if_interrupted(what, limit, || {
        let seen = look()?;
        if interrupted() && matches!(seen, Look::Waiting(_)) {
            bail!("interrupted while waiting for {what}");
        }
        Ok(seen)
    })
}

/// Like [`until`] for cleaning up, which has to go on after [`interrupt`].
pub(crate) fn until_even_if_interrupted<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let (clock, limit) = (Stopwatch::start(), patient(limit));
    loop {
        let seen = match look()? {
            Look::Done(value) => return Ok(value),
            Look::Waiting(seen) => seen,
        };
        if clock.elapsed() >= limit {
            bail!("waited {} s for {what}; last seen: {seen}", limit.as_secs_f32());
        }
        pause();
    }
}

/// How long something may take here that usually takes `limit` at most.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    limit.saturating_mul(patience())
}

/// How many times longer than usual things may take here.
fn patience() -> u32 {
    static TIMES: OnceLock<u32> = OnceLock::new();
    *TIMES.get_or_init(|| {
        let times = std::env::var("PODWRIGHT_PATIENCE").ok().and_then(|times| times.parse().ok());
        times.unwrap_or(1).max(1)
    })
}

/// Like [`until`] for a plain yes-or-no condition.
pub fn until_true(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || {
        Ok(if holds() { Look::Done(()) } else { Look::Waiting("it does not hold".to_owned()) })
    })
}

/// Lets `span` pass, for measurements over a span of time; ends early when interrupted.
pub fn let_pass(span: Duration) {
    let clock = Stopwatch::start();
    while clock.elapsed() < span && !interrupted() {
        pause();
    }
}

/// Returns when the flag of [`interrupt`] is set.
pub fn until_interrupted() {
    while !interrupted() {
        pause();
    }
}

/// The flag that ends every wait of this process; a signal handler may set it.
pub fn interrupt() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default).clone()
}

/// Whether the flag of [`interrupt`] is set.
#[must_use]
pub fn interrupted() -> bool {
    interrupt().load(Ordering::Relaxed)
}

#[allow(
    clippy::disallowed_methods,
    reason = "between two looks at a thing that sends no event; every caller has a deadline"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_value() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok(if looks == 3 { Look::Done(looks) } else { Look::Waiting(format!("{looks}")) })
        });
        assert_eq!(value.expect("done"), 3);
    }

    #[test]
    fn a_wait_that_runs_out_says_what_was_seen() {
        let error = until::<()>("rain", Duration::from_millis(30), || Ok(Look::Waiting("sun".to_owned())));
        let text = error.expect_err("no rain").to_string();
        assert!(text.contains("rain") && text.contains("sun"), "{text}");
    }
}
