//! One read for all who ask at the same time, kept for those who ask within a second after it began.
//!
//! The read is driven by those who wait for it. When all go away it stops, and the next one begins anew: nothing that was
//! read long ago and never finished is shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use core_types::MonoTime;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};
use ports::Clock;

/// How long a result is shared. Several scrapers and a person with curl cost one read; no interval of scrapes is as short.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Results of one kind of read.
pub(super) struct Shared<T: Clone> {
    clock: Arc<dyn Clock>,
    state: Mutex<State<T>>,
}

struct State<T: Clone> {
    last: Option<(MonoTime, T)>,
    running: Option<WeakShared<BoxFuture<'static, T>>>,
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State { last: None, running: None }) }
    }

    /// A fresh result: a kept one, the one under way, or that of `read`.
    pub(super) async fn get(self: &Arc<Self>, read: impl FnOnce() -> BoxFuture<'static, T>) -> T {
        match self.find_or_begin(read) {
            Found::Kept(result) => result,
            Found::Running(running) => running.await,
        }
    }

    fn find_or_begin(self: &Arc<Self>, read: impl FnOnce() -> BoxFuture<'static, T>) -> Found<T> {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some((_, result)) = state.last.as_ref().filter(|(began, _)| now.since(*began) < SHARED_FOR) {
            return Found::Kept(result.clone());
        }
        if let Some(running) = state.running.as_ref().and_then(WeakShared::upgrade) {
            return Found::Running(running);
        }
        let (own, read) = (Arc::downgrade(self), read());
        let running = async move {
            let result = read.await;
            if let Some(own) = own.upgrade() {
                *own.lock() = State { last: Some((now, result.clone())), running: None };
            }
            result
        };
        let running = running.boxed().shared();
        state.running = running.downgrade();
        Found::Running(running)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found<T: Clone> {
    Kept(T),
    Running(SharedFuture<BoxFuture<'static, T>>),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use core_types::WallTime;

    use super::*;

    #[derive(Default)]
    struct Seconds(AtomicUsize);

    impl Clock for Seconds {
        fn now(&self) -> MonoTime {
            MonoTime::from_secs(self.0.load(Ordering::SeqCst) as u64)
        }

        fn wall(&self) -> WallTime {
            WallTime::default()
        }
    }

    struct Reads {
        clock: Arc<Seconds>,
        shared: Arc<Shared<usize>>,
        begun: Arc<AtomicUsize>,
        go: Arc<Notify>,
    }

    impl Reads {
        fn new() -> Self {
            let clock = Arc::new(Seconds::default());
            let shared = Arc::new(Shared::new(clock.clone() as Arc<dyn Clock>));
            Self { clock, shared, begun: Arc::default(), go: Arc::default() }
        }

        /// Asks; a read that this begins waits for `go` and gives its number.
        fn ask(&self) -> BoxFuture<'static, usize> {
            let (shared, begun, go) = (self.shared.clone(), self.begun.clone(), self.go.clone());
            async move {
                shared
                    .get(move || {
                        let number = begun.fetch_add(1, Ordering::SeqCst);
                        async move {
                            go.notified().await;
                            number
                        }
                        .boxed()
                    })
                    .await
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn who_asks_meanwhile_or_within_a_second_shares_a_read() {
        let reads = Reads::new();
        let (mut first, mut second) = (reads.ask(), reads.ask());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        reads.go.notify_one();
        assert_eq!((first.await, second.await), (0, 0));
        assert_eq!(reads.ask().now_or_never(), Some(0), "kept");

        reads.clock.0.fetch_add(1, Ordering::SeqCst);
        reads.go.notify_one();
        assert_eq!(reads.ask().await, 1, "a second later it is read again");
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_is_given_up() {
        let reads = Reads::new();
        let mut gone = reads.ask();
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        reads.go.notify_one();
        assert_eq!(reads.ask().await, 1);
    }
}
