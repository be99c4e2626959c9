//! How far the sync loop knows what ran before it, so that it does not say what it can only guess.

use std::collections::BTreeMap;

use core_types::api::Pod;
use core_types::{MonoTime, ObservedPod, PodKey, PodUid, WallTime};
use ports::Clock;

use crate::probe_book::ADOPTION_GRACE;
use crate::record::Record;

/// How far the runtime has been seen.
pub(crate) struct Seen {
    pub(crate) relisted_at: Option<MonoTime>,
    /// Pods that the last relist found and whose details have not arrived yet.
    pub(crate) awaited: BTreeMap<PodUid, PodKey>,
    /// Until when probes of containers that ran before the agent are waited for; `None` when that time is over.
    pub(crate) adopting_until: Option<MonoTime>,
    /// When the agent began.
    began: WallTime,
}

impl Seen {
    /// Nothing: the agent begins now.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self {
            relisted_at: None,
            awaited: BTreeMap::new(),
            adopting_until: Some(clock.now() + ADOPTION_GRACE),
            began: clock.wall(),
        }
    }

    /// True when the runtime has been looked at for this pod. Before that its status would be a guess, and one that takes
    /// back what was true before a restart of the agent.
    pub(crate) fn covers(&self, uid: &PodUid) -> bool {
        self.relisted_at.is_some() && !self.awaited.contains_key(uid)
    }

    /// True when the first status of a pod that ran before the agent must wait for its probes.
    pub(crate) fn awaits_probes(&self, pod: &Pod, record: &Record, observed: Option<&ObservedPod>) -> bool {
        self.adopting_until.is_some()
            && record.status.is_none()
            && record.probes.awaits_adopted(pod, observed, self.began)
    }
}
