//! Turns: how many pods are brought up at once.
//!
//! To bring a pod up is work for the machine's processors: the runtime, its shims, network plugins. When all pods of a node do it at the
//! same time, each is as late as the last. So a pod takes a turn before it has a sandbox made or a container started.
//! Guarantees: a turn lasts as long as the work does, but [`LONGEST`] at most: what hangs holds nobody else up. Who waits for
//! something that is no work here, such as a pull or a hook, gives its turn up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Turns for each processor: while some wait for the disk or for locks, others have work.
const PER_PROCESSOR: usize = 4;
/// The longest turn.
const LONGEST: Duration = Duration::from_secs(5);

/// All turns of the node.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// A turn; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Turn {
    _until_dropped: oneshot::Sender<()>,
}

impl Turns {
    pub(super) fn new(processors: usize) -> Self {
        Self(Arc::new(Semaphore::new(processors.max(1) * PER_PROCESSOR)))
    }

    /// A turn, if there is one now.
    pub(super) fn try_take(&self) -> Option<Turn> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Turn::begin)
    }

    /// Waits for a turn; who came first is first. `None` is never the case while the node lives.
    pub(super) async fn take(&self) -> Option<Turn> {
        Arc::clone(&self.0).acquire_owned().await.ok().map(Turn::begin)
    }
}

impl Turn {
    fn begin(place: OwnedSemaphorePermit) -> Self {
        let (sender, dropped) = oneshot::channel();
        tokio::spawn(async move {
            let _over = tokio::time::timeout(LONGEST, dropped).await;
            drop(place);
        });
        Self { _until_dropped: sender }
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
}
