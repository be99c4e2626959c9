//! The API server as a source of pods (CONTRACT 3.1): follows the pods bound to this node and sends the whole set at each change.
//!
//! Counts as ready once the server has told all pods. While it cannot be asked, what it told last holds: in this life of the
//! agent or, at the start and until the server tells, in an earlier one ([`Offline`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use core_offline::{Failure, Patience};
use core_types::api::Pod;
use core_types::view::SourceProblem;
use core_types::{PodExt, PodUid};
use futures_util::{FutureExt, StreamExt};
use ports::{ApiError, ObjectEvent, PodApi};
use tokio::sync::watch;

use crate::node::SeenNode;
use crate::offline::{Offline, Remembered};
use crate::sources::{SourceSet, SourceTask, Standing};
use crate::timer;

/// Events taken together at most before the set is sent all the same.
const MAX_COALESCED: usize = 256;

/// What the server told.
#[derive(Default)]
struct Told {
    pods: BTreeMap<PodUid, Arc<Pod>>,
    is_complete: bool,
    problem: Option<SourceProblem>,
    /// How long it is waited for at the start; `None` when that is over, or nothing is remembered.
    patience: Option<Patience>,
}

/// What wakes the task.
enum Wake {
    Event(Box<ObjectEvent<Pod>>),
    NodeHeard,
    OutOfPatience,
    Stopped,
}

impl SourceTask {
    /// Follows the API server until the agent stops.
    ///
    /// Pods are judged by the labels and taints of the Node object `node`: none is told before that was heard of.
    pub(crate) async fn follow_api(
        self,
        api: Arc<dyn PodApi>,
        mut node: Option<watch::Receiver<SeenNode>>,
        offline: Option<Offline>,
    ) {
        let mut events = api.follow();
        let patience = offline.as_ref().map(|_| Patience::new(self.clock.now()));
        let mut told = Told { patience, ..Told::default() };
        loop {
            let wake = tokio::select! {
                biased;
                () = self.stop.cancelled() => Wake::Stopped,
                Some(event) = events.next() => Wake::Event(Box::new(event)),
                () = heard(&mut node) => Wake::NodeHeard,
                () = timer::until(self.clock.as_ref(), told.patience.and_then(|it| it.due())) => Wake::OutOfPatience,
                else => Wake::Stopped,
            };
            match wake {
                Wake::Event(event) => self.take_event(&mut told, *event),
                Wake::NodeHeard => node = None,
                Wake::OutOfPatience => told.patience = None,
                Wake::Stopped => return,
            }
            for _ in 1..MAX_COALESCED {
                let Some(Some(more)) = events.next().now_or_never() else { break };
                self.take_event(&mut told, more);
            }
            let set = match &offline {
                _ if told.is_complete && node.is_none() => Some(self.told(&told, offline.as_ref())),
                Some(offline) if !told.is_complete && told.patience.is_none() => {
                    offline.remember().await.map(|remembered| self.remembered(&told, remembered))
                }
                _ => None,
            };
            // A server that has never answered has not delivered: what runs must not be taken for unwanted.
            let Some(set) = set else { continue };
            if self.sets.send(set).await.is_err() {
                return;
            }
        }
    }

    /// What the server tells now.
    fn told(&self, told: &Told, offline: Option<&Offline>) -> SourceSet {
        let pods = in_order(&told.pods);
        if let Some(offline) = offline {
            offline.told(&pods);
        }
        let problems = told.problem.iter().cloned().collect();
        SourceSet { source: self.source, pods, problems, standing: Standing::Told }
    }

    /// What it told before it went away.
    fn remembered(&self, told: &Told, remembered: Remembered) -> SourceSet {
        let problems = told.problem.iter().cloned().collect();
        let Remembered { pods, saved_at } = remembered;
        SourceSet { source: self.source, pods, problems, standing: Standing::Remembered { saved_at } }
    }

    fn take_event(&self, told: &mut Told, event: ObjectEvent<Pod>) {
        match event {
            ObjectEvent::Replaced(pods) => {
                told.pods = pods.into_iter().map(|pod| (pod.uid(), Arc::new(pod))).collect();
                told.is_complete = true;
                told.patience = None;
            }
            ObjectEvent::Applied(pod) => drop(told.pods.insert(pod.uid(), Arc::new(pod))),
            ObjectEvent::Deleted(pod) => drop(told.pods.remove(&pod.uid())),
            ObjectEvent::Interrupted(error) => {
                if let Some(patience) = &mut told.patience {
                    patience.failed(failure(&error));
                }
                let message = error.to_string();
                let since = match &told.problem {
                    Some(known) if known.message == message => known.since,
                    _ => {
                        tracing::warn!("{message}; pods stay as the API server told last");
                        self.clock.wall()
                    }
                };
                told.problem = Some(SourceProblem { origin: "API server".to_owned(), message, since });
                return;
            }
        }
        if told.problem.take().is_some() {
            tracing::info!("the API server tells pods again");
        }
    }
}

/// Waits until the Node object was heard of; never comes back without one to wait for.
async fn heard(node: &mut Option<watch::Receiver<SeenNode>>) {
    match node {
        // Its sender goes when the agent stops.
        Some(node) => drop(node.wait_for(|seen| seen.is_heard).await),
        None => std::future::pending().await,
    }
}

/// Whether the server is away or says no. One that is overloaded or broken is away.
fn failure(error: &ApiError) -> Failure {
    match error.status() {
        Some(status) if (400..500).contains(&status.code) && !matches!(status.code, 408 | 410 | 429) => {
            Failure::Refused
        }
        _ => Failure::Away,
    }
}

/// The oldest first: so they are admitted.
fn in_order(pods: &BTreeMap<PodUid, Arc<Pod>>) -> Vec<Arc<Pod>> {
    let mut pods: Vec<Arc<Pod>> = pods.values().cloned().collect();
    pods.sort_by(|a, b| {
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        created(a).cmp(&created(b))
    });
    pods
}
