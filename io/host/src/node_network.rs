//! The host's network as far as it concerns the node's addresses: interfaces, default route, and DNS of the node's name.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use async_trait::async_trait;
use core_node::NetworkFacts;
use ports::HostNetwork;

use crate::blocking::Blocking;
use crate::machine;

/// How long DNS may take; a resolver without an answer tries for longer, and the node's status must not wait for it.
const DNS_DEADLINE: Duration = Duration::from_secs(5);

/// The kernel's interfaces and the system's resolver.
#[derive(Debug)]
pub struct NodeNetwork {
    blocking: Blocking,
}

impl NodeNetwork {
    /// Nothing is read before it is asked.
    pub fn new() -> Self {
        Self { blocking: Blocking::new(DNS_DEADLINE) }
    }
}

impl Default for NodeNetwork {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl HostNetwork for NodeNetwork {
    async fn interfaces(&self) -> NetworkFacts {
        machine::network_facts()
    }

    async fn resolve(&self, node_name: &str) -> Vec<IpAddr> {
        let name = node_name.to_owned();
        let lookup = move || -> Vec<IpAddr> {
            (name.as_str(), 0)
                .to_socket_addrs()
                .map(|found| found.map(|a| a.ip()).collect())
                .unwrap_or_default()
        };
        self.blocking.run("resolve the node's name", lookup).await.unwrap_or_else(|error| {
            tracing::warn!(node = node_name, "DNS does not answer for the node's name: {error}");
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_host_is_read_and_a_name_that_is_nobodys_gives_nothing() {
        let network = NodeNetwork::new();
        let facts = network.interfaces().await;
        assert!(facts.interfaces.iter().any(IpAddr::is_loopback));
        assert!(facts.default_route.iter().all(|ip| facts.interfaces.contains(ip) && !ip.is_loopback()));
        assert_eq!(network.resolve("127.0.0.1").await, [IpAddr::from([127, 0, 0, 1])]);
        assert!(network.resolve("no-such-node.invalid").await.is_empty());
    }
}
