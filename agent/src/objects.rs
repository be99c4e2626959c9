//! Secrets and ConfigMaps of the node's pods: the one task that owns what is known of them (CONTRACT 6.10).
//!
//! ```text
//! operations --register, get--> store (core/references) --follow, read--> API server
//!                                   ^  |
//!            node view: who is gone +  +--> sync loop: these pods need another sync
//! ```
//! Reads: questions of operations, the node view, what watches tell. Publishes: answers, and names of pods whose objects
//! have changed, so that a change reaches their volumes at once. At rest it holds one watch per object, and wakes when one
//! tells something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_node::ttl::object_ttl;
use core_references::{Effect, Event, Store, Strategy, Ticket, Use};
use core_types::view::NodeView;
use core_types::{KeyedObject, KeyedRef, Lookup, LookupError, PodUid};
use futures_util::StreamExt;
use ports::{Clock, ObjectEvent, ReferencedObjects};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::node::SeenNode;
use crate::timer;

/// Requests of operations that may wait: a few for each pod of a full node.
const REQUESTS: usize = 256;
/// News of watches and reads that may wait; watches are not read further meanwhile.
const NEWS: usize = 256;

/// What an operation asks of the task.
enum Request {
    Register(PodUid, BTreeMap<KeyedRef, Use>),
    Get(KeyedRef, oneshot::Sender<Lookup>),
}

/// An operation's way to the task.
#[derive(Clone)]
pub(crate) struct Objects {
    requests: mpsc::Sender<Request>,
}

impl Objects {
    /// Says what a pod refers to; it counts until the pod is gone.
    pub(crate) async fn register(&self, uid: &PodUid, uses: BTreeMap<KeyedRef, Use>) {
        // The task ends after all operations: whoever finds it gone is being cancelled.
        let _ = self.requests.send(Request::Register(uid.clone(), uses)).await;
    }

    /// One object.
    pub(crate) async fn get(&self, object: &KeyedRef) -> Lookup {
        let (sender, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Get(object.clone(), sender)).await;
        answer.await.unwrap_or_else(|_stopped| Err(LookupError::Api("the agent is stopping".to_owned())))
    }

    /// Several objects.
    pub(crate) async fn get_all(
        &self,
        objects: impl IntoIterator<Item = KeyedRef>,
    ) -> BTreeMap<KeyedRef, Lookup> {
        let wanted: BTreeSet<KeyedRef> = objects.into_iter().collect();
        let all = wanted.into_iter().map(|object| async move {
            let lookup = self.get(&object).await;
            (object, lookup)
        });
        futures_util::future::join_all(all).await.into_iter().collect()
    }
}

/// Who says how long what was read counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TtlPolicy {
    /// The Node object; this when it says nothing.
    OfNode(Duration),
    /// Nobody: objects are watched, or read anew each time.
    Fixed,
}

impl TtlPolicy {
    fn of(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Cached { ttl } if !ttl.is_zero() => Self::OfNode(ttl),
            Strategy::Cached { .. } | Strategy::Watch { .. } => Self::Fixed,
        }
    }
}

/// The sync loop's side of the task.
pub(crate) struct ObjectLine {
    /// For operations; `None` without an API server.
    pub(crate) objects: Option<Objects>,
    /// Pods whose objects have changed.
    pub(crate) changed: mpsc::Receiver<Vec<PodUid>>,
}

/// What a watch or a read brought.
enum News {
    Told(KeyedRef, u64, ObjectEvent<KeyedObject>),
    Fetched(KeyedRef, u64, Result<Option<KeyedObject>, String>),
}

/// What wakes the task.
enum Wake {
    Asked(Request),
    News(News),
    View,
    Node,
    /// A watch or a read is over; it has said what it had to say.
    Ended,
    Deadline,
    Stopped,
}

/// The task.
pub(crate) struct ObjectTask {
    port: Arc<dyn ReferencedObjects>,
    clock: Arc<dyn Clock>,
    store: Store,
    requests: mpsc::Receiver<Request>,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    view: watch::Receiver<Arc<NodeView>>,
    node: watch::Receiver<SeenNode>,
    /// What was read counts as long as the Node object says.
    ttl_policy: TtlPolicy,
    /// The view that was looked at last.
    seen: Arc<NodeView>,
    /// Pods that were registered since then.
    registered: BTreeSet<PodUid>,
    changed: mpsc::Sender<Vec<PodUid>>,
    watches: BTreeMap<KeyedRef, AbortHandle>,
    running: JoinSet<()>,
    questions: BTreeMap<Ticket, oneshot::Sender<Lookup>>,
    next_ticket: Ticket,
}

impl ObjectTask {
    /// The task and the way to it. Pods whose objects change are sent to `changed`.
    pub(crate) fn new(
        port: Arc<dyn ReferencedObjects>,
        clock: Arc<dyn Clock>,
        strategy: Strategy,
        (view, node): (watch::Receiver<Arc<NodeView>>, watch::Receiver<SeenNode>),
        changed: mpsc::Sender<Vec<PodUid>>,
    ) -> (Self, Objects) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let task = Self {
            port,
            clock,
            store: Store::new(strategy),
            requests,
            news: mpsc::channel(NEWS),
            view,
            node,
            ttl_policy: TtlPolicy::of(strategy),
            seen: Arc::default(),
            registered: BTreeSet::new(),
            changed,
            watches: BTreeMap::new(),
            running: JoinSet::new(),
            questions: BTreeMap::new(),
            next_ticket: 0,
        };
        (task, Objects { requests: sender })
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            match self.next_wake(&stop).await {
                Wake::Asked(Request::Register(uid, uses)) => {
                    // It is shown before its operations begin, though perhaps only for a moment.
                    self.registered.insert(uid.clone());
                    self.step(Event::Registered { uid, uses }).await;
                }
                Wake::Asked(Request::Get(object, answer)) => {
                    self.next_ticket += 1;
                    self.questions.insert(self.next_ticket, answer);
                    self.step(Event::Asked { ticket: self.next_ticket, object }).await;
                }
                Wake::News(news) => self.hear(news).await,
                Wake::View => self.forget_gone().await,
                Wake::Node => self.follow_ttl(),
                Wake::Ended => {}
                Wake::Deadline => self.step(Event::Tick).await,
                Wake::Stopped => return,
            }
        }
    }

    async fn next_wake(&mut self, stop: &CancellationToken) -> Wake {
        let due = self.store.next_deadline();
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stopped,
            Some(request) = self.requests.recv() => Wake::Asked(request),
            Some(news) = self.news.1.recv() => Wake::News(news),
            Ok(()) = self.view.changed() => Wake::View,
            Ok(()) = self.node.changed(), if self.ttl_policy != TtlPolicy::Fixed => Wake::Node,
            Some(_) = self.running.join_next(), if !self.running.is_empty() => Wake::Ended,
            () = timer::until(self.clock.as_ref(), due) => Wake::Deadline,
        }
    }

    fn follow_ttl(&mut self) {
        let TtlPolicy::OfNode(default) = self.ttl_policy else { return };
        let seen = self.node.borrow_and_update();
        self.store.set_ttl(seen.node.as_deref().and_then(object_ttl).unwrap_or(default));
    }

    async fn hear(&mut self, news: News) {
        let event = match news {
            News::Fetched(object, generation, result) => {
                let result = result.map(|content| content.map(Arc::new));
                Event::Fetched { object, generation, result }
            }
            News::Told(object, generation, event) => {
                let content = match event {
                    ObjectEvent::Replaced(mut all) => all.pop(),
                    ObjectEvent::Applied(content) => Some(content),
                    ObjectEvent::Deleted(_) => None,
                    ObjectEvent::Interrupted(error) => {
                        let KeyedRef { kind, namespace, name } = object;
                        return tracing::warn!(%error, %kind, namespace, name, "what is known of an object may be old");
                    }
                };
                Event::Told { object, generation, content: content.map(Arc::new) }
            }
        };
        self.step(event).await;
    }

    /// Pods that were shown and are not any more refer to nothing.
    async fn forget_gone(&mut self) {
        let node = Arc::clone(&self.view.borrow_and_update());
        let mut changed = node.pods_changed_since(&self.seen);
        changed.extend(std::mem::take(&mut self.registered));
        self.seen = Arc::clone(&node);
        for uid in changed.into_iter().filter(|uid| !node.pods.contains_key(uid)) {
            self.step(Event::Forgotten { uid }).await;
        }
    }

    async fn step(&mut self, event: Event) {
        for effect in self.store.step(self.clock.now(), event) {
            match effect {
                Effect::Follow { object, generation } => self.follow(object, generation),
                Effect::Unfollow { object } => {
                    if let Some(watch) = self.watches.remove(&object) {
                        watch.abort();
                    }
                }
                Effect::Fetch { object, generation } => self.fetch(object, generation),
                Effect::Answer { ticket, lookup } => {
                    if let Some(question) = self.questions.remove(&ticket) {
                        // Whoever asked may have been cancelled.
                        let _ = question.send(lookup);
                    }
                }
                // The sync loop always drains this; it is gone when the agent stops.
                Effect::Changed { pods } => drop(self.changed.send(pods).await),
            }
        }
    }

    fn follow(&mut self, object: KeyedRef, generation: u64) {
        let (mut told, sender, of) = (self.port.follow(&object), self.news.0.clone(), object.clone());
        let watch = self.running.spawn(async move {
            while let Some(event) = told.next().await {
                if sender.send(News::Told(of.clone(), generation, event)).await.is_err() {
                    return;
                }
            }
        });
        self.watches.insert(object, watch);
    }

    fn fetch(&mut self, object: KeyedRef, generation: u64) {
        let (port, sender) = (Arc::clone(&self.port), self.news.0.clone());
        self.running.spawn(async move {
            let read = port.read(&object).await.map_err(|error| error.to_string());
            let _ = sender.send(News::Fetched(object, generation, read)).await;
        });
    }
}

#[cfg(test)]
mod tests;
