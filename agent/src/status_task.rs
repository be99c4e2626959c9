//! The status task: tells the API server how pods are, and lets deleted pods go (CONTRACT 4.5).
//!
//! Reads the node view; what is sent when is decided by [`StatusManager`]. Publishes nothing. Wakes when the view changes, an answer
//! comes, or a wait is over; at rest it does nothing.

use std::sync::Arc;

use core_metrics::{Desc, Histogram, Registry};
use core_status::{Answer, Containers, Job, Removal, StatusManager, Target, Work};
use core_types::view::{Lifecycle, NodeView, PodSource, PodView};
use core_types::{MonoTime, PodExt, PodUid};
use ports::{ApiError, Clock, PodApi};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::timer;

/// Requests at once. They take a few milliseconds each, and the client has a rate of its own.
const MAX_REQUESTS: usize = 8;

const SYNC_DURATION: Desc = Desc {
    name: "kubelet_pod_status_sync_duration_seconds",
    help: "[ALPHA] Duration in seconds to sync a pod status update. Measures time from detection of a change to \
           pod status until the API is successfully updated for that pod, even if multiple intevening changes to \
           pod status occur.",
    labels: &[],
};
const SYNC_BUCKETS: &[f64] = &[0.010, 0.050, 0.100, 0.500, 1.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];

/// How long a change of a status takes to the API server; a node without one shows it empty.
pub(crate) fn sync_duration(metrics: &Registry) -> Histogram {
    metrics.histogram(SYNC_DURATION, SYNC_BUCKETS)
}

/// How one request ended, and when it began.
struct Ended {
    uid: PodUid,
    answer: Answer,
    began: MonoTime,
}

/// The task.
pub(crate) struct StatusTask {
    api: Arc<dyn PodApi>,
    clock: Arc<dyn Clock>,
    manager: StatusManager,
    /// The view that the manager knows.
    seen: Arc<NodeView>,
    requests: JoinSet<Ended>,
    duration: Histogram,
}

impl StatusTask {
    pub(crate) fn new(api: Arc<dyn PodApi>, clock: Arc<dyn Clock>, metrics: &Registry) -> Self {
        Self {
            api,
            clock,
            manager: StatusManager::default(),
            seen: Arc::default(),
            requests: JoinSet::new(),
            duration: sync_duration(metrics),
        }
    }

    /// Runs until the agent stops. Requests under way are dropped; after a start everything is compared anew.
    pub(crate) async fn run(mut self, mut view: watch::Receiver<Arc<NodeView>>, stop: CancellationToken) {
        let clock = Arc::clone(&self.clock);
        loop {
            let busy = self.requests.len() >= MAX_REQUESTS;
            let due = self.manager.next_deadline().filter(|_| !busy);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.requests.join_next(), if !self.requests.is_empty() => match ended {
                    Ok(ended) => self.take_answer(ended),
                    Err(error) => tracing::error!(%error, "a status request ended in an unforeseen way"),
                },
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let node = Arc::clone(&view.borrow_and_update());
                    self.take_view(node);
                }
                () = timer::until(clock.as_ref(), due) => {}
            }
            while self.requests.len() < MAX_REQUESTS
                && let Some(job) = self.manager.next(self.clock.now())
            {
                self.requests.spawn(perform(Arc::clone(&self.api), job, self.clock.now()));
            }
        }
    }

    /// Shows the manager the pods that changed, and static ones when what stands for them did.
    fn take_view(&mut self, node: Arc<NodeView>) {
        let mut changed = node.pods_changed_since(&self.seen);
        if node.mirrors.as_ref().map(Arc::as_ptr) != self.seen.mirrors.as_ref().map(Arc::as_ptr) {
            let is_static = |pod: &PodView| pod.source != Some(PodSource::Api);
            changed.extend(node.pods.iter().filter(|(_, pod)| is_static(pod)).map(|(uid, _)| uid.clone()));
        }
        for uid in changed {
            match node.pods.get(&uid).and_then(|pod| target(&uid, pod, &node)) {
                Some(target) => self.manager.observe(target),
                None => self.manager.forget(&uid),
            }
        }
        self.seen = node;
    }

    fn take_answer(&mut self, ended: Ended) {
        let now = self.clock.now();
        if let Answer::Patched(_) = ended.answer {
            self.duration.observe(&[], now.since(ended.began).as_secs_f64());
        }
        self.manager.done(now, &ended.uid, ended.answer);
    }
}

/// What the API server should know of a pod; nothing for one that it does not know or of which nothing is known yet.
fn target(uid: &PodUid, pod: &PodView, node: &NodeView) -> Option<Target> {
    if !pod.is_observed {
        return None;
    }
    let (server, removal) = match pod.source? {
        PodSource::Api => {
            let is_over = pod.is_released && pod.pod.metadata.deletion_timestamp.is_some();
            (Arc::clone(&pod.pod), if is_over { Removal::Due } else { Removal::No })
        }
        PodSource::File | PodSource::Http | PodSource::Local => {
            (Arc::clone(node.mirrors.as_ref()?.get(&pod.pod.key())?), Removal::No)
        }
    };
    let containers = match pod.lifecycle < Lifecycle::Terminated {
        true => Containers::MayRun,
        false => Containers::Ended,
    };
    Some(Target { uid: uid.clone(), server, status: Arc::clone(&pod.status), containers, removal })
}

async fn perform(api: Arc<dyn PodApi>, job: Job, began: MonoTime) -> Ended {
    let Job { uid, key, work } = job;
    let result = match &work {
        Work::Patch(patch) => api.patch_status(&key, patch).await.map(|pod| Answer::Patched(Box::new(pod))),
        Work::Delete(server_uid) => api.delete_now(&key, server_uid).await.map(|()| Answer::Gone),
    };
    let answer = match result {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() || error.is_conflict() => {
            tracing::debug!(pod = %key, %error, "the pod is gone, or another has its name");
            Answer::Gone
        }
        Err(error) if is_outage(&error) => {
            tracing::debug!(pod = %key, %error, "the status waits for the API server");
            Answer::Unreachable
        }
        Err(error) => {
            tracing::error!(pod = %key, %error, "Failed to update status for pod");
            Answer::Refused
        }
    };
    Ended { uid, answer, began }
}

/// Whether the next pod would not fare better.
fn is_outage(error: &ApiError) -> bool {
    match error {
        ApiError::Unreachable { .. } | ApiError::Timeout { .. } => true,
        ApiError::Refused { status, .. } => status.code == 429 || status.code >= 500 || status.code == 401,
        ApiError::Malformed { .. } => false,
    }
}
