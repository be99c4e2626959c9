//! Why a pod is in its state: the content of `podwright why POD`, for people ([`std::fmt::Display`]) and for programs (serde).
//!
//! Reads what the agent published and nothing else. One cause is chosen: the one that a person would name, because the
//! others follow from it. The rest stands in the container rows and the last error.

mod advice;
mod cause;
mod decide;
mod image;
mod resize;
mod text;

use core_types::pressure::EvictionDecision;
use core_types::view::{Lifecycle, NodeView, OfflineStart, PodSource, PodView};
use core_types::{ContainerKind, EventType, PodExt, PodKey, PodUid, WallTime};
use serde::{Deserialize, Serialize};

pub use cause::{Cause, ProbeWord};

/// The state of a pod in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Something must happen before it can start.
    Waiting,
    /// It is being brought up.
    Starting,
    /// It runs, and is not (or not wholly) ready.
    NotReady,
    /// It runs and is ready.
    Ready,
    /// It has done its work.
    Completed,
    /// It has ended for good, and not well.
    Failed,
    /// It is being stopped.
    Terminating,
    /// Nothing of it runs any more.
    Stopped,
}

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// CamelCase reason.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Container concerned; empty for the pod.
    pub container: String,
    /// When it was seen last.
    pub at: WallTime,
}

/// One container of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRow {
    /// Name.
    pub name: String,
    /// `init`, `sidecar` or `regular`.
    pub kind: String,
    /// State in words, e.g. `running` or `exited with code 1 (Error)`.
    pub state: String,
    /// Ready.
    pub ready: bool,
    /// How often it was restarted.
    pub restarts: i32,
    /// Since when it is in this state, where known.
    pub since: Option<WallTime>,
}

/// Everything that `podwright why` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Pod.
    pub key: PodKey,
    /// UID.
    pub uid: PodUid,
    /// State in one word.
    pub state: State,
    /// Why.
    pub cause: Cause,
    /// The cause in plain words.
    pub cause_text: String,
    /// Since when, where known.
    pub since: Option<WallTime>,
    /// Containers in the order in which they start.
    pub containers: Vec<ContainerRow>,
    /// What went wrong last.
    pub last_error: Option<LastError>,
    /// A resize that is not done, in plain words: how far it is and what happens next. Empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resize: String,
    /// The API server has told nothing of the pod since the agent began: it is as it was told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<OfflineStart>,
    /// Why the node evicted the pod, with the figures of all pods at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<EvictionDecision>,
    /// When the agent tries next by itself.
    pub next_retry: Option<WallTime>,
    /// What happens next without anybody's doing; empty when nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// What a person can do; empty when there is nothing to do.
    pub hint: String,
    /// The time of this explanation.
    pub now: WallTime,
}

/// Explains a published pod.
pub fn explain(view: &PodView, node: &NodeView, now: WallTime) -> Explanation {
    let decision = decide::decide(view, node, now);
    let key = view.pod.key();
    let is_settled = matches!(decision.state, State::Ready | State::Completed | State::Stopped);
    let next_retry = view.next_retry.filter(|_| !is_settled && view.lifecycle < Lifecycle::Terminated);
    let advice = advice::advice(&decision.cause, &key, next_retry.map(|at| at.since(now).as_secs()));
    Explanation {
        uid: view.pod.uid(),
        state: decision.state,
        cause_text: decision.cause.to_string(),
        next: advice.next,
        hint: advice.to_do,
        cause: decision.cause,
        since: decision.since,
        containers: rows(view),
        last_error: open_problem(view).or_else(|| newest_warning(view).filter(|_| !is_settled)),
        resize: resize::words(&view.status),
        offline: node.offline.filter(|_| view.source == Some(PodSource::Api)),
        eviction: eviction(view, node),
        next_retry,
        key,
        now,
    }
}

fn eviction(view: &PodView, node: &NodeView) -> Option<EvictionDecision> {
    let uid = view.pod.uid();
    let is_evicted = view.status.reason.as_deref() == Some("Evicted");
    node.evictions
        .iter()
        .rev()
        .find(|decision| is_evicted && decision.uid == uid)
        .map(|found| (**found).clone())
}

fn rows(view: &PodView) -> Vec<ContainerRow> {
    let refs = view.pod.container_refs();
    let row = |container: &core_types::ContainerRef<'_>| {
        let list = match container.kind {
            ContainerKind::Regular => &view.status.container_statuses,
            _ => &view.status.init_container_statuses,
        };
        let status = list.iter().flatten().find(|status| status.name == container.spec.name);
        let (state, since) = status.map_or_else(|| ("not started".to_owned(), None), text::state_of);
        ContainerRow {
            name: container.spec.name.clone(),
            kind: match container.kind {
                ContainerKind::Init => "init",
                ContainerKind::Sidecar => "sidecar",
                ContainerKind::Regular | ContainerKind::Ephemeral => "regular",
            }
            .to_owned(),
            state,
            ready: status.is_some_and(|status| status.ready),
            restarts: status.map_or(0, |status| status.restart_count),
            since,
        }
    };
    refs.iter().map(row).collect()
}

/// What went wrong last and has not gone well since.
fn open_problem(view: &PodView) -> Option<LastError> {
    view.problem.as_ref().map(|problem| LastError {
        reason: problem.reason.clone(),
        message: problem.message.clone(),
        container: problem.container.clone(),
        at: problem.at,
    })
}

/// The newest warning. Of a pod that is as it should be it tells nothing any more.
fn newest_warning(view: &PodView) -> Option<LastError> {
    let warnings = view.events.iter().filter(|event| event.event_type == EventType::Warning);
    let newest = warnings.max_by_key(|event| event.last_seen)?;
    Some(LastError {
        reason: newest.reason.clone(),
        message: newest.message.clone(),
        container: newest.object.container().to_owned(),
        at: newest.last_seen,
    })
}
