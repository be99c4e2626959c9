//! metrics-server beside a control plane: it reads the nodes' kubelets, and `kubectl top` asks it through the API server.
//!
//! Writes: log and certificate in the control plane's folder.
//! Guarantees: listens on loopback only; ends with the value.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::{
    ControlPlane,
    free_port::free_port,
    parts::metrics_server,
    process::{Program, Running},
};

/// How often it reads each kubelet: as often as it accepts to be told.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// A running metrics-server.
#[derive(Debug)]
pub struct MetricsServer {
    _running: Running,
}

impl MetricsServer {
    /// Starts it and has the API server send requests for its API group there.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let file = metrics_server()?;
        let port = free_port()?;
        let kubeconfig = plane.admin_kubeconfig().display();
        let args = vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", plane.dir().join("metrics-server").display()),
            format!("--metric-resolution={}s", INTERVAL.as_secs()),
            // It insists that a reading ends before the next one begins.
            "--kubelet-request-timeout=5s".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--kubelet-use-node-status-port".to_owned(),
            // The kubelet's own certificate is its own authority's.
            "--kubelet-insecure-tls".to_owned(),
        ];
        let log = plane.dir().join("metrics-server.log");
        let running = Running::start(&Program { file, args, env: Vec::new(), log })?;
        // A name that is resolved by the host leads out of the cluster, to this process.
        plane.apply(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "metrics-server", "namespace": "kube-system" },
            "spec": { "type": "ExternalName", "externalName": "localhost" },
        }))?;
        plane.apply(&json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": "v1beta1.metrics.k8s.io" },
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": { "name": "metrics-server", "namespace": "kube-system", "port": port },
            },
        }))?;
        Ok(Self { _running: running })
    }
}
