//! Simulation: the whole agent on fakes, on one thread, in paused time, from a printed seed.
//!
//! A [`scenario`] draws pods, changes and faults from its seed, lets the agent run for some minutes of simulated time, then
//! stops the faults and demands that the node converges. [`check`] holds what must be true, seen from outside. A failing
//! seed replays exactly.

pub mod check;
pub mod clock;
pub mod cluster;
pub mod faults;
pub mod host;
pub mod pod_api;
pub mod probes;
pub mod runtime;
pub mod scenario;
pub mod world;

use std::ops::Range;

/// Failing seeds that are printed at most; the rest are only counted.
const SHOWN: u64 = 10;

/// Does `work` in paused time: it passes when all tasks wait.
///
/// # Errors
/// Those of `work`.
pub fn in_paused_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(work)
}

/// Plays each of these seeds, each in a paused time of its own.
///
/// # Errors
/// The first failure, with its seed.
pub fn play_each<F>(seeds: Range<u64>, play: impl Fn(u64) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    seeds
        .into_iter()
        .try_for_each(|seed| in_paused_time(play(seed)).map_err(|failure| format!("seed {seed}: {failure}")))
}

/// Plays `count` seeds from `first` on, on all processors. Prints failures and gives their number.
pub fn play_all(first: u64, count: u64) -> u64 {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failed = std::sync::atomic::AtomicU64::new(0);
    let next = std::sync::atomic::AtomicU64::new(first);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, order);
                    if seed >= first + count {
                        return;
                    }
                    let played = std::panic::catch_unwind(|| scenario::play(seed));
                    let failure = match played {
                        Ok(Ok(_)) => continue,
                        Ok(Err(failure)) => failure,
                        Err(_) => "panicked".to_owned(),
                    };
                    if failed.fetch_add(1, order) < SHOWN {
                        println!("seed {seed}: {failure}\n  replay: cargo xtask sim --seeds 1 --seed {seed}");
                    }
                }
            });
        }
    });
    failed.into_inner()
}
