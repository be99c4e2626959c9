//! The API server as a source of pods (CONTRACT 3.1): follows the pods bound to this node and sends the whole set at each change.
//!
//! Counts as ready once the server has told all pods. While it cannot be asked, what it told last holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::Pod;
use core_types::view::SourceProblem;
use core_types::{PodExt, PodUid};
use futures_util::{FutureExt, StreamExt};
use ports::{ObjectEvent, PodApi};
use tokio::sync::watch;

use crate::node::SeenNode;
use crate::sources::{SourceSet, SourceTask};

/// Events taken together at most before the set is sent all the same.
const MAX_COALESCED: usize = 256;

/// What the server told.
#[derive(Default)]
struct Told {
    pods: BTreeMap<PodUid, Arc<Pod>>,
    is_complete: bool,
    problem: Option<SourceProblem>,
}

impl SourceTask {
    /// Follows the API server until the agent stops.
    ///
    /// Pods are judged by the labels and taints of the Node object `node`: none is told before that was heard of.
    pub(crate) async fn follow_api(self, api: Arc<dyn PodApi>, node: Option<watch::Receiver<SeenNode>>) {
        if let Some(mut node) = node {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = node.wait_for(|seen| seen.is_heard) => {}
            }
        }
        let mut events = api.follow();
        let mut told = Told::default();
        loop {
            let event = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            self.take_event(&mut told, event);
            for _ in 1..MAX_COALESCED {
                let Some(Some(more)) = events.next().now_or_never() else { break };
                self.take_event(&mut told, more);
            }
            // A server that has never answered has not delivered: what runs must not be taken for unwanted.
            if !told.is_complete {
                continue;
            }
            let set = SourceSet {
                source: self.source,
                pods: in_order(&told.pods),
                problems: told.problem.iter().cloned().collect(),
            };
            if self.sets.send(set).await.is_err() {
                return;
            }
        }
    }

    fn take_event(&self, told: &mut Told, event: ObjectEvent<Pod>) {
        match event {
            ObjectEvent::Replaced(pods) => {
                told.pods = pods.into_iter().map(|pod| (pod.uid(), Arc::new(pod))).collect();
                told.is_complete = true;
            }
            ObjectEvent::Applied(pod) => drop(told.pods.insert(pod.uid(), Arc::new(pod))),
            ObjectEvent::Deleted(pod) => drop(told.pods.remove(&pod.uid())),
            ObjectEvent::Interrupted(error) => {
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

/// The oldest first: so they are admitted.
fn in_order(pods: &BTreeMap<PodUid, Arc<Pod>>) -> Vec<Arc<Pod>> {
    let mut pods: Vec<Arc<Pod>> = pods.values().cloned().collect();
    pods.sort_by(|a, b| {
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        created(a).cmp(&created(b))
    });
    pods
}
