//! What the sync loop remembers of one pod beside its life: status, reasons, probe results, back-offs.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_pods::active_deadline::{self, ActiveDeadline};
use core_status::{PodStart, Waiting};
use core_types::api::{Pod, PodStatus};
use core_types::view::{Activity, Problem};
use core_types::{ContainerId, MonoTime, WallTime};

use crate::executor::PodMemory;
use crate::probe_book::ProbeBook;

/// Why a pod was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Why a pod was ended by the node.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Message of the condition `DisruptionTarget`; empty for none.
    pub(crate) disruption: String,
}

/// One pod's record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) status: Option<Arc<PodStatus>>,
    /// Why containers do not start, by name. Replaced by each sync.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    pub(crate) rejection: Option<Rejection>,
    /// Why the node ended the pod.
    pub(crate) eviction: Option<Eviction>,
    /// Until when the pod may be active; kept while it may run.
    pub(crate) deadline: Option<ActiveDeadline>,
    pub(crate) activity: Option<Activity>,
    pub(crate) problem: Option<Problem>,
    pub(crate) next_retry: Option<WallTime>,
    pub(crate) probes: ProbeBook,
    /// What the kernel said of processes that it killed, by container.
    pub(crate) oom_kills: BTreeMap<ContainerId, String>,
    /// How far its start has come.
    pub(crate) start: PodStart,
    /// Back-offs; `None` while an operation holds them.
    pub(crate) memory: Option<PodMemory>,
}

impl Record {
    /// Finds the pod's deadline and evicts the pod when that has passed. True when it has.
    pub(crate) fn evict_when_overdue(
        &mut self,
        pod: &Pod,
        status: &PodStatus,
        (mono, wall): (MonoTime, WallTime),
    ) -> bool {
        self.deadline = ActiveDeadline::of(pod, status, self.deadline, (mono, wall));
        let is_over = self.deadline.is_some_and(|deadline| deadline.at() <= mono);
        if is_over {
            let (reason, message) = (active_deadline::REASON.to_owned(), active_deadline::MESSAGE.to_owned());
            self.eviction = Some(Eviction { reason, message, disruption: String::new() });
        }
        is_over
    }
}
