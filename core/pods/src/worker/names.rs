//! Which incarnations have a name: a pod's progress concerns them alone, however many others there are.

use std::collections::{BTreeMap, BTreeSet};

use core_types::{PodKey, PodUid};

/// The incarnations of each name, in the order of their UIDs.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<PodKey, BTreeSet<PodUid>>);

impl Names {
    pub(super) fn add(&mut self, key: PodKey, uid: PodUid) {
        self.0.entry(key).or_default().insert(uid);
    }

    pub(super) fn remove(&mut self, key: &PodKey, uid: &PodUid) {
        let Some(uids) = self.0.get_mut(key) else { return };
        uids.remove(uid);
        if uids.is_empty() {
            self.0.remove(key);
        }
    }

    /// The incarnations of a name.
    pub(super) fn of(&self, key: &PodKey) -> impl Iterator<Item = &PodUid> {
        self.0.get(key).into_iter().flatten()
    }
}
