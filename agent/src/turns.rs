//! Turns: how many pods are brought up at once.
//!
//! To bring a pod up is work for the machine's processors: the runtime, its shims, network plugins. When all pods of a node do it at the
//! same time, each is as late as the last. So a pod takes a turn before it has a sandbox made or a container started.
//! Events of what is normal wait until nobody has one ([`Turns::quiet`]).
//! Guarantees: a turn lasts as long as the work does, but [`LONGEST`] at most: what hangs holds nobody else up. Who waits for
//! something that is no work here, such as a pull or a hook, gives its turn up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Turns for each processor: while some wait for the disk or for locks, others have work.
const PER_PROCESSOR: usize = 4;
/// The longest turn.
const LONGEST: Duration = Duration::from_secs(5);

/// All turns of the node.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    places: Arc<Semaphore>,
    /// How many are taken; who waits is told of zero only.
    taken: watch::Sender<usize>,
}

/// A turn; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Turn {
    _until_dropped: oneshot::Sender<()>,
}

impl Turns {
    pub(crate) fn new(processors: usize) -> Self {
        let places = Arc::new(Semaphore::new(processors.max(1) * PER_PROCESSOR));
        Self { places, taken: watch::Sender::new(0) }
    }

    /// A turn, if there is one now.
    pub(crate) fn try_take(&self) -> Option<Turn> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|place| self.begin(place))
    }

    /// Waits for a turn; who came first is first. `None` is never the case while the node lives.
    pub(crate) async fn take(&self) -> Option<Turn> {
        Arc::clone(&self.places).acquire_owned().await.ok().map(|place| self.begin(place))
    }

    /// Whether nobody has a turn.
    pub(crate) fn are_free(&self) -> bool {
        *self.taken.borrow() == 0
    }

    /// Waits until nobody has a turn.
    pub(crate) async fn quiet(&self) {
        // The sender is this value's own, so there is no error to tell of.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    fn begin(&self, place: OwnedSemaphorePermit) -> Turn {
        let (sender, dropped) = oneshot::channel();
        let taken = self.taken.clone();
        taken.send_if_modified(|taken| {
            *taken += 1;
            false
        });
        tokio::spawn(async move {
            let _over = tokio::time::timeout(LONGEST, dropped).await;
            drop(place);
            taken.send_if_modified(|taken| {
                *taken -= 1;
                *taken == 0
            });
        });
        Turn { _until_dropped: sender }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_with_its_work_or_when_it_took_too_long() {
        let turns = Turns::new(1);
        let mut held: Vec<Turn> = (0..PER_PROCESSOR).filter_map(|_| turns.try_take()).collect();
        assert_eq!(held.len(), PER_PROCESSOR);
        assert!(turns.try_take().is_none());
        let began = tokio::time::Instant::now();
        held.pop();
        let next = turns.take().await.expect("a turn");
        assert_eq!(began.elapsed(), Duration::ZERO);
        // The others hang: their turns are given to others all the same.
        let _late = turns.take().await.expect("a turn");
        assert_eq!(began.elapsed(), LONGEST);
        drop((held, next));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_when_the_last_turn_ends() {
        let turns = Turns::new(1);
        turns.quiet().await;
        let (first, second) = (turns.try_take(), turns.try_take());
        assert!(!turns.are_free());
        let quiet = tokio::spawn({
            let turns = turns.clone();
            async move { turns.quiet().await }
        });
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!quiet.is_finished(), "one is left");
        drop(second);
        quiet.await.expect("quiet");
        assert!(turns.are_free());
    }
}
