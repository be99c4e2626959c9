//! What only flags can say: the settings of one node or one process, which no file shares.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::duration::GoDuration;

/// Where the agent serves its local API for `podwright` when no flag says otherwise.
pub const DEFAULT_LOCAL_SOCKET: &str = "/run/podwright/agent.sock";

/// The flags that are not mirrors of configuration fields; mirrors the flag list of CONTRACT 1.1 and 1.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--config`: the configuration file.
    pub config: Option<PathBuf>,
    /// `--config-dir`: the directory of drop-ins.
    pub config_dir: Option<PathBuf>,
    /// `--kubeconfig`: credentials for the API server; `None` for standalone mode.
    pub kubeconfig: Option<PathBuf>,
    /// `--bootstrap-kubeconfig`: credentials used once, to get a client certificate.
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// `--cert-dir`: certificates and keys.
    pub cert_dir: PathBuf,
    /// `--root-dir`: state of pods.
    pub root_dir: PathBuf,
    /// What upstream's kubelet does not know.
    pub own: OwnOptions,
    /// `--lock-file`: taken before start.
    pub lock_file: Option<PathBuf>,
    /// `--exit-on-lock-contention`: end when someone else opens the lock file.
    pub exit_on_lock_contention: bool,
    /// `--hostname-override`: the node's name; empty for the host's.
    pub hostname_override: String,
    /// `--node-ip`: one address or one of each family; empty for the host's default.
    pub node_ip: Vec<IpAddr>,
    /// `--node-labels`: labels at registration.
    pub node_labels: BTreeMap<String, String>,
    /// `--cloud-provider`: empty or `external`.
    pub cloud_provider: String,
    /// `--runtime-cgroups`: cgroup of the container runtime, for its statistics.
    pub runtime_cgroups: String,
    /// `--image-credential-provider-config`: file or directory.
    pub image_credential_provider_config: Option<PathBuf>,
    /// `--image-credential-provider-bin-dir`: plugin programs.
    pub image_credential_provider_bin_dir: Option<PathBuf>,
    /// `--cadvisor-port`: port of the classic cAdvisor metrics; 0 for off.
    pub cadvisor_port: u16,
    /// `--housekeeping-interval`: how often container statistics are taken.
    pub housekeeping_interval: GoDuration,
    /// `--minimum-container-ttl-duration`: youngest dead container that may be removed.
    pub minimum_container_ttl: GoDuration,
    /// `--maximum-dead-containers-per-container`: dead instances kept of each container; negative for all.
    pub maximum_dead_containers_per_container: i32,
    /// `--maximum-dead-containers`: dead instances kept in all; negative for no limit.
    pub maximum_dead_containers: i32,
    /// `--experimental-allocatable-ignore-eviction`: do not subtract hard eviction thresholds from
    /// allocatable.
    pub allocatable_ignores_eviction: bool,
    /// `--seccomp-default`: like the field `seccompDefault`; either one switches it on.
    pub seccomp_default: bool,
}

/// Flags of this program that upstream's kubelet does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnOptions {
    /// `--local-socket`: where `podwright` reaches the agent; `None` for off.
    pub local_socket: Option<PathBuf>,
    /// `--offline-start`: keep what the API server told, and start it when the server is away.
    pub offline_start: bool,
    /// `--offline-start-key`: the key of what is kept; `None` for one below the root directory.
    pub offline_start_key: Option<PathBuf>,
}

impl Default for OwnOptions {
    fn default() -> Self {
        OwnOptions {
            local_socket: Some(PathBuf::from(DEFAULT_LOCAL_SOCKET)),
            offline_start: true,
            offline_start_key: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: None,
            config_dir: None,
            kubeconfig: None,
            bootstrap_kubeconfig: None,
            cert_dir: PathBuf::from("/var/lib/kubelet/pki"),
            root_dir: PathBuf::from("/var/lib/kubelet"),
            own: OwnOptions::default(),
            lock_file: None,
            exit_on_lock_contention: false,
            hostname_override: String::new(),
            node_ip: Vec::new(),
            node_labels: BTreeMap::new(),
            cloud_provider: String::new(),
            runtime_cgroups: String::new(),
            image_credential_provider_config: None,
            image_credential_provider_bin_dir: None,
            cadvisor_port: 0,
            housekeeping_interval: GoDuration::from_secs(10),
            minimum_container_ttl: GoDuration::ZERO,
            maximum_dead_containers_per_container: 1,
            maximum_dead_containers: -1,
            allocatable_ignores_eviction: false,
            seccomp_default: false,
        }
    }
}

impl Options {
    /// Whether the agent works without an API server.
    pub fn is_standalone(&self) -> bool {
        self.kubeconfig.is_none()
    }
}
