//! The ports with a memory, on a server that the test plays.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use ::ports::{ApiError, ApiResult, ObjectEvent, ReferencedObjects};
use async_trait::async_trait;
use core_types::Secret;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::ports::remembered_objects;
use super::*;

type Feed = mpsc::UnboundedReceiver<ObjectEvent<KeyedObject>>;

#[derive(Default)]
struct Server {
    answer: Mutex<Option<KeyedObject>>,
    reads: AtomicU32,
    feed: Mutex<Option<Feed>>,
}

#[async_trait]
impl ReferencedObjects for Server {
    async fn read(&self, _object: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.answer.lock().unwrap().clone())
    }

    fn follow(&self, _object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        let feed = self.feed.lock().unwrap().take().expect("followed once");
        let next = |mut feed: Feed| async move { Some((feed.recv().await?, feed)) };
        futures_util::stream::unfold(feed, next).boxed()
    }
}

fn content(text: &str) -> KeyedObject {
    let data = BTreeMap::from([("k".to_owned(), Secret::new(text.as_bytes().to_vec()))]);
    KeyedObject { data, ..KeyedObject::default() }
}

fn pod() -> Arc<Pod> {
    let text = serde_json::json!({ "metadata": { "namespace": "shop", "name": "web", "uid": "u" } });
    Arc::new(serde_json::from_value(text).expect("a pod"))
}

fn object() -> KeyedRef {
    KeyedRef::secret("shop", "words")
}

/// A memory that was read, with one pod and one Secret.
fn loaded() -> Offline {
    let offline = Offline::new(watch::Sender::new(SeenNode::default()));
    let objects = BTreeMap::from([(object(), Some(Arc::new(content("kept"))))]);
    let memory = Memory { pods: vec![pod()], objects, ..Memory::default() };
    offline.loaded(Kept { memory, saved_at: WallTime::from_unix_secs(7) });
    offline
}

#[tokio::test]
async fn what_is_kept_is_read_only_while_the_server_is_away() {
    let (offline, server) = (loaded(), Arc::new(Server::default()));
    *server.answer.lock().unwrap() = Some(content("new"));
    let objects = remembered_objects(server.clone(), &offline);
    assert!(offline.remember().await.is_some_and(|it| it.saved_at == WallTime::from_unix_secs(7)));
    assert!(offline.remember().await.is_none(), "it begins once");
    assert_eq!(objects.read(&object()).await.unwrap(), Some(content("kept")));
    assert_eq!(server.reads.load(Ordering::Relaxed), 0);
    offline.told(&[pod()]);
    assert_eq!(objects.read(&object()).await.unwrap(), Some(content("new")));
    assert_eq!(offline.object(&object()), None, "the server is there to be asked");
    assert_eq!(offline.state.borrow().memory.objects[&object()].as_deref(), Some(&content("new")));
}

#[tokio::test]
async fn a_follower_is_told_what_is_kept_once_and_then_what_the_server_tells() {
    let (offline, server) = (loaded(), Arc::new(Server::default()));
    let (sender, feed) = mpsc::unbounded_channel();
    *server.feed.lock().unwrap() = Some(feed);
    let mut told = remembered_objects(server, &offline).follow(&object());
    assert!(told.next().now_or_never().is_none(), "the server is waited for");
    offline.remember().await.expect("pods");
    assert_eq!(told.next().await, Some(ObjectEvent::Replaced(vec![content("kept")])));
    assert!(told.next().now_or_never().is_none());
    let error = ApiError::Malformed { request: String::new(), problem: String::new() };
    for event in [ObjectEvent::Interrupted(error), ObjectEvent::Replaced(Vec::new())] {
        sender.send(event.clone()).unwrap();
        assert_eq!(told.next().await, Some(event));
    }
    assert_eq!(offline.state.borrow().memory.objects[&object()], None, "it was deleted meanwhile");
}

#[tokio::test]
async fn a_server_that_is_faster_than_the_file_has_the_word() {
    let offline = Offline::new(watch::Sender::new(SeenNode::default()));
    offline.told(&[]);
    offline.loaded(Kept { memory: Memory { pods: vec![pod()], ..Memory::default() }, ..Kept::default() });
    assert!(offline.remember().await.is_none());
    assert!(offline.state.borrow().memory.pods.is_empty(), "a pod that is gone does not come back");
}

#[tokio::test]
async fn the_node_object_is_remembered_until_it_is_heard_of() {
    let (heard, node) = (watch::Sender::new(SeenNode::default()), Some(Arc::default()));
    let offline = Offline::new(heard.clone());
    let memory = Memory { pods: vec![pod()], node, ..Memory::default() };
    offline.loaded(Kept { memory, ..Kept::default() });
    assert!(heard.borrow().newest().is_none());
    offline.remember().await.expect("pods");
    assert!(heard.borrow().newest().is_some() && !heard.borrow().is_heard);
}
