//! The agent's ports, bundled: what every task may use of the outside. Filled by `bin/kubelet` with the real parts and by
//! `sim` with fakes.

use std::sync::Arc;

use core_types::runtime::CgroupDriver;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::node::v1::RuntimeClass;
use ports::{
    Cgroups, Checkpoints, Clock, Collection, ContainerLogFiles, ContainerRuntime, CredentialPlugins,
    EventJournal, EventSink, HookDialer, HostNetwork, HostStats, ImageService, KernelLog, LeaseApi,
    LocalStorage, MachineShutdown, ManifestFetcher, ManifestFiles, MemoryAlarm, NodeApi, PacketFilter,
    PodApi, PodCertificateRequests, PodFiles, PodKeys, ProbeDialer, PullAccess, PullRecords,
    ReferencedObjects, SealedFile, ServiceAccountTokens,
};

/// Where the paths of cgroups begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupBase {
    /// `cgroupRoot`, below which the pods are.
    Pods,
    /// The root of the hierarchies, below which the machine's daemons are.
    Machine,
}

/// Makes the adapter of the cgroup tree for a driver. The error says what is wrong and what to do.
pub type CgroupsMaker =
    Arc<dyn Fn(CgroupDriver, CgroupBase) -> Result<Arc<dyn Cgroups>, String> + Send + Sync>;

/// What of the API server the agent uses; nothing in standalone mode.
#[derive(Clone, Default)]
pub struct ApiPorts {
    /// Pods of this node.
    pub pods: Option<Arc<dyn PodApi>>,
    /// Events of this node.
    pub events: Option<Arc<dyn EventSink>>,
    /// Where that which the server told is kept for a start without it; `None` when nothing is.
    pub offline: Option<OfflineOutside>,
}

/// What a start without the API server needs.
#[derive(Clone)]
pub struct OfflineOutside {
    /// What it told before.
    pub file: Arc<dyn SealedFile>,
    /// Its address: what another server told is not used.
    pub server: String,
}

/// What pulls of images need beside the runtime.
#[derive(Clone)]
pub struct PullOutside {
    /// Files about pulls.
    pub records: Arc<dyn PullRecords>,
    /// Programs that give credentials.
    pub plugins: Arc<dyn CredentialPlugins>,
    /// Service accounts; `None` without an API server.
    pub access: Option<Arc<dyn PullAccess>>,
}

/// What tells of the machine: how much is used, and what it says by itself.
#[derive(Clone)]
pub struct UsageOutside {
    /// Cgroups, file systems, tasks.
    pub host: Arc<dyn HostStats>,
    /// What pods store.
    pub storage: Arc<dyn LocalStorage>,
    /// What the machine tells by itself, and its packet filter.
    pub machine: MachineOutside,
}

/// What the machine tells by itself, and what the agent keeps in it for others.
#[derive(Clone)]
pub struct MachineOutside {
    /// The kernel's log.
    pub log: Arc<dyn KernelLog>,
    /// The kernel's word that memory runs short.
    pub memory_alarm: Arc<dyn MemoryAlarm>,
    /// The word that the machine goes down.
    pub shutdown: Arc<dyn MachineShutdown>,
    /// Its packet filter; `None` when nothing is kept in it (`makeIPTablesUtilChains`).
    pub packets: Option<Arc<dyn PacketFilter>>,
}

/// Everything outside the agent.
#[derive(Clone)]
pub struct Outside {
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Sandboxes and containers.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Images.
    pub images: Arc<dyn ImageService>,
    /// Probes over the network.
    pub probes: Arc<dyn ProbeDialer>,
    /// Makes the cgroup tree's adapter once the runtime has told its driver.
    pub cgroups: CgroupsMaker,
    /// Directories, volumes and logs of pods.
    pub files: Arc<dyn PodFiles>,
    /// What must outlive the agent and nobody else can tell.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Events of this node, for restarts.
    pub journal: Arc<dyn EventJournal>,
    /// What pulls need beside the runtime.
    pub pulls: PullOutside,
    /// HTTP requests of lifecycle hooks.
    pub hooks: Arc<dyn HookDialer>,
    /// Files of container logs, for rotation.
    pub log_files: Arc<dyn ContainerLogFiles>,
    /// What tells of the machine.
    pub usage: UsageOutside,
    /// Manifests that are no objects of an API server.
    pub manifests: Manifests,
    /// The cluster that the node belongs to; `None` for a machine without one.
    pub cluster: Option<Cluster>,
    /// Other objects of the API server.
    pub api: ApiPorts,
}

/// The node's side of a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The Node object.
    pub nodes: Arc<dyn NodeApi>,
    /// Its Lease.
    pub leases: Arc<dyn LeaseApi>,
    /// The host's network, for the node's addresses.
    pub network: Arc<dyn HostNetwork>,
    /// Secrets and ConfigMaps that pods refer to.
    pub objects: Arc<dyn ReferencedObjects>,
    /// Tokens of service accounts.
    pub tokens: Arc<dyn ServiceAccountTokens>,
    /// Services of all namespaces.
    pub services: Arc<dyn Collection<Service>>,
    /// Runtime classes.
    pub runtime_classes: Arc<dyn Collection<RuntimeClass>>,
    /// Keys of pods.
    pub pod_keys: Arc<dyn PodKeys>,
    /// Requests for certificates of pods.
    pub pod_certificates: Arc<dyn PodCertificateRequests>,
    /// Trust bundles.
    pub trust_bundles: Arc<dyn Collection<ClusterTrustBundle>>,
}

/// Manifests that are no objects of an API server.
#[derive(Clone)]
pub struct Manifests {
    /// Those of `staticPodPath`.
    pub path: Option<Arc<dyn ManifestFiles>>,
    /// Those of `staticPodURL`.
    pub url: Option<Arc<dyn ManifestFetcher>>,
    /// Those of `podwright run`, kept below the root directory.
    pub local: Arc<dyn ManifestFiles>,
}
