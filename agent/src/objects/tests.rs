//! The task with an API server that the test plays.

use std::sync::Mutex;
use std::time::Duration;

use core_types::api::{Pod, PodStatus};
use core_types::view::{Lifecycle, PodView};
use core_types::{MonoTime, Secret, WallTime};
use futures_core::stream::BoxStream;
use ports::ApiResult;

use super::*;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> MonoTime {
        MonoTime::from_secs(1)
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_secs(1)
    }
}

/// Each watch that is open, by object name.
#[derive(Default)]
struct FakeApi {
    watches: Mutex<BTreeMap<String, mpsc::UnboundedSender<ObjectEvent<KeyedObject>>>>,
}

impl FakeApi {
    fn tell(&self, name: &str, event: ObjectEvent<KeyedObject>) {
        self.watches.lock().expect("lock")[name].send(event).expect("watched");
    }

    fn is_watched(&self, name: &str) -> bool {
        self.watches.lock().expect("lock").get(name).is_some_and(|watch| !watch.is_closed())
    }
}

#[async_trait::async_trait]
impl ReferencedObjects for FakeApi {
    async fn read(&self, _: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        Ok(None)
    }

    fn follow(&self, object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.lock().expect("lock").insert(object.name.clone(), sender);
        let next = |mut receiver: mpsc::UnboundedReceiver<_>| async move {
            let event = receiver.recv().await?;
            Some((event, receiver))
        };
        futures_util::stream::unfold(receiver, next).boxed()
    }
}

fn content(value: &str) -> KeyedObject {
    let data = [("k".to_owned(), Secret::new(value.as_bytes().to_vec()))].into();
    KeyedObject { data, ..KeyedObject::default() }
}

fn view_with(uids: &[&str]) -> Arc<NodeView> {
    let pod = PodView {
        pod: Arc::new(Pod::default()),
        status: Arc::new(PodStatus::default()),
        source: None,
        lifecycle: Lifecycle::Syncing,
        activity: None,
        problem: None,
        next_retry: None,
        is_observed: true,
        is_released: false,
        is_wanted: true,
        events: Arc::new([]),
    };
    let pod = Arc::new(pod);
    let pods = uids.iter().map(|&uid| (PodUid::from(uid), Arc::clone(&pod))).collect();
    Arc::new(NodeView { pods: Arc::new(pods), ..NodeView::default() })
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect(what);
}

#[tokio::test]
async fn an_object_is_watched_while_a_pod_refers_to_it_and_its_changes_are_told() {
    let api = Arc::new(FakeApi::default());
    let (view, shown) = watch::channel(Arc::new(NodeView::default()));
    let (sender, mut changed) = mpsc::channel(8);
    let strategy = Strategy::watch(Duration::from_secs(60));
    let (_node, node) = watch::channel(SeenNode::default());
    let (task, objects) = ObjectTask::new(api.clone(), Arc::new(StillClock), strategy, (shown, node), sender);
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));

    let object = KeyedRef::secret("shop", "s");
    let unknown = objects.get(&object).await.expect_err("nobody refers to it");
    assert_eq!(unknown.to_string(), r#"object "shop"/"s" not registered"#);
    objects.register(&"p1".into(), [(object.clone(), Use::InVolume)].into()).await;
    until("a watch", || api.is_watched("s")).await;
    let told = async { api.tell("s", ObjectEvent::Replaced(vec![content("one")])) };
    let (found, ()) = tokio::join!(objects.get_all([object.clone(), object.clone()]), told);
    assert_eq!(found[&object], Ok(Arc::new(content("one"))));

    api.tell("s", ObjectEvent::Applied(content("two")));
    assert_eq!(changed.recv().await, Some(vec!["p1".into()]));
    assert_eq!(objects.get(&object).await, Ok(Arc::new(content("two"))));
    api.tell("s", ObjectEvent::Deleted(content("two")));
    assert_eq!(changed.recv().await, Some(vec!["p1".into()]));
    assert_eq!(objects.get(&object).await.expect_err("gone").to_string(), r#"secret "s" not found"#);

    view.send_replace(view_with(&["p1", "p2"]));
    objects.register(&"p2".into(), BTreeMap::new()).await;
    assert!(api.is_watched("s"), "its pod is there");
    view.send_replace(view_with(&["p2"]));
    until("the end of the watch", || !api.is_watched("s")).await;
    stop.cancel();
    running.await.expect("ends");
}

/// Counts reads.
#[derive(Default)]
struct CountingApi(Mutex<u32>);

#[async_trait::async_trait]
impl ReferencedObjects for CountingApi {
    async fn read(&self, _: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        *self.0.lock().expect("lock") += 1;
        Ok(Some(content("v")))
    }

    fn follow(&self, _: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        futures_util::stream::pending().boxed()
    }
}

#[tokio::test]
async fn the_node_object_says_how_long_what_was_read_counts() {
    let node_with = |ttl: &str| {
        let annotations =
            serde_json::json!({ "metadata": { "annotations": { "node.alpha.kubernetes.io/ttl": ttl } } });
        SeenNode {
            node: Some(Arc::new(serde_json::from_value(annotations).expect("node"))),
            is_heard: true,
            remembered: None,
        }
    };
    for (strategy_ttl, node_ttl, reads) in [(60, "0", 2), (60, "300", 1), (60, "?", 1), (0, "300", 2)] {
        let api = Arc::new(CountingApi::default());
        let (_view, shown) = watch::channel(Arc::default());
        let (node, seen) = watch::channel(SeenNode::default());
        let (sender, _changed) = mpsc::channel(8);
        let strategy = Strategy::Cached { ttl: Duration::from_secs(strategy_ttl) };
        let (task, objects) =
            ObjectTask::new(api.clone(), Arc::new(StillClock), strategy, (shown, seen), sender);
        let stop = CancellationToken::new();
        let running = tokio::spawn(task.run(stop.clone()));
        let object = KeyedRef::secret("shop", "s");
        objects.register(&"u1".into(), [(object.clone(), Use::AtStart)].into()).await;
        node.send_replace(node_with(node_ttl));
        tokio::task::yield_now().await;
        for _ in 0..2 {
            assert!(objects.get(&object).await.is_ok());
        }
        assert_eq!(*api.0.lock().expect("lock"), reads, "{strategy_ttl} {node_ttl}");
        stop.cancel();
        running.await.expect("it ends");
    }
}
