//! The clients of the API server that `--kubeconfig` leads to (CONTRACT 1.7).
//!
//! All share their connections; each has limits of its own, so that heartbeats wait for nothing else. A server that is down is no
//! error here: the node runs what it has, and says what it knows when the server is back.

use std::sync::Arc;
use std::time::Duration;

use agent::Cluster;
use anyhow::Result;
use core_config::{KubeletConfiguration, Options};
use core_metrics::Registry;
use io_api::{ApiClient, ClientOptions, Kubeconfig, NodeObjects, Rate};
use io_host::NodeNetwork;

use crate::{VERSION, host};

/// Where the API server is and who the node is there; `None` without `--kubeconfig`.
pub(crate) fn kubeconfig(options: &Options) -> Result<Option<Kubeconfig>> {
    let Some(path) = &options.kubeconfig else {
        tracing::info!("standalone mode, no API client");
        return Ok(None);
    };
    let kubeconfig = Kubeconfig::load(path)?;
    let server = kubeconfig.server.authority();
    tracing::info!(kubeconfig = %path.display(), server, "this node belongs to a cluster");
    Ok(Some(kubeconfig))
}

/// The node's side of the cluster.
pub(crate) fn cluster(
    kubeconfig: Kubeconfig,
    kubelet: &KubeletConfiguration,
    registry: &Registry,
) -> Cluster {
    let Kubeconfig { server, credentials } = kubeconfig;
    let heartbeats = ApiClient::new(server, credentials, heartbeat_options(kubelet), registry);
    let objects = Arc::new(NodeObjects::new(heartbeats));
    Cluster { nodes: objects.clone(), leases: objects, network: Arc::new(NodeNetwork::new()) }
}

/// No limit, and no request longer than the shortest time between two heartbeats.
fn heartbeat_options(kubelet: &KubeletConfiguration) -> ClientOptions {
    let lease = Duration::from_secs(u64::try_from(kubelet.node_lease_duration_seconds).unwrap_or(0));
    ClientOptions {
        user_agent: format!("kubelet/{VERSION} (linux/{}) kubernetes/podwright", host::architecture()),
        rate: Rate::Unlimited,
        timeout: kubelet.node_status_update_frequency.to_std().min(lease),
    }
}
