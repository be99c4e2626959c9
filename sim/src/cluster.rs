//! The rest of the API server: the Node object and its Lease, Secrets and ConfigMaps, tokens, and collections. It is away when
//! the server of pods is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use core_certificates::pod::{KeyType, PodCertificateAsk, RequestState};
use core_node::NetworkFacts;
use core_references::{IssuedToken, TokenAsk};
use core_types::{KeyedObject, KeyedRef, Secret};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use ports::{
    ApiError, ApiResult, Clock, Collection, HostNetwork, LeaseApi, NodeApi, NodeFeed, ObjectEvent,
    PodCertificateRequests, PodKeyPair, PodKeys, ReferencedObjects, ServiceAccountTokens,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::clock::SimClock;
use crate::pod_api::{FakePodApi, refused};

/// How long a follower waits before it asks a server again that was away.
const RETRY: Duration = Duration::from_secs(1);
/// Life of a token.
const TOKEN_LIFE: Duration = Duration::from_secs(3607);

/// What the server has beside pods.
#[derive(Debug)]
struct Objects {
    node: Node,
    keyed: BTreeMap<KeyedRef, KeyedObject>,
    services: Vec<Service>,
    tokens: u64,
}

/// The server.
#[derive(Clone, Debug)]
pub struct FakeCluster {
    pods: Arc<FakePodApi>,
    clock: Arc<SimClock>,
    objects: Arc<Mutex<Objects>>,
}

impl FakeCluster {
    /// A server with this Node object and these services.
    pub fn new(pods: Arc<FakePodApi>, clock: Arc<SimClock>, node: Node, services: Vec<Service>) -> Self {
        let objects = Objects { node, keyed: BTreeMap::new(), services, tokens: 0 };
        Self { pods, clock, objects: Arc::new(Mutex::new(objects)) }
    }

    /// The agent's ports on it.
    pub fn ports(&self) -> agent::Cluster {
        let own = Arc::new(self.clone());
        agent::Cluster {
            nodes: own.clone(),
            leases: own.clone(),
            network: own.clone(),
            objects: own.clone(),
            tokens: own.clone(),
            services: own.clone(),
            runtime_classes: own.clone(),
            pod_keys: own.clone(),
            pod_certificates: own.clone(),
            trust_bundles: own,
        }
    }

    /// A user makes or changes a Secret or ConfigMap with one key; `None` deletes it.
    pub fn user_puts(&self, object: KeyedRef, entry: Option<(&str, &str)>) {
        {
            let mut objects = self.objects();
            match entry {
                Some((key, value)) => {
                    let value = Secret::new(value.as_bytes().to_vec());
                    let data = BTreeMap::from([(key.to_owned(), value)]);
                    objects.keyed.insert(object, KeyedObject { data, ..KeyedObject::default() });
                }
                None => drop(objects.keyed.remove(&object)),
            }
        }
        self.pods.tell_followers();
    }

    /// Tokens that were issued.
    pub fn tokens(&self) -> u64 {
        self.objects().tokens
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(&self, work: impl FnOnce(&mut Objects) -> ApiResult<T>) -> ApiResult<T> {
        match self.pods.is_away() {
            true => Err(away()),
            false => work(&mut self.objects()),
        }
    }

    /// Tells what `look` sees, and again when it sees something else.
    fn follow_as<K, F>(&self, look: F) -> BoxStream<'static, ObjectEvent<K>>
    where
        K: Clone + PartialEq + Send + 'static,
        F: Fn(&Objects) -> Vec<K> + Send + 'static,
    {
        let feed = Feed { cluster: self.clone(), look, told: None, changes: self.pods.changes() };
        stream::unfold(feed, |mut feed| async move { Some((feed.next().await, feed)) }).boxed()
    }
}

fn away() -> ApiError {
    refused(503, "ServiceUnavailable")
}

struct Feed<K, F> {
    cluster: FakeCluster,
    look: F,
    told: Option<Vec<K>>,
    changes: watch::Receiver<u64>,
}

impl<K: Clone + PartialEq, F: Fn(&Objects) -> Vec<K>> Feed<K, F> {
    async fn next(&mut self) -> ObjectEvent<K> {
        loop {
            self.changes.mark_unchanged();
            if self.cluster.pods.is_away() {
                tokio::time::sleep(RETRY).await;
                return ObjectEvent::Interrupted(away());
            }
            let now = (self.look)(&self.cluster.objects());
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now.clone());
                return ObjectEvent::Replaced(now);
            }
            if self.changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The Node object's feed.
struct FakeNodeFeed(BoxStream<'static, ObjectEvent<Node>>);

#[async_trait]
impl NodeFeed for FakeNodeFeed {
    async fn next(&mut self) -> ObjectEvent<Node> {
        match self.0.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl NodeApi for FakeCluster {
    async fn create(&self, _node: &Node) -> ApiResult<Node> {
        self.answer(|_| Err(refused(409, "AlreadyExists")))
    }

    async fn get(&self, _name: &str) -> ApiResult<Node> {
        self.answer(|objects| Ok(objects.node.clone()))
    }

    async fn patch_status(&self, _name: &str, _patch: &Value) -> ApiResult<Node> {
        self.answer(|objects| Ok(objects.node.clone()))
    }

    fn follow(&self, _name: &str) -> Box<dyn NodeFeed> {
        Box::new(FakeNodeFeed(self.follow_as(|objects| vec![objects.node.clone()])))
    }

    fn reconnect(&self) {}
}

#[async_trait]
impl LeaseApi for FakeCluster {
    async fn get(&self, _name: &str) -> ApiResult<Lease> {
        self.answer(|_| Ok(Lease::default()))
    }

    async fn create(&self, lease: &Lease) -> ApiResult<Lease> {
        self.answer(|_| Ok(lease.clone()))
    }

    async fn update(&self, lease: &Lease) -> ApiResult<Lease> {
        self.answer(|_| Ok(lease.clone()))
    }
}

#[async_trait]
impl HostNetwork for FakeCluster {
    async fn interfaces(&self) -> NetworkFacts {
        NetworkFacts { default_route: vec![IpAddr::from([10, 0, 0, 1])], ..NetworkFacts::default() }
    }

    async fn resolve(&self, _node_name: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

#[async_trait]
impl ReferencedObjects for FakeCluster {
    async fn read(&self, object: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        self.answer(|objects| Ok(objects.keyed.get(object).cloned()))
    }

    fn follow(&self, object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        let object = object.clone();
        self.follow_as(move |objects| objects.keyed.get(&object).cloned().into_iter().collect())
    }
}

#[async_trait]
impl ServiceAccountTokens for FakeCluster {
    async fn request_token(&self, ask: &TokenAsk) -> ApiResult<IssuedToken> {
        self.answer(|objects| {
            objects.tokens += 1;
            Ok(IssuedToken {
                token: Secret::new(format!("token-{}-of-{}", objects.tokens, ask.pod)),
                expires_at: self.clock.wall() + TOKEN_LIFE,
                lifetime: TOKEN_LIFE,
            })
        })
    }
}

impl Collection<Service> for FakeCluster {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<Service>> {
        self.follow_as(|objects| objects.services.clone())
    }
}

impl Collection<RuntimeClass> for FakeCluster {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<RuntimeClass>> {
        self.follow_as(|_| Vec::new())
    }
}

impl Collection<ClusterTrustBundle> for FakeCluster {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<ClusterTrustBundle>> {
        self.follow_as(|_| Vec::new())
    }
}

#[async_trait]
impl PodKeys for FakeCluster {
    async fn new_key(&self, _key_type: KeyType) -> Result<PodKeyPair, String> {
        Err("the simulation has no keys".to_owned())
    }
}

#[async_trait]
impl PodCertificateRequests for FakeCluster {
    async fn create(&self, _ask: &PodCertificateAsk, _request_der: Vec<u8>) -> ApiResult<String> {
        Err(refused(403, "Forbidden"))
    }

    async fn look(&self, _namespace: &str, _name: &str) -> ApiResult<Option<RequestState>> {
        Ok(None)
    }
}
