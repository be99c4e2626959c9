//! The snapshots that the agent publishes: immutable, whole, replaced at each change. The HTTP server and the program
//! `podwright` read them; nobody writes back through them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{Pod, PodStatus};
use crate::pressure::{EvictionDecision, Pressures};
use crate::runtime::{RuntimeStatus, RuntimeVersion};
use crate::{EventRecord, MonoTime, ObservedPod, PodKey, PodUid, Shutdown, WallTime};

/// Where a pod came from. The order is the order of precedence when two sources name the same pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodSource {
    /// `staticPodPath`.
    File,
    /// `staticPodURL`.
    Http,
    /// `podwright run` on this node; kept as files below the root directory.
    Local,
    /// The API server.
    Api,
}

impl PodSource {
    /// Value of the annotation `kubernetes.io/config.source`. Upstream knows three sources, so a local pod is a file pod.
    pub const fn annotation(self) -> &'static str {
        match self {
            Self::File | Self::Local => "file",
            Self::Http => "http",
            Self::Api => "api",
        }
    }
}

/// Life of one pod incarnation, decided by the pod worker machine alone (DESIGN 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Lifecycle {
    /// Known, not started: something must happen first.
    Waiting,
    /// The agent brings and keeps it up.
    Syncing,
    /// It is being stopped. No container starts any more.
    Terminating,
    /// Nothing of it runs. Its resources are being released.
    Terminated,
    /// Nothing is left of it.
    Finished,
}

/// What the agent does for a pod right now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// In words, e.g. `pulling image "nginx"`.
    pub doing: String,
    /// Container concerned; empty for the pod.
    pub container: String,
    /// Since when.
    pub since: WallTime,
}

/// The last thing that went wrong for a pod.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// CamelCase reason, e.g. `ErrImagePull`.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Container concerned; empty for the pod.
    pub container: String,
    /// When.
    pub at: WallTime,
}

/// Everything published of one pod.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Desired pod; one of the API server has the status that the server knows. For a pod that only the runtime knows: what its
    /// labels tell.
    pub pod: Arc<Pod>,
    /// Current status.
    pub status: Arc<PodStatus>,
    /// Where it came from; `None` for a pod that only the runtime knows.
    pub source: Option<PodSource>,
    /// Life of this incarnation.
    pub lifecycle: Lifecycle,
    /// What the agent does for it right now.
    pub activity: Option<Activity>,
    /// What went wrong last; cleared by the next success.
    pub problem: Option<Problem>,
    /// When the agent tries next by itself.
    pub next_retry: Option<WallTime>,
    /// Latest events of the pod, least recent first, bounded.
    pub events: Arc<[Arc<EventRecord>]>,
    /// The status was made from what the runtime shows; before, it is what the source said.
    pub is_observed: bool,
    /// Nothing of it holds volumes or cgroups any more.
    pub is_released: bool,
    /// A source asks for it now.
    pub is_wanted: bool,
}

/// A manifest or source that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProblem {
    /// File or URL.
    pub origin: String,
    /// What is wrong: line and field where known, and what happens next.
    pub message: String,
    /// Since when.
    pub since: WallTime,
}

/// The agent's view of the container runtime.
#[derive(Clone, Debug, Default)]
pub struct RuntimeView {
    /// Version, once it has answered.
    pub version: Option<RuntimeVersion>,
    /// Latest status.
    pub status: Option<RuntimeStatus>,
    /// Why it cannot be used now; empty when it can.
    pub error: String,
    /// Since when it cannot be used; `None` while it can.
    pub failing_since: Option<MonoTime>,
    /// Last complete look at all pods.
    pub last_relist: Option<MonoTime>,
    /// Why looks are not healthy; `None` when they are, or before the first.
    pub pleg_problem: Option<String>,
}

/// The API server has not told its pods since the agent began: they are those that it told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfflineStart {
    /// When the agent gave up waiting.
    pub since: WallTime,
    /// When what the server told was written down last.
    pub saved_at: WallTime,
}

/// Everything published of the node. One view shares with the next what did not change, so that a reader can tell by the pointer.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Pods by UID.
    pub pods: Arc<BTreeMap<PodUid, Arc<PodView>>>,
    /// What the runtime showed last, by UID.
    pub observed: Arc<BTreeMap<PodUid, Arc<ObservedPod>>>,
    /// Container runtime.
    pub runtime: RuntimeView,
    /// Manifests and sources that cannot be used.
    pub source_problems: Vec<SourceProblem>,
    /// Every source was heard: no other pods are wanted than those in the view.
    pub sources_heard: bool,
    /// Pods of the API server are remembered ones; `None` when it has told them, or nothing is known of them.
    pub offline: Option<OfflineStart>,
    /// What stands for static pods at the API server, by the name of the static pod; `None` until the server has told.
    pub mirrors: Option<Arc<BTreeMap<PodKey, Arc<Pod>>>>,
    /// What the node is short of; `None` before it was measured.
    pub pressures: Option<Pressures>,
    /// Whether the machine goes down.
    pub shutdown: Shutdown,
    /// Why pods were evicted, the latest last; bounded.
    pub evictions: Arc<[Arc<EvictionDecision>]>,
    /// When the sync loop last turned or proved that it could.
    pub sync_loop_alive: MonoTime,
}

impl NodeView {
    /// Pods whose entry came, went or is another one than in an earlier view.
    pub fn pods_changed_since(&self, earlier: &Self) -> Vec<PodUid> {
        changed(&earlier.pods, &self.pods)
    }

    /// Pods of which the runtime shows something else than in an earlier view.
    pub fn observed_changed_since(&self, earlier: &Self) -> Vec<PodUid> {
        changed(&earlier.observed, &self.observed)
    }
}

/// Keys of entries that two maps do not share.
fn changed<V>(old: &Arc<BTreeMap<PodUid, Arc<V>>>, new: &Arc<BTreeMap<PodUid, Arc<V>>>) -> Vec<PodUid> {
    let mut changed = Vec::new();
    if Arc::ptr_eq(old, new) {
        return changed;
    }
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changed,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        // Side by side in the order of keys: the lesser one is in its map alone.
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is) => {}
            (was, is) => changed.extend(was.or(is).map(|(uid, _)| uid.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_views_do_not_share_has_changed() {
        let shown = |pods: &[(&str, &Arc<ObservedPod>)]| NodeView {
            observed: Arc::new(pods.iter().map(|(uid, pod)| (PodUid::from(*uid), Arc::clone(pod))).collect()),
            ..NodeView::default()
        };
        let pod = || Arc::new(ObservedPod::empty("u".into(), PodKey::new("n", "p"), MonoTime::ZERO));
        let (one, other) = (pod(), pod());
        let earlier = shown(&[("a", &one), ("b", &one), ("d", &one), ("e", &one)]);
        let later = shown(&[("b", &one), ("c", &one), ("d", &other), ("e", &one), ("f", &one)]);
        let uids = |uids: &[&str]| uids.iter().map(|uid| PodUid::from(*uid)).collect::<Vec<_>>();
        assert_eq!(later.observed_changed_since(&earlier), uids(&["a", "c", "d", "f"]));
        assert_eq!(later.observed_changed_since(&later.clone()), uids(&[]));
        assert_eq!(later.observed_changed_since(&NodeView::default()), uids(&["b", "c", "d", "e", "f"]));
        assert_eq!(later.pods_changed_since(&earlier), uids(&[]));
    }
}
