//! What the sync loop remembers of one pod beside its life: status, reasons, events, probe results, back-offs.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_status::Waiting;
use core_types::WallTime;
use core_types::api::PodStatus;
use core_types::view::{Activity, Problem};

use crate::events::EventLog;
use crate::executor::PodMemory;
use crate::probe_book::ProbeBook;

/// Why a pod was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// One pod's record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) status: Option<Arc<PodStatus>>,
    /// Why containers do not start, by name. Replaced by each sync.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    pub(crate) rejection: Option<Rejection>,
    pub(crate) activity: Option<Activity>,
    pub(crate) problem: Option<Problem>,
    pub(crate) next_retry: Option<WallTime>,
    pub(crate) events: EventLog,
    pub(crate) probes: ProbeBook,
    /// Back-offs; `None` while an operation holds them.
    pub(crate) memory: Option<PodMemory>,
}
