//! The Node object of this machine and its Lease in the API server, and the host's network as far as it concerns them.

use std::net::IpAddr;

use async_trait::async_trait;
use core_node::NetworkFacts;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use crate::api::{ApiResult, ObjectEvent};

/// The Node object.
#[async_trait]
pub trait NodeApi: Send + Sync {
    /// Makes it.
    async fn create(&self, node: &Node) -> ApiResult<Node>;
    /// Reads it.
    async fn get(&self, name: &str) -> ApiResult<Node>;
    /// Changes its status, labels and annotations by a strategic merge patch of the status sub-resource.
    async fn patch_status(&self, name: &str, patch: &Value) -> ApiResult<Node>;
    /// Follows it.
    fn follow(&self, name: &str) -> Box<dyn NodeFeed>;
    /// Gives up all connections: heartbeats fail, and the way to the server may be what is broken.
    fn reconnect(&self);
}

/// News of the Node object.
#[async_trait]
pub trait NodeFeed: Send {
    /// The next news. May be dropped half-way; nothing is lost then.
    async fn next(&mut self) -> ObjectEvent<Node>;
}

/// The node's Lease.
#[async_trait]
pub trait LeaseApi: Send + Sync {
    /// Reads it.
    async fn get(&self, name: &str) -> ApiResult<Lease>;
    /// Makes it.
    async fn create(&self, lease: &Lease) -> ApiResult<Lease>;
    /// Replaces it; a conflict when somebody else has changed it.
    async fn update(&self, lease: &Lease) -> ApiResult<Lease>;
}

/// The host's network.
#[async_trait]
pub trait HostNetwork: Send + Sync {
    /// Addresses of the interfaces and of the default route. What cannot be read is left out.
    async fn interfaces(&self) -> NetworkFacts;
    /// What DNS says of the node's name; nothing when it does not answer.
    async fn resolve(&self, node_name: &str) -> Vec<IpAddr>;
}
