//! The mirror task: keeps the mirrors of static pods at the API server as [`core_pods::mirror`] plans them (CONTRACT 3.30).
//!
//! Reads the node view, once the API server has told its pods. Publishes nothing. One request after another: a node has few static pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_pods::mirror::{self, MirrorAction};
use core_types::api::Pod;
use core_types::view::{Lifecycle, NodeView, PodSource};
use core_types::{MonoTime, PodExt, PodKey};
use ports::{ApiResult, Clock, PodApi};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::timer;

/// How long after a request its effect may take to come back through the watch. Then the request is made again.
const ECHO_LIMIT: Duration = Duration::from_secs(5);
/// Wait after a request that failed, e.g. while the node's object is not there yet.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The task.
pub(crate) struct MirrorTask {
    pub(crate) api: Arc<dyn PodApi>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node_name: String,
}

impl MirrorTask {
    /// Runs until the agent stops.
    pub(crate) async fn run(self, mut view: watch::Receiver<Arc<NodeView>>, stop: CancellationToken) {
        let clock = Arc::clone(&self.clock);
        // Actions that were taken, and until when their effect is awaited.
        let mut awaited: Vec<(MirrorAction, MonoTime)> = Vec::new();
        let mut retry_at = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = view.changed() => if changed.is_err() { return },
                () = timer::until(clock.as_ref(), retry_at) => {}
            }
            let node = Arc::clone(&view.borrow_and_update());
            let now = self.clock.now();
            let actions = planned(&node);
            awaited.retain(|(action, until)| *until > now && actions.contains(action));
            retry_at = awaited.iter().map(|(_, until)| *until).min();
            for action in actions {
                if awaited.iter().any(|(known, _)| *known == action) {
                    continue;
                }
                let wait = match self.act(&action).await {
                    Ok(()) => ECHO_LIMIT,
                    Err(error) => {
                        tracing::warn!("mirror of a static pod: {error}; tried again in {RETRY_AFTER:?}");
                        RETRY_AFTER
                    }
                };
                let until = self.clock.now() + wait;
                awaited.push((action, until));
                retry_at = Some(retry_at.map_or(until, |at: MonoTime| at.min(until)));
            }
        }
    }

    async fn act(&self, action: &MirrorAction) -> ApiResult<()> {
        match action {
            MirrorAction::Create(pod) => {
                let owner = self.api.node_uid().await?;
                match self.api.create(&mirror::mirror_of(pod, &self.node_name, &owner)).await {
                    Ok(_) => tracing::info!(pod = %pod.key(), "created the mirror of a static pod"),
                    // The watch will show whose it is.
                    Err(error) if error.is_already_exists() => {}
                    Err(error) => return Err(error),
                }
            }
            MirrorAction::Delete { key, uid } => match self.api.delete_now(key, uid).await {
                Ok(()) => tracing::info!(pod = %key, pod_uid = %uid, "deleted the mirror of a static pod"),
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }
}

fn planned(node: &NodeView) -> Vec<MirrorAction> {
    let Some(mirrors) = &node.mirrors else { return Vec::new() };
    let statics: BTreeMap<PodKey, Arc<Pod>> = node
        .pods
        .values()
        .filter(|pod| pod.source.is_some_and(|source| source != PodSource::Api))
        .filter(|pod| pod.is_wanted && pod.lifecycle < Lifecycle::Finished)
        .map(|pod| (pod.pod.key(), Arc::clone(&pod.pod)))
        .collect();
    mirror::plan(&statics, mirrors)
}
