//! Operations on pods: what starts them, what they tell on the way, and how they end.

use std::sync::Arc;

use core_pods::worker::{Event, OpId, Operation, Outcome};
use core_types::view::Lifecycle;
use core_types::{ObjectRef, ObservedPod, PodKey, PodUid};
use tokio_util::sync::CancellationToken;

use super::SyncLoop;
use crate::events::Happening;
use crate::executor::{OpInput, OpReport, ProbeFacts};
use crate::metrics::OperationType;
use crate::note::{Note, NoteKind, Notes};

impl SyncLoop {
    pub(super) fn take_note(&mut self, note: Note) {
        let Note { uid, kind } = note;
        match kind {
            NoteKind::Doing(activity) => {
                self.records.entry(uid.clone()).or_default().activity = Some(activity)
            }
            NoteKind::Happened(happening) => self.record_event(&uid, happening),
            NoteKind::Actuated(resources) => {
                let now = self.outside.clock.now();
                return self.sizes.set_actuated(&uid, *resources, now);
            }
            NoteKind::Resized { result, millis } => return self.take_resized(&uid, result, millis),
        }
        self.show(&uid);
    }

    /// The first work on a pod tells how long it waited for it.
    fn measure_begin(&mut self, uid: &PodUid) {
        let now = self.outside.clock.now();
        let record = self.records.entry(uid.clone()).or_default();
        if let Some(after) = record.start.works(now) {
            let pod = self.workers.get(uid).and_then(|worker| worker.pod());
            let containers = pod.and_then(|pod| pod.spec.as_ref()).map_or(0, |spec| spec.containers.len());
            self.recorder.work().began(after, containers);
        }
    }

    pub(super) fn record_event(&mut self, uid: &PodUid, happening: Happening) {
        let Some(worker) = self.workers.get(uid) else { return };
        if matches!(&*happening.reason, "Pulling" | "Pulled") {
            let now = self.outside.clock.wall();
            self.records.entry(uid.clone()).or_default().start.pulls(now);
        }
        self.recorder.record(&ObjectRef::pod(worker.key(), uid), &happening);
    }

    /// A pod that the node ended still runs, long after its grace.
    pub(super) fn tell_overdue(&mut self, uid: &PodUid) {
        let message = "Container runtime did not kill the pod within specified grace period.";
        self.record_event(uid, Happening::warning("ExceededGracePeriod", message));
        self.show(uid);
    }

    pub(super) fn take_end(&mut self, uid: PodUid, op: OpId, report: Option<Box<OpReport>>) {
        let record = self.records.entry(uid.clone()).or_default();
        record.activity = None;
        let outcome = match report {
            None => Outcome::Failed { retry_at: None, again_at: None },
            Some(report) => {
                record.memory = Some(report.memory);
                if report.outcome != Outcome::Cancelled {
                    record.waiting = report.waiting;
                    record.problem = report.problem;
                }
                report.outcome
            }
        };
        self.step(Event::Ended { uid: uid.clone(), op, outcome });
        self.refresh(&uid);
    }

    /// Adoption that took too long and pods whose time is over are ended, and what is due is done.
    pub(super) fn start(&mut self, uid: PodUid, op: OpId, operation: Operation) {
        let Some(executor) = self.executor.get().cloned() else {
            // Cannot happen: nothing starts before the runtime was seen. If it does, the machine tries again.
            let outcome = Outcome::Failed { retry_at: None, again_at: None };
            return self.step(Event::Ended { uid, op, outcome });
        };
        if matches!(operation, Operation::Sync { .. }) {
            self.measure_begin(&uid);
        }
        self.count_active(&uid);
        let cancel = CancellationToken::new();
        let observed = self.publisher.node().observed.get(&uid).cloned();
        let probes = self.probe_facts(&uid, observed.as_deref());
        let key = self.workers.get(&uid).map_or_else(|| PodKey::new("", ""), |worker| worker.key().clone());
        let input = OpInput {
            uid: uid.clone(),
            key,
            operation: self.as_given(operation),
            actuated: self.sizes.actuated(&uid).cloned(),
            observed,
            probes,
            memory: self.records.entry(uid.clone()).or_default().memory.take().unwrap_or_default(),
            runtime: self.inputs.runtime.borrow().clone(),
            notes: Notes {
                uid: uid.clone(),
                clock: Arc::clone(&self.outside.clock),
                sender: self.operations.notes(),
                metrics: self.recorder.metrics().clone(),
            },
            cancel: cancel.clone(),
        };
        let (work, clock) = (self.recorder.work().clone(), Arc::clone(&self.outside.clock));
        let kind = OperationType::of(&input.operation, input.observed.is_some());
        self.operations.start((uid, op), cancel, async move {
            let began = clock.now();
            let report = executor.perform(input).await;
            work.operation(kind, clock.now().since(began));
            report
        });
    }

    pub(super) fn probe_facts(&self, uid: &PodUid, observed: Option<&ObservedPod>) -> ProbeFacts {
        let Some(record) = self.records.get(uid) else { return ProbeFacts::default() };
        let pod = self.workers.get(uid).and_then(|worker| worker.pod());
        ProbeFacts {
            unstarted: pod.map(|pod| record.probes.unstarted(pod, observed)).unwrap_or_default(),
            failed: record.probes.failed.clone(),
        }
    }

    /// Counts the pod for the QoS cgroups while it runs or may run.
    pub(super) fn count_active(&mut self, uid: &PodUid) {
        let worker = self.workers.get(uid).filter(|worker| worker.lifecycle() < Lifecycle::Terminated);
        let pod = worker.and_then(|worker| worker.pod()).map(|pod| self.sizes.given(pod));
        self.sizes.active.count(uid, pod.as_deref());
    }

    /// The operation on the pod with the resources that it was given.
    fn as_given(&self, operation: Operation) -> Operation {
        match operation {
            Operation::Sync { pod } => Operation::Sync { pod: self.sizes.given(&pod) },
            Operation::Terminate { pod, grace_secs } => {
                Operation::Terminate { pod: pod.map(|pod| self.sizes.given(&pod)), grace_secs }
            }
            Operation::Release | Operation::Erase => operation,
        }
    }
}
