//! The seats of a listener: how many connections there may be at once, and who makes room when all are taken.
//!
//! ```text
//! taken > idle <--> busy (a request waits for its answer) > given back
//!           \ asked to leave, when somebody new comes and this one has been idle longest
//! ```
//! Guarantees: never more seats than there are; a connection whose request is being answered is not asked to leave. So clients that
//! hold connections and ask for nothing, or never finish asking, cannot keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Who is idle, by the order in which they became so.
#[derive(Debug, Default)]
struct Idle {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

type Shared = Arc<Mutex<Idle>>;

fn lock(idle: &Shared) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All seats of one listener.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    idle: Shared,
}

impl Seats {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), idle: Shared::default() }
    }

    /// Takes a seat; when there is none, whoever has been idle longest makes room. Waits while all are busy.
    pub(crate) async fn take(&self) -> Option<Seat> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if let Some((_, leave)) = lock(&self.idle).by_age.pop_first() {
                    leave.cancel();
                }
                // The semaphore is never closed.
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        let seat = Seat {
            idle: Arc::clone(&self.idle),
            leave: CancellationToken::new(),
            place: Mutex::new(None),
            _permit: permit,
        };
        seat.is_idle();
        Some(seat)
    }
}

/// One seat, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    idle: Shared,
    leave: CancellationToken,
    /// Where it stands among the idle ones; `None` while it is busy.
    place: Mutex<Option<u64>>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// Nobody waits for an answer on it now.
    pub(crate) fn is_idle(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle = lock(&self.idle);
        let number = idle.next;
        idle.next += 1;
        idle.by_age.insert(number, self.leave.clone());
        if let Some(old) = place.replace(number) {
            idle.by_age.remove(&old);
        }
    }

    /// Somebody waits for an answer.
    pub(crate) fn is_busy(&self) {
        if let Some(number) = self.place.lock().unwrap_or_else(PoisonError::into_inner).take() {
            lock(&self.idle).by_age.remove(&number);
        }
    }

    /// Returns when it should make room.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.is_busy();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn must_leave(seat: &Seat) -> bool {
        seat.asked_to_leave().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_the_busy_stay() {
        let seats = Seats::new(3);
        let first = seats.take().await.expect("a seat");
        let second = seats.take().await.expect("a seat");
        let third = seats.take().await.expect("a seat");
        first.is_busy();
        assert!(![&first, &second, &third].into_iter().any(must_leave));
        let mut fourth = Box::pin(seats.take());
        assert!(fourth.as_mut().now_or_never().is_none(), "nobody has left yet");
        assert!(must_leave(&second) && !must_leave(&first) && !must_leave(&third));
        drop(second);
        let fourth = fourth.await.expect("a seat");
        // Who was answered last goes last.
        first.is_idle();
        drop(Box::pin(seats.take()).now_or_never());
        assert!(must_leave(&third) && !must_leave(&first) && !must_leave(&fourth));
        drop(third);
        let fifth = seats.take().await.expect("a seat");
        [&first, &fourth, &fifth].into_iter().for_each(Seat::is_busy);
        assert!(seats.take().now_or_never().is_none(), "all are busy");
        assert!(![&first, &fourth, &fifth].into_iter().any(must_leave));
        drop(first);
        assert!(seats.take().now_or_never().is_some());
    }
}
