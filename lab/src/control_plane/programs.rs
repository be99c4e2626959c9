//! With which arguments each program of a control plane is started.
//!
//! As kubeadm would start them, less what costs time or needs a real machine: one etcd that never syncs to disk, no leader
//! election, no ports but the API server's, which listens on loopback only.

use std::{path::Path, time::Duration};

use super::pki::{AGGREGATOR, Pki};

/// What the programs share.
pub(super) struct Layout<'a> {
    pub(super) dir: &'a Path,
    pub(super) pki: &'a Pki,
    /// TCP ports of loopback.
    pub(super) etcd_port: u16,
    pub(super) etcd_peer_port: u16,
    pub(super) api_port: u16,
}

impl Layout<'_> {
    fn pki_flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.pki.file(file).display())
    }

    pub(super) fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        vec![
            format!("--data-dir={}", self.dir.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    pub(super) fn api_server(&self) -> Vec<String> {
        let mut args = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.api_port),
            format!("--cert-dir={}", self.dir.join("run").display()),
            self.pki_flag("tls-cert-file", "apiserver.crt"),
            self.pki_flag("tls-private-key-file", "apiserver.key"),
            self.pki_flag("client-ca-file", "ca.crt"),
            self.pki_flag("kubelet-client-certificate", "kubelet-client.crt"),
            self.pki_flag("kubelet-client-key", "kubelet-client.key"),
            self.pki_flag("service-account-key-file", "service-account.pub"),
            self.pki_flag("service-account-signing-key-file", "service-account.key"),
            self.pki_flag("requestheader-client-ca-file", "ca.crt"),
            format!("--requestheader-allowed-names={AGGREGATOR}"),
            self.pki_flag("proxy-client-cert-file", &format!("{AGGREGATOR}.crt")),
            self.pki_flag("proxy-client-key-file", &format!("{AGGREGATOR}.key")),
        ];
        args.extend(
            [
                "--bind-address=127.0.0.1",
                // Services of a control plane on loopback could not be reached from pods anyway.
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--enable-bootstrap-token-auth=true",
                "--kubelet-preferred-address-types=InternalIP,Hostname",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--allow-privileged=true",
                "--profiling=false",
            ]
            .map(str::to_owned),
        );
        args
    }

    pub(super) fn scheduler(&self, kubeconfig: &Path) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    pub(super) fn controller_manager(&self, kubeconfig: &Path, certificate_life: Duration) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cluster-signing-duration={}s", certificate_life.as_secs()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            self.pki_flag("root-ca-file", "ca.crt"),
            self.pki_flag("cluster-signing-cert-file", "ca.crt"),
            self.pki_flag("cluster-signing-key-file", "ca.key"),
            self.pki_flag("service-account-private-key-file", "service-account.key"),
        ]
    }
}
