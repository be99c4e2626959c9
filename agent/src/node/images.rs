//! When the list of images for the node's status is read anew: when containers run other images than before, and with each routine
//! report. A pull alone changes nothing that somebody waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use core_types::MonoTime;
use core_types::view::NodeView;

/// Shortest time between two lists: while pods start one after the other, one list serves them all.
const SPACING: Duration = Duration::from_secs(10);

/// What is in use, and when to list.
#[derive(Debug)]
pub(super) struct Images {
    in_use: BTreeSet<String>,
    listed_at: Option<MonoTime>,
    due_at: Option<MonoTime>,
}

impl Images {
    /// The first list is due at once.
    pub(super) fn new(now: MonoTime) -> Self {
        Self { in_use: BTreeSet::new(), listed_at: None, due_at: Some(now) }
    }

    /// Looks at what runs.
    pub(super) fn follow(&mut self, view: &NodeView, now: MonoTime) {
        let containers = view.observed.values().flat_map(|pod| &pod.containers);
        let in_use: BTreeSet<String> =
            containers.map(|container| container.status.image_ref.clone()).collect();
        if in_use != self.in_use {
            self.in_use = in_use;
            let at = self.listed_at.map_or(now, |listed| now.max(listed + SPACING));
            self.due_at.get_or_insert(at);
        }
    }

    /// When to list; `None` for no need.
    pub(super) fn due_at(&self) -> Option<MonoTime> {
        self.due_at
    }

    pub(super) fn is_due(&self, now: MonoTime) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// The list was read, or could not be.
    pub(super) fn listed(&mut self, now: MonoTime) {
        self.listed_at = Some(now);
        self.due_at = None;
    }
}
