//! The status manager: which status is sent to the API server when, and when a deleted pod may leave it (CONTRACT 4.5).
//!
//! ```text
//!             status or server's copy changed         answered, still different
//!  in step ------------------------------> to compare <------------------------+
//!     ^  nothing differs                       | differs                       |
//!     +----------------------------------------+-----> sending ----------------+
//!                                              |          | failed: later
//!                    deleted there, ended here +--> deleting --> gone
//! ```
//!
//! Reads, as arguments: the pods with their true status and the server's copy of each, answers, the time. Gives: one request after
//! another, at most one per pod at a time. Guarantees: ST-3, since each request is made from the newest status and only then; a status
//! that the server has is not sent; after a restart the first comparison is with what the server has.
//!
//! What the server answers without taking it, it keeps for reasons of its own (fields that another version wrote, gates that are off
//! there): it is asked for the same once more, and then not again.
//!
//! A server that cannot be reached holds back all pods together, so that a long outage costs one try now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_types::api::{Pod, PodStatus};
use core_types::{MonoTime, PodExt, PodKey, PodUid};
use serde_json::Value;

use crate::patch::{Containers, status_patch};
use crate::phase::is_terminal;

/// First and longest wait after a failure; upstream tries again every 10 s.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Whether a pod should leave the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It stays.
    No,
    /// It was deleted there, and nothing of it is left here that others could wait for.
    Due,
}

/// One pod as it is and as the API server has it.
#[derive(Clone, Debug)]
pub struct Target {
    /// UID on this node. A static pod has another one than its mirror.
    pub uid: PodUid,
    /// The pod, or the mirror pod, as the server has it.
    pub server: Arc<Pod>,
    /// The true status.
    pub status: Arc<PodStatus>,
    /// Whether something of it may run.
    pub containers: Containers,
    /// Whether it should leave the server.
    pub removal: Removal,
}

/// One request to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// UID on this node: what [`StatusManager::done`] wants to know.
    pub uid: PodUid,
    /// Name of the pod on the server.
    pub key: PodKey,
    /// What to do.
    pub work: Work,
}

/// What to do at the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Patch the status sub-resource.
    Patch(Value),
    /// Delete the pod at once, if it still has this UID.
    Delete(PodUid),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Patched; this is the pod now.
    Patched(Box<Pod>),
    /// Deleted, or not there any more, or another pod has its name.
    Gone,
    /// Refused or not understood; this pod is tried again later.
    Refused,
    /// The server could not be asked; all pods wait.
    Unreachable,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    /// The server's answer to the last patch, until the watch has shown something as new.
    answered: Option<Arc<Pod>>,
    /// The last patch that was sent.
    sent: Option<Value>,
    /// A patch that the server has answered without taking any of it.
    untaken: Option<Value>,
    is_busy: bool,
    is_gone: bool,
    failures: u32,
    retry_at: Option<MonoTime>,
}

/// All pods that the API server knows.
#[derive(Debug, Default)]
pub struct StatusManager {
    entries: BTreeMap<PodUid, Entry>,
    /// Pods of which something changed since the last comparison.
    open: BTreeSet<PodUid>,
    outages: u32,
    held_until: Option<MonoTime>,
}

impl StatusManager {
    /// Takes what is known of a pod now.
    pub fn observe(&mut self, target: Target) {
        let uid = target.uid.clone();
        let is_news = match self.entries.get_mut(&uid) {
            Some(known) => known.renew(target),
            None => self.entries.insert(uid.clone(), Entry::new(target)).is_none(),
        };
        if is_news {
            self.open.insert(uid);
        }
    }

    /// Nothing is to be told of a pod any more.
    pub fn forget(&mut self, uid: &PodUid) {
        self.entries.remove(uid);
        self.open.remove(uid);
    }

    /// The next request that is due.
    pub fn next(&mut self, now: MonoTime) -> Option<Job> {
        if self.held_until.is_some_and(|until| until > now) {
            return None;
        }
        while let Some(uid) = self.next_due(now).cloned() {
            self.open.remove(&uid);
            let Some(entry) = self.entries.get_mut(&uid) else { continue };
            let Some(work) = entry.work() else { continue };
            if let Work::Patch(patch) = &work {
                entry.sent = Some(patch.clone());
            }
            entry.is_busy = true;
            return Some(Job { key: entry.target.server.key(), uid, work });
        }
        None
    }

    fn next_due(&self, now: MonoTime) -> Option<&PodUid> {
        self.open.iter().find(|uid| self.entries.get(*uid).is_some_and(|entry| entry.is_due(now)))
    }

    /// Takes the answer to a request.
    pub fn done(&mut self, now: MonoTime, uid: &PodUid, answer: Answer) {
        match &answer {
            Answer::Unreachable => {
                self.held_until = Some(now + wait_after(self.outages));
                self.outages = self.outages.saturating_add(1);
            }
            Answer::Patched(_) | Answer::Gone | Answer::Refused => {
                self.held_until = None;
                self.outages = 0;
            }
        }
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.is_busy = false;
        match answer {
            // A mirror pod may have been made anew meanwhile: this answer is about the one before.
            Answer::Patched(pod) if pod.metadata.uid != entry.target.server.metadata.uid => {}
            Answer::Patched(pod) => {
                entry.failures = 0;
                entry.retry_at = None;
                entry.take_answered(Arc::from(pod));
            }
            Answer::Gone => entry.is_gone = true,
            Answer::Unreachable => {}
            Answer::Refused => {
                entry.retry_at = Some(now + wait_after(entry.failures));
                entry.failures = entry.failures.saturating_add(1);
            }
        }
        if entry.is_gone {
            self.open.remove(uid);
        } else {
            self.open.insert(uid.clone());
        }
    }

    /// When [`StatusManager::next`] may have something although nothing changed.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let open = self.open.iter().filter_map(|uid| self.entries.get(uid));
        let open = open.filter(|entry| !entry.is_busy && !entry.is_gone);
        let due = open.map(|entry| entry.retry_at.unwrap_or(MonoTime::ZERO)).min()?;
        Some(self.held_until.map_or(due, |until| until.max(due)))
    }
}

impl Entry {
    fn new(target: Target) -> Self {
        Self {
            target,
            answered: None,
            sent: None,
            untaken: None,
            is_busy: false,
            is_gone: false,
            failures: 0,
            retry_at: None,
        }
    }

    fn take_answered(&mut self, answered: Arc<Pod>) {
        let sent = self.sent.take();
        let left = status_patch(&answered, &self.target.status, self.target.containers);
        if left.is_some() && left == sent {
            self.untaken = left;
        }
        self.answered = Some(answered);
    }

    /// Takes what is known now; true when there is something to compare.
    fn renew(&mut self, target: Target) -> bool {
        let same_server = Arc::ptr_eq(&self.target.server, &target.server);
        if self.target.server.metadata.uid != target.server.metadata.uid {
            // A mirror pod was made anew.
            *self = Self { is_busy: self.is_busy, ..Self::new(target) };
            return true;
        }
        if !same_server && self.answered.as_ref().is_some_and(|answered| !is_newer(answered, &target.server))
        {
            self.answered = None;
        }
        let same = same_server
            && Arc::ptr_eq(&self.target.status, &target.status)
            && self.target.containers == target.containers
            && self.target.removal == target.removal;
        self.target = target;
        !same
    }

    fn is_due(&self, now: MonoTime) -> bool {
        !self.is_busy && !self.is_gone && self.retry_at.is_none_or(|at| at <= now)
    }

    /// What the newest knowledge asks for.
    fn work(&self) -> Option<Work> {
        let server = self.answered.as_ref().unwrap_or(&self.target.server);
        let patch = status_patch(server, &self.target.status, self.target.containers);
        if let Some(patch) = patch.filter(|patch| self.untaken.as_ref() != Some(patch)) {
            return Some(Work::Patch(patch));
        }
        let has_ended = server.status.as_ref().is_some_and(is_terminal);
        (self.target.removal == Removal::Due && has_ended).then(|| Work::Delete(server.uid()))
    }
}

/// Whether `answered` is newer than what the watch shows. Versions are ordered numbers; where they are not, the watch is believed.
fn is_newer(answered: &Pod, shown: &Pod) -> bool {
    let version =
        |pod: &Pod| pod.metadata.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
    matches!((version(answered), version(shown)), (Some(answered), Some(shown)) if answered > shown)
}

fn wait_after(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_MAX)
}
