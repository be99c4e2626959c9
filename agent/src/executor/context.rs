//! One operation in progress: where its steps leave what the report will say.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_cm::PodResources;
use core_pods::worker::{Outcome, Touched};
use core_runtime::RuntimeEventText;
use core_runtime::backoff::Now;
use core_status::Waiting;
use core_types::view::Problem;
use core_types::{EventType, MonoTime, ObservedPod, PodKey, PodUid, WallTime};
use tokio_util::sync::CancellationToken;

use super::{OpInput, OpReport, PodMemory, ProbeFacts};
use crate::events::{Happening, Tally};
use crate::note::Notes;
use crate::runtime_watch::RuntimeUp;
use crate::turns::Turn;

/// Why a step ended an operation.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Something failed. It is shown as the pod's problem.
    Failed {
        /// CamelCase reason.
        reason: &'static str,
        /// Text for people.
        message: String,
        /// When to try again; `None` for the machine's back-off.
        retry_at: Option<MonoTime>,
    },
    /// The operation was cancelled.
    Cancelled,
}

impl StepError {
    pub(crate) fn failed(reason: &'static str, message: impl ToString) -> Self {
        Self::Failed { reason, message: message.to_string(), retry_at: None }
    }
}

/// Result of a step.
pub(crate) type StepResult<T> = Result<T, StepError>;

/// State of one operation.
pub(crate) struct Op {
    pub(crate) uid: PodUid,
    pub(crate) key: PodKey,
    pub(crate) observed: Arc<ObservedPod>,
    pub(crate) probes: ProbeFacts,
    pub(crate) memory: PodMemory,
    /// What of the pod's resources is in force; nothing when nothing was noted of it.
    pub(crate) actuated: PodResources,
    pub(crate) runtime: RuntimeUp,
    pub(crate) notes: Notes,
    pub(crate) cancel: CancellationToken,
    pub(crate) waiting: BTreeMap<String, Waiting>,
    pub(crate) problem: Option<Problem>,
    /// Whether anything that the runtime shows was changed.
    pub(crate) touched: Touched,
    /// Its turn to bring the pod up, while it has one.
    pub(crate) turn: Option<Turn>,
    /// The earliest time at which something is due by itself.
    pub(crate) again_at: Option<MonoTime>,
}

impl Op {
    pub(crate) fn new(input: OpInput) -> (Self, core_pods::worker::Operation) {
        let OpInput { uid, key, operation, observed, probes, memory, actuated, runtime, notes, cancel } =
            input;
        let observed = observed
            .unwrap_or_else(|| Arc::new(ObservedPod::empty(uid.clone(), key.clone(), notes.clock.now())));
        let op = Self {
            uid,
            key,
            observed,
            probes,
            memory,
            actuated: actuated.unwrap_or_default(),
            runtime,
            notes,
            cancel,
            waiting: BTreeMap::new(),
            problem: None,
            touched: Touched::Nothing,
            turn: None,
            again_at: None,
        };
        (op, operation)
    }

    /// Both clocks now.
    pub(crate) fn now(&self) -> Now {
        Now { mono: self.notes.clock.now(), wall: self.notes.clock.wall() }
    }

    /// Fails when the operation was cancelled: call it between steps.
    pub(crate) fn check_cancelled(&self) -> StepResult<()> {
        if self.cancel.is_cancelled() { Err(StepError::Cancelled) } else { Ok(()) }
    }

    /// Has the operation run again at `at` or earlier.
    pub(crate) fn again_at(&mut self, at: MonoTime) {
        self.again_at = Some(self.again_at.map_or(at, |known| known.min(at)));
    }

    /// Has the operation run again at this time of day or earlier.
    pub(crate) fn again_at_wall(&mut self, at: WallTime) {
        let now = self.now();
        self.again_at(now.mono + at.since(now.wall));
    }

    /// Notes that a container does not start, and why.
    pub(crate) fn container_waits(&mut self, container: &str, reason: &str, message: &str) {
        let waiting = Waiting { reason: reason.to_owned(), message: message.to_owned() };
        self.waiting.insert(container.to_owned(), waiting);
        self.problem = Some(Problem {
            reason: reason.to_owned(),
            message: message.to_owned(),
            container: container.to_owned(),
            at: self.notes.wall(),
        });
    }

    /// Records an event of the pod.
    pub(crate) async fn happened(&self, happening: Happening) {
        self.notes.happened(happening).await;
    }

    /// Records an event that a planner worded; empty place for the pod as a whole.
    pub(crate) async fn tell(&self, event: RuntimeEventText, place: &str) {
        let happening = match event.event_type() {
            EventType::Normal => Happening::normal(event.reason(), event.message()),
            EventType::Warning => Happening::warning(event.reason(), event.message()),
        };
        let tally = match event {
            RuntimeEventText::FailedCreatePodSandBox(_) => Tally::PodStartError,
            RuntimeEventText::LifecycleHttpFallback(_) => Tally::HookFallback,
            _ => Tally::Nothing,
        };
        self.notes.happened(happening.of(place).counted(tally)).await;
    }

    /// The report of this operation.
    pub(crate) fn report(mut self, result: StepResult<()>) -> OpReport {
        let outcome = match result {
            Ok(()) => Outcome::Done { again_at: self.again_at, touched: self.touched },
            Err(StepError::Cancelled) => Outcome::Cancelled,
            Err(StepError::Failed { reason, message, retry_at }) => {
                tracing::warn!(pod_uid = %self.uid, pod = %self.key, reason, "{message}; it is tried again");
                let at = self.notes.wall();
                self.problem =
                    Some(Problem { reason: reason.to_owned(), message, container: String::new(), at });
                Outcome::Failed { retry_at, again_at: self.again_at }
            }
        };
        OpReport { outcome, memory: self.memory, waiting: self.waiting, problem: self.problem }
    }
}
