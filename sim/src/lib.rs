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

/// Failing seeds that are printed at most; the rest are only counted.
const SHOWN: u64 = 10;

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
