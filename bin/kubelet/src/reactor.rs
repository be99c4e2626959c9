//! The async runtime of the agent: one thread that runs all loops, and threads for calls that can block.
//!
//! The loops wait nearly always, and on one thread they need no locks against each other, no second allocator arena and no
//! wake-ups between threads. What can block goes to the blocking threads, and /healthz has a thread and runtime of its own.
//! Guarantees: work that never rests, as that of someone who follows a fast log, delays no other loop by more than a few of
//! its own steps.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};

/// Threads for calls that the kernel can block. `io_host::blocking` bounds its own calls, working and hung, to 72 for each
/// port; this bound lies above that of one port, so that a dead file server leaves threads for logs and cgroups. An idle node
/// has none of them.
const MAX_BLOCKING_THREADS: usize = 96;

/// An idle thread ends soon, so that a burst of file work leaves no memory behind.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Steps of busy tasks after which what blocking threads have finished is taken. tokio's own 31 let a follower of a fast log
/// delay each call on a file by tens of milliseconds.
const STEPS_PER_LOOK_AT_THREADS: u32 = 4;

/// Steps of busy tasks after which sockets and timers are looked at; each look is a system call. tokio's own are 61.
const STEPS_PER_LOOK_AT_EVENTS: u32 = 8;

/// The runtime.
pub(crate) fn build() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .global_queue_interval(STEPS_PER_LOOK_AT_THREADS)
        .event_interval(STEPS_PER_LOOK_AT_EVENTS)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .context("start the async runtime")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::task::Poll;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Steps that a task has done.
    type Steps = Arc<AtomicU64>;

    /// How many steps a task that never rests gets from something that happens on another thread until its waiter goes on: the
    /// most of ten times. `happening` gives the steps at the time of what happened.
    fn most_steps_behind<F>(happening: impl Fn(Steps) -> F + Send + 'static) -> u64
    where
        F: Future<Output = u64> + Send,
    {
        build().unwrap().block_on(async {
            let (steps, is_over) = (Steps::default(), Arc::new(AtomicBool::new(false)));
            let (counted, over) = (Arc::clone(&steps), Arc::clone(&is_over));
            let busy = tokio::spawn(poll_fn(move |context| {
                // Long enough for the other thread, so that the steps show what this one does.
                (0..1_000).for_each(|_| std::thread::yield_now());
                counted.fetch_add(1, Ordering::SeqCst);
                context.waker().wake_by_ref();
                if over.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            }));
            let waiter = tokio::spawn(async move {
                let mut most = 0;
                for _ in 0..10 {
                    let happened_at = happening(Arc::clone(&steps)).await;
                    most = most.max(steps.load(Ordering::SeqCst) - happened_at);
                }
                most
            });
            let most = waiter.await.unwrap();
            is_over.store(true, Ordering::SeqCst);
            busy.await.unwrap();
            most
        })
    }

    #[test]
    fn a_busy_task_delays_calls_on_blocking_threads_by_a_few_steps() {
        let most = most_steps_behind(async |steps| {
            tokio::task::spawn_blocking(move || steps.load(Ordering::SeqCst)).await.unwrap()
        });
        assert!(most <= u64::from(STEPS_PER_LOOK_AT_THREADS) + 1, "{most} steps");
    }

    #[test]
    fn a_busy_task_delays_what_comes_over_sockets_by_a_few_steps() {
        let most = most_steps_behind(async |steps| {
            let (mut far, near) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut near = tokio::net::UnixStream::from_std(near).unwrap();
            let sender = std::thread::spawn(move || {
                far.write_all(&steps.load(Ordering::SeqCst).to_be_bytes()).unwrap();
            });
            let happened_at = near.read_u64().await.unwrap();
            sender.join().unwrap();
            happened_at
        });
        assert!(most <= u64::from(STEPS_PER_LOOK_AT_EVENTS) + 1, "{most} steps");
    }
}
