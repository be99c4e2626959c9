//! Where the agent keeps things, for `podwright doctor`: served on the local socket, and left in a file for when the agent is
//! away.

use std::path::Path;

use core_certificates::Purpose;
use core_config::Config;
use core_types::local::{CertificatePlace, CertificateRenewal, NodePlaces, OWN_DIR, PLACES_FILE};
use io_host::HostCheckpoints;
use ports::Checkpoints as _;

use crate::run::CONTAINER_LOG_LINKS;

/// The places that the configuration names.
pub(crate) fn places(config: &Config, root: &Path) -> NodePlaces {
    let kubelet = &config.kubelet;
    NodePlaces {
        root_dir: root.display().to_string(),
        pod_logs_dir: kubelet.pod_logs_dir.clone(),
        container_log_links_dir: CONTAINER_LOG_LINKS.to_owned(),
        cgroup_root: kubelet.cgroup_root.clone(),
        runtime_endpoint: kubelet.container_runtime_endpoint.clone(),
        certificates: certificates(config),
    }
}

fn certificates(config: &Config) -> Vec<CertificatePlace> {
    let kubelet = &config.kubelet;
    let cert_dir = std::path::absolute(&config.options.cert_dir).unwrap_or(config.options.cert_dir.clone());
    let in_dir = |name: String| cert_dir.join(name).display().to_string();
    let current = |purpose: Purpose| in_dir(format!("{}-current.pem", purpose.prefix()));
    let place = |purpose: &str, path: String, renewal| CertificatePlace {
        purpose: purpose.to_owned(),
        path,
        renewal,
    };
    let mut found = Vec::new();
    if config.options.kubeconfig.is_some() {
        let path = current(Purpose::Client);
        found.push(place("client certificate of the node", path, CertificateRenewal::Signed));
    }
    let (path, renewal) = if !kubelet.tls_cert_file.is_empty() && !kubelet.tls_private_key_file.is_empty() {
        (kubelet.tls_cert_file.clone(), CertificateRenewal::ByHand)
    } else if kubelet.server_tls_bootstrap {
        (current(Purpose::Serving), CertificateRenewal::Signed)
    } else {
        (in_dir("kubelet.crt".to_owned()), CertificateRenewal::AtStart)
    };
    found.push(place("serving certificate of the node", path, renewal));
    let authority = &kubelet.authentication.x509.client_ca_file;
    if !authority.is_empty() {
        found.push(place("authority of clients", authority.clone(), CertificateRenewal::ByHand));
    }
    found
}

/// Leaves them in their file. Without it only the doctor has to be told where to look.
pub(crate) async fn leave(places: &NodePlaces) {
    let content = match serde_json::to_vec_pretty(places) {
        Ok(content) => content,
        Err(error) => return tracing::error!(%error, "the places of this agent have no JSON form"),
    };
    let files = HostCheckpoints::new(&Path::new(&places.root_dir).join(OWN_DIR));
    if let Err(error) = files.store(PLACES_FILE, &content).await {
        tracing::warn!(%error, "cannot note where this agent keeps things");
    }
}
