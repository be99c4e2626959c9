//! The clients of the API server that `--kubeconfig` leads to (CONTRACT 1.7).
//!
//! All share their connections; each has limits of its own, so that heartbeats wait for nothing else. A server that is down is no
//! error here: the node runs what it has, and says what it knows when the server is back.

use std::sync::Arc;
use std::time::Duration;

use agent::{ApiPorts, Cluster};
use core_config::KubeletConfiguration;
use io_api::{
    ApiClient, ApiCollections, ApiPodCertificates, ApiPulls, ApiReferences, ClientOptions, NodeEvents,
    NodeObjects, NodePods, Rate,
};
use io_host::NodeNetwork;
use io_pki::HostPodKeys;
use ports::PullAccess;

use crate::{VERSION, host};

/// How long one request may take with its retries. The API server itself ends requests after 60 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);

/// The node's side of the cluster, and the objects that it follows there, on the connections of this client.
pub(crate) fn cluster(
    client: &ApiClient,
    kubelet: &KubeletConfiguration,
    node_name: &str,
) -> (Cluster, ApiPorts) {
    let node = Arc::new(NodeObjects::new(client.with_options(heartbeat_options(kubelet))));
    let collections = Arc::new(ApiCollections::new(client.clone()));
    let references = Arc::new(ApiReferences::new(client.clone()));
    let cluster = Cluster {
        nodes: node.clone(),
        leases: node,
        network: Arc::new(NodeNetwork::new()),
        objects: references.clone(),
        tokens: references,
        pod_keys: Arc::new(HostPodKeys),
        pod_certificates: Arc::new(ApiPodCertificates::new(client.clone(), node_name)),
        services: collections.clone(),
        runtime_classes: collections.clone(),
        trust_bundles: collections,
    };
    // Their rate is the budget's.
    let events = ClientOptions { rate: Rate::Unlimited, ..options(kubelet) };
    let api = ApiPorts {
        pods: Some(Arc::new(NodePods::new(client.clone(), node_name))),
        events: Some(Arc::new(NodeEvents::new(client.with_options(events), node_name))),
        offline: None,
    };
    (cluster, api)
}

/// Service accounts, for plugins that know credentials of registries.
pub(crate) fn pull_access(client: &ApiClient) -> Arc<dyn PullAccess> {
    Arc::new(ApiPulls::new(client.clone()))
}

/// `kubeAPIQPS` and `kubeAPIBurst`; a negative QPS means no limit, as in client-go.
pub(crate) fn options(kubelet: &KubeletConfiguration) -> ClientOptions {
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
