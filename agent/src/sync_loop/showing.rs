//! Statuses: each change of what is known renews the status of the pods concerned and puts them into the node view.

use std::sync::Arc;

use core_pods::active_deadline;
use core_pods::worker::{Event, PodWorker, StopReason};
use core_status::Creation;
use core_types::view::{Lifecycle, PodSource, PodView};
use core_types::{ObjectRef, PodExt, PodUid};

use super::SyncLoop;
use crate::events::Happening;
use crate::status;

impl SyncLoop {
    pub(super) fn refresh_all(&mut self) {
        let uids: Vec<PodUid> = self.records.keys().cloned().collect();
        for uid in uids {
            self.refresh(&uid);
        }
    }

    /// Renews the status of a pod, stops it when its phase is terminal, and shows it.
    pub(super) fn refresh(&mut self, uid: &PodUid) {
        let Some(worker) = self.workers.get(uid) else {
            self.records.remove(uid);
            self.publisher.change_pods().remove(uid);
            return;
        };
        // A pod is shown from the start, also while the runtime is down and nothing can be said of its status.
        self.records.entry(uid.clone()).or_default();
        let lifecycle = worker.lifecycle();
        let mut completed = false;
        self.follow_resize(uid);
        let Some(worker) = self.workers.get(uid) else { return };
        let observed = self.publisher.node().observed.get(uid).map(Arc::as_ref);
        if let Some(pod) = worker.pod().map(|pod| self.sizes.given(pod)).filter(|_| self.seen.covers(uid))
            && let record = self.records.entry(uid.clone()).or_default()
            && !self.seen.awaits_probes(&pod, record, observed)
        {
            let node = status::node_facts(&self.settings, &self.inputs.runtime.borrow());
            let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
            let resources = status::resource_facts(uid, &self.sizes, &self.settings);
            let shown = shown_lifecycle(worker);
            let known = status::Known { observed, lifecycle: shown, resources, node: &node };
            let mut next = status::generate(&pod, record, &known, wall);
            let may_run = lifecycle == Lifecycle::Syncing && !status::is_terminal(&next);
            if may_run && record.evict_when_overdue(&pod, &next, (mono, wall)) {
                // An agent that was started again finds it once more, and has told it before.
                let told = self.recorder.of_pod(uid);
                if !told.iter().any(|event| event.reason == active_deadline::REASON) {
                    let why = Happening::normal(active_deadline::REASON, active_deadline::MESSAGE);
                    self.recorder.record(&ObjectRef::pod(&pod.key(), uid), &why);
                }
                next = status::generate(&pod, record, &known, wall);
            }
            record.deadline = record.deadline.filter(|_| may_run && record.eviction.is_none());
            completed = lifecycle == Lifecycle::Syncing && status::is_terminal(&next);
            if record.status.as_deref() != Some(&next) {
                let before = record.status.as_deref();
                self.recorder.metrics().ended(before, &next);
                let creation = match worker.source() {
                    Some(PodSource::Api) => Creation::AtTheServer,
                    _ => Creation::Here,
                };
                let times = record.start.step((&pod, creation), (before, &next), (mono, wall));
                self.recorder.work().started(times);
                record.status = Some(Arc::new(next));
            }
        }
        // While a worker waits for a picture it has no deadline; the picture that ends this leads here.
        self.note_next_retry(uid);
        self.show(uid);
        if completed {
            self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Completed, grace_secs: None });
        }
    }

    /// Puts a pod's record into the node view.
    pub(super) fn show(&mut self, uid: &PodUid) {
        let (Some(worker), Some(record)) = (self.workers.get(uid), self.records.get(uid)) else { return };
        let pod =
            worker.pod().cloned().unwrap_or_else(|| Arc::new(status::runtime_only_pod(uid, worker.key())));
        let view = PodView {
            status: record.status.clone().unwrap_or_else(|| Arc::new(pod.status.clone().unwrap_or_default())),
            source: worker.source(),
            lifecycle: worker.lifecycle(),
            activity: record.activity.clone(),
            problem: record.problem.clone(),
            next_retry: record.next_retry,
            events: self.recorder.of_pod(uid),
            is_observed: record.status.is_some(),
            is_released: worker.is_released(),
            is_wanted: worker.is_wanted(),
            pod,
        };
        self.publisher.change_pods().insert(uid.clone(), Arc::new(view));
    }
}

/// The life that a status is made from. A released pod of the API server is waited for there, and nothing more will be heard of it.
fn shown_lifecycle(worker: &PodWorker) -> Lifecycle {
    match worker.source() {
        Some(PodSource::Api) if worker.is_released() => Lifecycle::Finished,
        _ => worker.lifecycle(),
    }
}
