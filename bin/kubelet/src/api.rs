//! The clients of the API server that `--kubeconfig` leads to (CONTRACT 1.7).
//!
//! All share their connections; each has limits of its own, so that heartbeats wait for nothing else. A server that is down is no
//! error here: the node runs what it has, and says what it knows when the server is back.

use std::sync::Arc;
use std::time::Duration;

use agent::{ApiPorts, Cluster};
use anyhow::Result;
use core_config::{KubeletConfiguration, Options};
use core_metrics::Registry;
use io_api::{ApiClient, ClientOptions, Kubeconfig, NodeObjects, NodePods, Rate};
use io_host::NodeNetwork;

use crate::{VERSION, host};

/// How long one request may take with its retries. The API server itself ends requests after 60 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);

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

/// The node's side of the cluster, and the objects that it follows there.
pub(crate) fn cluster(
    kubeconfig: Kubeconfig,
    kubelet: &KubeletConfiguration,
    registry: &Registry,
    node_name: &str,
) -> (Cluster, ApiPorts) {
    let Kubeconfig { server, credentials } = kubeconfig;
    let client = ApiClient::new(server, credentials, options(kubelet), registry);
    let objects = Arc::new(NodeObjects::new(client.with_options(heartbeat_options(kubelet))));
    let cluster = Cluster { nodes: objects.clone(), leases: objects, network: Arc::new(NodeNetwork::new()) };
    (cluster, ApiPorts { pods: Some(Arc::new(NodePods::new(client, node_name))), events: None })
}

/// `kubeAPIQPS` and `kubeAPIBurst`; a negative QPS means no limit, as in client-go.
fn options(kubelet: &KubeletConfiguration) -> ClientOptions {
    let rate = match kubelet.kube_api_qps {
        qps if qps < 0 => Rate::Unlimited,
        qps => Rate::Limited {
            per_second: f64::from(qps.max(1)),
            burst: u32::try_from(kubelet.kube_api_burst).unwrap_or(1).max(1),
        },
    };
    ClientOptions { rate, timeout: REQUEST_TIMEOUT, ..heartbeat_options(kubelet) }
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
