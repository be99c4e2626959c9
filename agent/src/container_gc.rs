//! Removes dead containers and the sandboxes that held them, as far as nobody needs them (CONTRACT 5.12).
//!
//! Reads the node view. Publishes nothing: what it removed shows in the next picture of the pod, for which it asks. Which go
//! is [`core_reclaim::collect`]'s to say; pods that no source wants are the sync loop's.
//!
//! It looks when the view changes, collects at most once in [`PERIOD`], and sleeps while there is nothing to collect. When the
//! node runs out of room it is asked for more: then all of pods that have ended goes too.

use std::time::Duration;

use core_reclaim::{Collection, ContainerPolicy, PodFate, RemovableContainer, collect};
use core_types::view::{Lifecycle, NodeView, PodView};
use core_types::{MonoTime, ObservedPod};
use ports::{FileError, RuntimeError};
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::events::{Happening, Recorder};
use crate::outside::Outside;
use crate::pleg::LookRequests;
use crate::reclaimer::Requests;
use crate::timer;

/// Time between two collections; upstream's.
const PERIOD: Duration = Duration::from_secs(60);

/// Why something could not be removed.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error("cannot remove a dead container or sandbox of pod {pod}: {source}; it is tried again")]
    Runtime { pod: String, source: RuntimeError },
    #[error("cannot remove the log of a dead container of pod {pod}: {source}; it goes with the pod")]
    Log { pod: String, source: FileError },
}

/// The task.
pub(crate) struct ContainerGc {
    outside: Outside,
    policy: ContainerPolicy,
    looks: LookRequests,
    recorder: Recorder,
    collected_at: Option<MonoTime>,
}

impl ContainerGc {
    pub(crate) fn new(
        outside: Outside,
        policy: ContainerPolicy,
        looks: LookRequests,
        recorder: Recorder,
    ) -> Self {
        Self { outside, policy, looks, recorder, collected_at: None }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, mut view: CalmView, mut requests: Requests, stop: CancellationToken) {
        loop {
            let node = view.now();
            let due = self.due(&node);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(answer) = requests.recv() => {
                    self.pass(&node, PodFate::Gone).await;
                    // Who does not wait any more does not listen.
                    let _ = answer.send(());
                }
                _ = view.changed() => {}
                () = timer::until(self.outside.clock.as_ref(), due) => self.pass(&node, PodFate::Stays).await,
            }
        }
    }

    /// When there is something to collect.
    fn due(&self, node: &NodeView) -> Option<MonoTime> {
        let (now, wall) = (self.outside.clock.now(), self.outside.clock.wall());
        let pods = pods(node, PodFate::Stays);
        let collection = collect(&pods, self.policy, wall);
        let something_at = match collection.is_empty() {
            false => now,
            true => now + collection.next_at?.since(wall),
        };
        Some(self.collected_at.map_or(something_at, |last| something_at.max(last + PERIOD)))
    }

    /// `ended` is what becomes of pods that have ended and are still wanted.
    async fn pass(&mut self, node: &NodeView, ended: PodFate) {
        self.collected_at = Some(self.outside.clock.now());
        let pods = pods(node, ended);
        let collection = collect(&pods, self.policy, self.outside.clock.wall());
        if let Err(error) = self.remove(&collection).await {
            self.recorder.node(&Happening::warning("ContainerGCFailed", error.to_string()));
        }
    }

    /// Removes everything that can be removed; gives the first error.
    async fn remove(&self, collection: &Collection<'_>) -> Result<(), RemovalError> {
        let mut result = Ok(());
        for one in &collection.containers {
            result = result.and(self.remove_container(one).await);
            self.looks.add(one.pod.uid.clone());
        }
        for (pod, sandbox) in &collection.sandboxes {
            let removed = self.outside.runtime.remove_sandbox(sandbox).await;
            tracing::debug!(pod = %pod.key, %sandbox, ok = removed.is_ok(), "removed an empty sandbox");
            result = result
                .and(removed.map_err(|source| RemovalError::Runtime { pod: pod.key.to_string(), source }));
            self.looks.add(pod.uid.clone());
        }
        result
    }

    async fn remove_container(&self, one: &RemovableContainer<'_>) -> Result<(), RemovalError> {
        let RemovableContainer { pod, container, kept } = one;
        let name = || pod.key.to_string();
        let removed = self.outside.runtime.remove_container(container.id()).await;
        removed.map_err(|source| RemovalError::Runtime { pod: name(), source })?;
        tracing::debug!(pod = %pod.key, container = %container.id(), "removed a dead container");
        let files = &self.outside.files;
        let removed = files.remove_container_logs(&pod.key, &pod.uid, container.name(), kept).await;
        removed.map_err(|source| RemovalError::Log { pod: name(), source })
    }
}

/// Pods whose dead containers are collected: those that a worker has and does not erase.
fn pods(node: &NodeView, ended: PodFate) -> Vec<(&ObservedPod, PodFate)> {
    let is_kept = |view: &PodView| view.is_wanted || view.lifecycle < Lifecycle::Terminated;
    let kept = node.pods.iter().filter(|(_, view)| is_kept(view));
    kept.filter_map(|(uid, view)| {
        let fate = if view.lifecycle < Lifecycle::Terminated { PodFate::Stays } else { ended };
        Some((node.observed.get(uid)?.as_ref(), fate))
    })
    .collect()
}
