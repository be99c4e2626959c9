//! The node view for those who need not hear of each change at once.
//!
//! Reads the node view; what it shows is always the newest. Guarantees: the first change after a pause is told at once, those after it
//! together, so that a burst of changes costs each of its readers a few looks. At rest it holds no timer.

use std::sync::Arc;
use std::time::Duration;

use core_types::MonoTime;
use core_types::view::NodeView;
use ports::Clock;
use tokio::sync::watch;

use crate::timer;

/// Time between two changes that are told.
const PAUSE: Duration = Duration::from_millis(500);

/// A receiver of the node view that tells of changes now and then.
#[derive(Clone)]
pub(crate) struct CalmView {
    view: watch::Receiver<Arc<NodeView>>,
    clock: Arc<dyn Clock>,
    quiet_until: Option<MonoTime>,
}

impl CalmView {
    pub(crate) fn new(view: watch::Receiver<Arc<NodeView>>, clock: Arc<dyn Clock>) -> Self {
        Self { view, clock, quiet_until: None }
    }

    /// The newest view.
    pub(crate) fn now(&self) -> Arc<NodeView> {
        Arc::clone(&self.view.borrow())
    }

    /// Waits for a change and gives the newest view. Nothing is lost when this is dropped before. It waits for ever when the sync loop is
    /// gone: the agent stops then.
    pub(crate) async fn changed(&mut self) -> Arc<NodeView> {
        if let Some(until) = self.quiet_until {
            timer::until(self.clock.as_ref(), Some(until)).await;
            self.quiet_until = None;
        }
        if self.view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.quiet_until = Some(self.clock.now() + PAUSE);
        Arc::clone(&self.view.borrow_and_update())
    }

    /// Waits for a view, the present one included, that is as wanted.
    pub(crate) async fn wait_for(&mut self, is_wanted: impl Fn(&NodeView) -> bool) -> Arc<NodeView> {
        loop {
            let node = self.now();
            if is_wanted(&node) {
                return node;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;
    use crate::timer::TokioClock;

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_told_at_once_and_those_after_it_together() {
        let (sender, view) = watch::channel(Arc::default());
        let mut calm = CalmView::new(view, Arc::new(TokioClock::new()));
        let at = MonoTime::from_secs;
        let change = |alive| {
            let sync_loop_alive = at(alive);
            sender.send_replace(Arc::new(NodeView { sync_loop_alive, ..NodeView::default() }));
        };
        assert!(calm.changed().now_or_never().is_none());
        change(1);
        assert!(calm.changed().now_or_never().is_some_and(|node| node.sync_loop_alive == at(1)));
        let began = Instant::now();
        change(2);
        // Waits that are given up lose nothing.
        assert!(tokio::time::timeout(PAUSE / 2, calm.changed()).await.is_err());
        change(3);
        assert_eq!(calm.now().sync_loop_alive, at(3), "whoever looks sees the newest");
        assert_eq!(calm.changed().await.sync_loop_alive, at(3));
        assert_eq!(began.elapsed(), PAUSE);
        tokio::time::sleep(PAUSE).await;
        assert!(calm.changed().now_or_never().is_none(), "nothing new");
        change(4);
        assert!(calm.changed().now_or_never().is_some(), "the first after a pause");
    }
}
