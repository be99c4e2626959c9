//! Kinds of objects of which all are known, because a pod may need any: services, runtime classes, trust
//! bundles (CONTRACT 3.19, 3.23, 6.12).
//!
//! ```text
//! API server --follow--> task: book, which keeps what is needed of each object --> whoever asks
//! ```
//! Reads: the collection, from the first question on or from the start. Publishes: the book, once the server has told all.
//! What was told last holds while the server cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use core_offline::Memory;
use core_references::trust::TrustBook;
use core_runtime::runtime_class::RuntimeClassBook;
use core_runtime::service_links::ServiceBook;
use futures_util::StreamExt;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::node::v1::RuntimeClass;
use ports::{Collection, ObjectEvent};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::offline::Offline;
use crate::outside::Cluster;
use crate::task;

/// How long an operation waits for a list that was never read before it says so: longer than a loaded server takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of all objects of a kind.
pub(crate) trait Book: Clone + Default + Send + Sync + 'static {
    /// The kind.
    type Object: Send + 'static;
    /// Its name, for people.
    const KIND: &'static str;
    /// An object is new or has changed.
    fn put(&mut self, object: &Self::Object);
    /// An object is gone.
    fn remove(&mut self, object: &Self::Object);
    /// What was known of the kind before the API server went away.
    fn remembered(memory: &Memory) -> Option<Self>;
}

impl Book for ServiceBook {
    type Object = Service;
    const KIND: &'static str = "services";

    fn put(&mut self, service: &Service) {
        Self::put(self, service);
    }

    fn remove(&mut self, service: &Service) {
        Self::remove(self, service);
    }

    fn remembered(memory: &Memory) -> Option<Self> {
        memory.services.clone()
    }
}

impl Book for RuntimeClassBook {
    type Object = RuntimeClass;
    const KIND: &'static str = "runtime classes";

    fn put(&mut self, class: &RuntimeClass) {
        Self::put(self, class);
    }

    fn remove(&mut self, class: &RuntimeClass) {
        Self::remove(self, class);
    }

    fn remembered(memory: &Memory) -> Option<Self> {
        memory.runtime_classes.clone()
    }
}

impl Book for TrustBook {
    type Object = ClusterTrustBundle;
    const KIND: &'static str = "trust bundles";

    fn put(&mut self, bundle: &ClusterTrustBundle) {
        Self::put(self, bundle);
    }

    fn remove(&mut self, bundle: &ClusterTrustBundle) {
        Self::remove(self, bundle);
    }

    fn remembered(memory: &Memory) -> Option<Self> {
        memory.trust.clone()
    }
}

/// When a collection is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// From the start: nearly every pod needs it.
    AtOnce,
    /// When somebody asks for the first time.
    WhenAsked,
}

/// What is known of a kind.
#[derive(Clone)]
pub(crate) struct Known<B> {
    book: watch::Receiver<Option<Arc<B>>>,
    asked: Arc<Notify>,
}

impl<B: Book> Known<B> {
    /// Begins to follow a collection.
    pub(crate) fn spawn(
        tasks: &mut JoinSet<()>,
        collection: Arc<dyn Collection<B::Object>>,
        begin: Begin,
        offline: Option<&Offline>,
        stop: &CancellationToken,
    ) -> Self {
        let (sender, book) = watch::channel(None);
        let asked = Arc::new(Notify::new());
        if begin == Begin::AtOnce {
            asked.notify_one();
        }
        let (begun, offline, stop) = (Arc::clone(&asked), offline.cloned(), stop.clone());
        tasks.spawn(async move {
            task::until_stopped(&stop, follow(collection, begun, offline, sender)).await;
        });
        Self { book, asked }
    }

    /// All objects; `None` when the server has not told them yet.
    pub(crate) fn now(&self) -> Option<Arc<B>> {
        self.asked.notify_one();
        self.book.borrow().clone()
    }

    /// What the server told, asked for or not.
    pub(crate) fn told(&self) -> Option<Arc<B>> {
        self.book.borrow().clone()
    }

    /// Waits for news of them.
    pub(crate) async fn changed(&mut self) {
        if self.book.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// All objects. Waits a little for the first list.
    pub(crate) async fn get(&self) -> Option<Arc<B>> {
        self.asked.notify_one();
        let mut book = self.book.clone();
        let told = tokio::time::timeout(PATIENCE, book.wait_for(Option::is_some)).await;
        told.ok()?.ok()?.clone()
    }
}

async fn follow<B: Book>(
    collection: Arc<dyn Collection<B::Object>>,
    asked: Arc<Notify>,
    offline: Option<Offline>,
    book: watch::Sender<Option<Arc<B>>>,
) {
    asked.notified().await;
    let mut told = collection.follow();
    let mut remembered = std::pin::pin!(async {
        match &offline {
            Some(offline) => offline.part(B::remembered).await,
            None => std::future::pending().await,
        }
    });
    loop {
        let is_unknown = book.borrow().is_none();
        let event = tokio::select! {
            biased;
            Some(event) = told.next() => event,
            remembered = &mut remembered, if is_unknown => {
                book.send_replace(Some(Arc::new(remembered)));
                continue;
            }
            else => return,
        };
        match event {
            ObjectEvent::Replaced(all) => {
                let mut new = B::default();
                all.iter().for_each(|object| new.put(object));
                book.send_replace(Some(Arc::new(new)));
            }
            ObjectEvent::Applied(object) => change(&book, |book| book.put(&object)),
            ObjectEvent::Deleted(object) => change(&book, |book| book.remove(&object)),
            ObjectEvent::Interrupted(error) => {
                tracing::warn!(%error, "what is known of {} may be old", B::KIND);
            }
        }
    }
}

fn change<B: Book>(book: &watch::Sender<Option<Arc<B>>>, change: impl FnOnce(&mut B)) {
    book.send_modify(|book| {
        if let Some(book) = book {
            change(Arc::make_mut(book));
        }
    });
}

/// What operations need to know of a cluster as a whole.
#[derive(Clone)]
pub(crate) struct Collections {
    pub(crate) services: Known<ServiceBook>,
    pub(crate) runtime_classes: Known<RuntimeClassBook>,
    pub(crate) trust: Known<TrustBook>,
    /// Decides the order in which authorities are shown.
    pub(crate) seed: u64,
}

impl Collections {
    /// Begins to follow what is needed.
    pub(crate) fn spawn(
        tasks: &mut JoinSet<()>,
        cluster: &Cluster,
        offline: Option<&Offline>,
        stop: &CancellationToken,
    ) -> Self {
        let services = Arc::clone(&cluster.services);
        let runtime_classes = Arc::clone(&cluster.runtime_classes);
        let trust = Arc::clone(&cluster.trust_bundles);
        Self {
            trust: Known::spawn(tasks, trust, Begin::WhenAsked, offline, stop),
            seed: fastrand::u64(..),
            services: Known::spawn(tasks, services, Begin::AtOnce, offline, stop),
            runtime_classes: Known::spawn(tasks, runtime_classes, Begin::WhenAsked, offline, stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_core::stream::BoxStream;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;

    type Feed = mpsc::UnboundedReceiver<ObjectEvent<RuntimeClass>>;

    /// Tells what the test says, to its one follower.
    struct FakeCollection(Mutex<Option<Feed>>);

    impl Collection<RuntimeClass> for FakeCollection {
        fn follow(&self) -> BoxStream<'static, ObjectEvent<RuntimeClass>> {
            let feed = self.0.lock().unwrap().take().expect("followed once");
            let next = |mut feed: Feed| async move { Some((feed.recv().await?, feed)) };
            futures_util::stream::unfold(feed, next).boxed()
        }
    }

    fn class(name: &str, handler: &str) -> RuntimeClass {
        serde_json::from_value(json!({ "metadata": { "name": name }, "handler": handler })).unwrap()
    }

    fn book(classes: &[(&str, &str)]) -> RuntimeClassBook {
        let mut book = RuntimeClassBook::default();
        classes.iter().for_each(|(name, handler)| book.put(&class(name, handler)));
        book
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_followed_from_the_first_question_and_answers_what_was_told() {
        let (sender, feed) = mpsc::unbounded_channel();
        let collection = Arc::new(FakeCollection(Mutex::new(Some(feed))));
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let known: Known<RuntimeClassBook> =
            Known::spawn(&mut tasks, collection.clone(), Begin::WhenAsked, None, &stop);
        tokio::task::yield_now().await;
        assert!(collection.0.lock().unwrap().is_some(), "nobody has asked yet");
        assert!(known.get().await.is_none(), "it waits, but not for ever");
        assert!(collection.0.lock().unwrap().is_none());

        let waiting = known.get();
        sender.send(ObjectEvent::Replaced(vec![class("a", "one")])).unwrap();
        assert_eq!(*waiting.await.unwrap(), book(&[("a", "one")]));
        let error = ports::ApiError::Malformed { request: String::new(), problem: String::new() };
        sender.send(ObjectEvent::Interrupted(error)).unwrap();
        sender.send(ObjectEvent::Applied(class("b", "two"))).unwrap();
        sender.send(ObjectEvent::Deleted(class("a", "one"))).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*known.now().unwrap(), book(&[("b", "two")]));
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
