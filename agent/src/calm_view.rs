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
