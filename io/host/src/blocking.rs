//! Runs calls that the kernel can block (file systems, mounts, cgroups) on a small bounded pool with a deadline, so that
//! a hung mount delays only its own caller.
//!
//! Calls with the same key run one after another, also when the caller of the first gave up: the thread that hangs keeps
//! its key. Calls with other keys run beside them, [`WORKERS`] at a time. A call that passes its deadline gives its place
//! to others and moves to the places for hung calls ([`HUNG_PLACES`]); when these are full as well it keeps its place.
//! So the number of threads is bounded by the sum of both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls at a time. They wait for disks, not for processors, and a node does few of them at once.
const WORKERS: usize = 8;

/// Calls that may hang beside the ones that work: one per pod or path, on a node of some hundred pods of which a part
/// uses one dead file server.
const HUNG_PLACES: usize = 64;

/// Upstream gives file operations no deadline and hangs with them; a healthy disk answers in milliseconds, an overloaded
/// network file system within some seconds.
pub const FILE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum BlockingError {
    /// The deadline passed; the call still hangs or waits behind one that does.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The call panicked: a bug.
    #[error("the call broke down: {0}")]
    Broken(String),
}

/// A place that a running call holds; exchanged for a place among the hung calls when its deadline passes.
type Place = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// The pool.
#[derive(Debug)]
pub struct Blocking {
    workers: Arc<Semaphore>,
    hung: Arc<Semaphore>,
    keys: Mutex<HashMap<String, Weak<Semaphore>>>,
    deadline: Duration,
}

impl Blocking {
    /// A pool whose calls have this deadline.
    pub fn new(deadline: Duration) -> Self {
        Self::with_workers(deadline, WORKERS)
    }

    /// A pool for calls that are work for the processor too: so many at a time.
    pub fn with_workers(deadline: Duration, workers: usize) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            hung: Arc::new(Semaphore::new(HUNG_PLACES)),
            keys: Mutex::new(HashMap::new()),
            deadline,
        }
    }

    /// Runs `work` on a thread and waits for it until the deadline, which includes the waiting for a place. When the
    /// caller goes away the work goes on to its end, as one that passed its deadline; work that has no place yet is
    /// dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingError> {
        let place: Place = Arc::new(Mutex::new(None));
        let _left_when_nobody_waits = Waiting { pool: self, place: &place };
        let held = Arc::clone(&place);
        let own_key = self.key(key);
        let workers = Arc::clone(&self.workers);
        let call = async move {
            let key_permit =
                own_key.acquire_owned().await.expect("invariant: the semaphore of a key is never closed");
            let worker = workers
                .acquire_owned()
                .await
                .expect("invariant: the semaphore of the workers is never closed");
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
            let result = tokio::task::spawn_blocking(move || {
                let _ends_with_the_thread = (key_permit, ReleaseOnDrop(held));
                work()
            });
            result.await.map_err(|broken| BlockingError::Broken(broken.to_string()))
        };
        match tokio::time::timeout(self.deadline, call).await {
            Ok(result) => result,
            Err(_) => Err(BlockingError::Timeout { after: self.deadline }),
        }
    }

    fn leave_to_hang(&self, place: &Place) {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some()
            && let Ok(hung) = Arc::clone(&self.hung).try_acquire_owned()
        {
            *place = Some(hung);
        }
    }

    fn key(&self, key: &str) -> Arc<Semaphore> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, in_use| in_use.strong_count() > 0);
        if let Some(found) = keys.get(key).and_then(Weak::upgrade) {
            return found;
        }
        let fresh = Arc::new(Semaphore::new(1));
        keys.insert(key.to_owned(), Arc::downgrade(&fresh));
        fresh
    }
}

/// A caller that waits. When it stops waiting, a call that still runs moves to the places for hung calls.
struct Waiting<'a> {
    pool: &'a Blocking,
    place: &'a Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.leave_to_hang(self.place);
    }
}

/// Frees the place when the thread is done, also when it panics.
struct ReleaseOnDrop(Place);

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_hung_call_delays_only_its_own_key() {
        let pool = Blocking::new(SHORT);
        let mut release = Vec::new();
        for index in 0..WORKERS + 2 {
            let (sender, receiver) = mpsc::channel::<()>();
            release.push(sender);
            let hung = pool.run(&format!("hung-{index}"), move || receiver.recv()).await;
            assert!(matches!(hung, Err(BlockingError::Timeout { .. })));
        }
        assert_eq!(
            pool.run("other", || 7).await.unwrap(),
            7,
            "more hung calls than workers, and others still run"
        );
        let behind = pool.run("hung-0", || 7).await;
        assert!(matches!(behind, Err(BlockingError::Timeout { .. })), "the key of a hung call stays taken");
        release.clear();
        let pool = Arc::new(pool);
        let again = async { while pool.run("hung-0", || 7).await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(10), again).await.expect("a released key can be used again");
    }

    #[tokio::test]
    async fn a_call_whose_caller_went_away_gives_its_place_to_others() {
        let pool = Blocking::with_workers(Duration::from_secs(60), 1);
        let (release, receiver) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        {
            let hung = pool.run("hung", move || {
                let _ = begun.send(());
                receiver.recv()
            });
            tokio::select! {
                _ = hung => panic!("it hangs"),
                _ = has_begun => {}
            }
        }
        assert_eq!(pool.run("other", || 7).await.unwrap(), 7);
        drop(release);
    }

    #[tokio::test]
    async fn a_broken_call_is_an_error_and_frees_its_place() {
        let pool = Blocking::new(Duration::from_secs(10));
        for _ in 0..WORKERS * 2 {
            let broken = pool.run("key", || panic!("on purpose")).await;
            assert!(matches!(broken, Err(BlockingError::Broken(_))));
        }
        assert_eq!(pool.run("key", || 1).await.unwrap(), 1);
    }
}
