//! The Node object and its Lease, through the client of heartbeats.

use async_trait::async_trait;
use core_node::lease::NAMESPACE;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use ports::{ApiResult, LeaseApi, NodeApi, NodeFeed, ObjectEvent};
use serde_json::Value;

use crate::client::{ApiClient, Patch, Selector};
use crate::follow::Follower;
use crate::path::ObjectPath;

/// Both. Give it a client of its own, so that heartbeats wait for no other requests.
#[derive(Clone, Debug)]
pub struct NodeObjects {
    client: ApiClient,
}

impl NodeObjects {
    /// On this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl NodeApi for NodeObjects {
    async fn create(&self, node: &Node) -> ApiResult<Node> {
        self.client.create(&ObjectPath::all::<Node>(), node).await
    }

    async fn get(&self, name: &str) -> ApiResult<Node> {
        self.client.get(&ObjectPath::cluster::<Node>(name)).await
    }

    async fn patch_status(&self, name: &str, patch: &Value) -> ApiResult<Node> {
        let path = ObjectPath::cluster::<Node>(name).subresource("status");
        self.client.patch(&path, Patch::StrategicMerge(patch)).await
    }

    fn follow(&self, name: &str) -> Box<dyn NodeFeed> {
        let selector = Selector { fields: format!("metadata.name={name}"), ..Selector::default() };
        Box::new(Follower::<Node>::new(self.client.clone(), ObjectPath::all::<Node>(), selector))
    }

    fn reconnect(&self) {
        self.client.reconnect();
    }
}

#[async_trait]
impl NodeFeed for Follower<Node> {
    async fn next(&mut self) -> ObjectEvent<Node> {
        Follower::next(self).await
    }
}

#[async_trait]
impl LeaseApi for NodeObjects {
    async fn get(&self, name: &str) -> ApiResult<Lease> {
        self.client.get(&ObjectPath::namespaced::<Lease>(NAMESPACE, name)).await
    }

    async fn create(&self, lease: &Lease) -> ApiResult<Lease> {
        self.client.create(&ObjectPath::collection::<Lease>(NAMESPACE), lease).await
    }

    async fn update(&self, lease: &Lease) -> ApiResult<Lease> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        self.client.update(&ObjectPath::namespaced::<Lease>(NAMESPACE, name), lease).await
    }
}
