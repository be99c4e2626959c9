//! The node view: what the sync loop shows of the node. It owns the view, knows when it changed, and publishes it whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_types::view::{NodeView, PodView};
use core_types::{MonoTime, ObservedPod, PodUid};
use tokio::sync::watch;

/// The node view and where it is published.
pub(crate) struct Publisher {
    view: watch::Sender<Arc<NodeView>>,
    node: NodeView,
    is_changed: bool,
}

impl Publisher {
    pub(crate) fn new(view: watch::Sender<Arc<NodeView>>) -> Self {
        Self { view, node: NodeView::default(), is_changed: true }
    }

    /// The view as it will be published.
    pub(crate) fn node(&self) -> &NodeView {
        &self.node
    }

    /// The view to be changed; it is published at the next turn.
    pub(crate) fn change(&mut self) -> &mut NodeView {
        self.is_changed = true;
        &mut self.node
    }

    /// The pods of the view, to be changed.
    pub(crate) fn change_pods(&mut self) -> &mut BTreeMap<PodUid, Arc<PodView>> {
        Arc::make_mut(&mut self.change().pods)
    }

    /// What the runtime showed, to be changed.
    pub(crate) fn change_observed(&mut self) -> &mut BTreeMap<PodUid, Arc<ObservedPod>> {
        Arc::make_mut(&mut self.change().observed)
    }

    /// When the loop must prove again that it turns.
    pub(crate) fn proof_due(&self, interval: Duration) -> MonoTime {
        self.node.sync_loop_alive + interval
    }

    /// Publishes the view if it changed. A proof of life alone is published too, but wakes nobody.
    pub(crate) fn publish(&mut self, now: MonoTime, interval: Duration) {
        let proof_is_old = now.since(self.node.sync_loop_alive) >= interval / 2;
        if !self.is_changed && !proof_is_old {
            return;
        }
        let wakes_readers = std::mem::take(&mut self.is_changed);
        self.node.sync_loop_alive = now;
        let node = Arc::new(self.node.clone());
        self.view.send_if_modified(|view| {
            *view = node;
            wakes_readers
        });
    }
}
