//! What the loops need of the configuration and of the machine, read once at the start.

mod node;
mod reclaim;
mod shutdown;

use std::path::PathBuf;
use std::time::Duration;

use core_cm::convert::hugepage_size_name;
use core_cm::{CgroupVersion, CpuQuota, MemoryQos, MemoryReservation, NodeFacts, SwapBehavior};
use core_config::{Config, Feature, FeatureSet, KubeletConfiguration};
use core_images::providers::config::Provider;
use core_images::scheduler::PullRate;
use core_images::verify::{AllowList, AllowListError, VerificationPolicy};
use core_node::capacity::ReservedTooMuch;
use core_node::{ExtendedResources, Machine};
use core_pods::admission::{
    AppArmor, KernelVersion, NodeAllocatable, PodLevelResources, SysctlAllowList, SysctlPatternError,
};
use core_pods::allocation::{Managers, PodLevelResize, ResizeRules, StaticPolicy};
use core_pods::worker::WorkerPolicy;
use core_probes::ProbeGates;
use core_reclaim::ThresholdError;
use core_references::Strategy;
use core_runtime::backoff::{self, Growth};
use core_runtime::user_namespaces::{DEFAULT_IDS_PER_POD, IdPool, IdPoolError, SubordinateIds};
use core_stats::SystemContainer;
use core_types::runtime::CgroupDriver;
use core_types::view::PodSource;
use core_types::{EnvFileRefs, PodGates, RestartRules, StopSignals, WallTime};

pub use node::{NodeIdentity, Registration};
pub use reclaim::{EvictionSettings, LogRotation, ReclaimSettings, ReservedCgroup};
pub use shutdown::{ShutdownRecord, ShutdownSettings};

/// Facts of the machine that the settings depend on.
#[derive(Clone, Debug)]
pub struct HostSummary {
    /// Name of the node: `--hostname-override` or the host's name.
    pub node_name: String,
    /// Addresses of the node, the primary one first.
    pub node_ips: Vec<String>,
    /// What the machine is.
    pub machine: Machine,
    /// Amounts of extended resources that an existing Node object shows.
    pub extended_resources: ExtendedResources,
    /// When the machine was booted; `None` when it does not tell.
    pub booted_at: Option<WallTime>,
    /// Version of this program, as the Node object shows it.
    pub version: String,
    /// Hierarchy in use.
    pub cgroup_version: CgroupVersion,
    /// Whether the kernel can limit the swap of a cgroup.
    pub has_swap_controller: bool,
    /// Size of a memory page in bytes.
    pub page_bytes: i64,
    /// Whether the kernel enforces AppArmor profiles.
    pub app_armor: AppArmor,
    /// IDs of the host that are set apart for pods; `None` where nobody did.
    pub subordinate_ids: Option<SubordinateIds>,
    /// Home directory of the agent's user, where registry credentials are looked for.
    pub home_dir: String,
    /// The agent's working directory, where registry credentials are looked for.
    pub working_dir: String,
}

/// Where pods come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Sources that are configured.
    pub configured: Vec<PodSource>,
    /// How often manifest files are read without a hint.
    pub file_check_interval: Duration,
    /// How often the manifest URL is fetched.
    pub http_check_interval: Duration,
}

/// Images: how they are pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct PullSettings {
    /// Pulls at once.
    pub parallel: usize,
    /// How many may begin in a second.
    pub rate: PullRate,
    /// Who may use images that are present.
    pub verification: Verification,
    /// Programs that give credentials.
    pub plugins: PluginSettings,
}

/// Credential provider plugins, read by whoever starts the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginSettings {
    /// The plugins, in the order in which they are asked.
    pub providers: Vec<Provider>,
    /// Absolute path of the directory of their programs.
    pub bin_dir: PathBuf,
}

/// Who may use images that are present.
#[derive(Clone, Debug, PartialEq)]
pub enum Verification {
    /// Everybody: the gate KubeletEnsureSecretPulledImages is off.
    Off,
    /// Pods that the policy lets, and those that prove that they may.
    By(VerificationPolicy),
}

/// What pods may ask for and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Whether pods may have resources as a whole.
    pub pod_level: PodLevelResources,
    /// What may be resized.
    pub resize: ResizeRules,
    /// Restart rules, stop signals and variables of containers.
    pub gates: PodGates,
    /// What probes may ask over.
    pub probes: ProbeGates,
}

/// What goes into sandboxes and containers.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// `cgroupRoot`.
    pub cgroup_root: String,
    /// `cgroupDriver`, used when the runtime does not tell its own.
    pub cgroup_driver: CgroupDriver,
    /// `cgroupsPerQOS`.
    pub cgroups_per_qos: bool,
    /// `podLogsDir`.
    pub pod_logs_dir: String,
    /// Root directory, where seccomp profiles and registry credentials are looked for.
    pub root_dir: String,
    /// `clusterDomain`.
    pub cluster_domain: String,
    /// `clusterDNS`.
    pub cluster_dns: Vec<String>,
    /// `resolvConf`.
    pub resolv_conf: String,
    /// `seccompDefault`.
    pub seccomp_default: bool,
    /// IDs for pods with an own user namespace.
    pub user_ids: IdPool,
    /// How what containers get from the API server is kept.
    pub object_strategy: Strategy,
}

/// How use is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsSettings {
    /// `volumeStatsAggPeriod`: how old the measure of a volume may be; `None` to measure no volumes.
    pub volume_period: Option<Duration>,
    /// Cgroups of daemons that the configuration names, from the machine's root cgroup.
    pub daemons: Vec<(SystemContainer, String)>,
    /// Who says what pods use.
    pub pods: PodStatsSource,
    /// Memory that is set apart for huge pages, in bytes; 0 without the gate HugepageAwareEviction.
    pub hugepage_bytes: u64,
}

/// Who says what pods use (gate `PodAndContainerStatsFromCRI`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodStatsSource {
    /// The kernel.
    #[default]
    Cgroups,
    /// The runtime, where it knows the call; else the kernel.
    Runtime,
}

/// Everything the loops need to know before they start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Facts of the machine.
    pub host: HostSummary,
    /// Where pods come from.
    pub sources: SourceSettings,
    /// Waiting times of pods.
    pub worker_policy: WorkerPolicy,
    /// Waiting times of the PLEG.
    pub pleg_policy: core_pleg::Policy,
    /// How long crashed containers wait.
    pub crash_backoff: Growth,
    /// Facts of the node for cgroup values.
    pub node_facts: NodeFacts,
    /// What pods may use together.
    pub allocatable: NodeAllocatable,
    /// The node itself.
    pub node: NodeIdentity,
    /// Sysctls that pods may set.
    pub sysctls: SysctlAllowList,
    /// What pods may ask for and change.
    pub resources: ResourceSettings,
    /// Images.
    pub pulls: PullSettings,
    /// How use is measured.
    pub stats: StatsSettings,
    /// How fast events are told to the API server (`eventRecordQPS`, `eventBurst`).
    pub events: core_events::Limits,
    /// Sandboxes and containers.
    pub runtime: RuntimeSettings,
    /// What the node takes back.
    pub reclaim: ReclaimSettings,
}

/// Settings that cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `allowedUnsafeSysctls` holds something that is no pattern.
    #[error("allowedUnsafeSysctls: {0}")]
    Sysctls(#[source] SysctlPatternError),
    /// Pods cannot get IDs of their own.
    #[error("IDs for user namespaces of pods: {0}")]
    UserIds(#[source] IdPoolError),
    /// `preloadedImagesVerificationAllowlist` holds something that is no pattern.
    #[error("preloadedImagesVerificationAllowlist: {0}")]
    AllowList(#[source] AllowListError),
    /// A limit of eviction means nothing.
    #[error(transparent)]
    Eviction(ThresholdError),
    /// More is reserved than there is.
    #[error(transparent)]
    Reserved(#[from] ReservedTooMuch),
}

/// How long an object that was read counts when the node has no annotation that says so; upstream's value.
const OBJECT_TTL: Duration = Duration::from_secs(60);

/// `configMapAndSecretChangeDetectionStrategy`, which was validated.
fn object_strategy(kubelet: &KubeletConfiguration) -> Strategy {
    match kubelet.config_map_and_secret_change_detection_strategy.as_str() {
        "Cache" => Strategy::Cached { ttl: OBJECT_TTL },
        "Get" => Strategy::Cached { ttl: Duration::ZERO },
        _ => Strategy::watch(kubelet.sync_frequency.to_std()),
    }
}

impl Settings {
    /// Reads the settings of a validated configuration.
    ///
    /// # Errors
    /// Settings that only the machine shows to be wrong.
    pub fn new(config: &Config, host: HostSummary) -> Result<Self, SettingsError> {
        let kubelet = &config.kubelet;
        let kernel = kernel_version(&host.machine.kernel_version);
        let node = NodeIdentity::new(config, &host);
        let allocatable = node.allocatable(&host.machine)?;
        let reclaim = ReclaimSettings::new(config, node.enforced(config, &host.machine))
            .map_err(SettingsError::Eviction)?;
        let sysctls =
            SysctlAllowList::new(kernel, &kubelet.allowed_unsafe_sysctls).map_err(SettingsError::Sysctls)?;
        Ok(Self {
            sources: SourceSettings {
                configured: sources(config),
                file_check_interval: kubelet.file_check_frequency.to_std(),
                http_check_interval: kubelet.http_check_frequency.to_std(),
            },
            worker_policy: WorkerPolicy {
                sync_interval: kubelet.sync_frequency.to_std(),
                ..WorkerPolicy::default()
            },
            pleg_policy: core_pleg::Policy::default(),
            crash_backoff: crash_backoff(config),
            node_facts: node_facts(config, &host, &allocatable),
            allocatable,
            node,
            sysctls,
            resources: ResourceSettings {
                pod_level: match config.features.enabled(Feature::PodLevelResources) {
                    true => PodLevelResources::Enabled,
                    false => PodLevelResources::Disabled,
                },
                resize: resize_rules(config),
                gates: pod_gates(&config.features),
                probes: ProbeGates {
                    http2: config.features.enabled(Feature::H2CContainerProbe),
                    grpc_tls: config.features.enabled(Feature::GRPCContainerProbeTLS),
                },
            },
            pulls: PullSettings {
                parallel: parallel_pulls(kubelet),
                rate: pull_rate(kubelet),
                verification: verification(config).map_err(SettingsError::AllowList)?,
                plugins: PluginSettings::default(),
            },
            reclaim,
            stats: stats(config, &host),
            events: core_events::Limits::of(kubelet.event_record_qps, kubelet.event_burst),
            runtime: RuntimeSettings {
                cgroup_root: kubelet.cgroup_root.clone(),
                cgroup_driver: match kubelet.cgroup_driver.as_str() {
                    "systemd" => CgroupDriver::Systemd,
                    _ => CgroupDriver::Cgroupfs,
                },
                cgroups_per_qos: kubelet.cgroups_per_qos,
                pod_logs_dir: kubelet.pod_logs_dir.clone(),
                root_dir: config.options.root_dir.to_string_lossy().into_owned(),
                cluster_domain: kubelet.cluster_domain.clone(),
                cluster_dns: kubelet.cluster_dns.clone(),
                resolv_conf: kubelet.resolv_conf.clone(),
                seccomp_default: kubelet.seccomp_default,
                user_ids: user_ids(kubelet, &host).map_err(SettingsError::UserIds)?,
                object_strategy: object_strategy(kubelet),
            },
            host,
        })
    }
}

impl StatsSettings {
    /// Takes the cgroup that the agent runs in as that of the agent where the configuration names none. The machine's root
    /// cgroup is nobody's.
    pub fn name_own_cgroup(&mut self, own: &str) {
        let is_named = self.daemons.iter().any(|(whose, _)| *whose == SystemContainer::Kubelet);
        if !is_named && !own.trim_matches('/').is_empty() {
            self.daemons.insert(0, (SystemContainer::Kubelet, own.to_owned()));
        }
    }
}

fn stats(config: &Config, host: &HostSummary) -> StatsSettings {
    let kubelet = &config.kubelet;
    let daemons = [
        (SystemContainer::Kubelet, &kubelet.kubelet_cgroups),
        (SystemContainer::Runtime, &config.options.runtime_cgroups),
        (SystemContainer::Misc, &kubelet.system_cgroups),
    ];
    let pages = host.machine.hugepages.iter();
    let hugepages: i64 = pages.map(|pages| pages.page_bytes.saturating_mul(pages.count)).sum();
    let are_counted = config.features.enabled(Feature::HugepageAwareEviction);
    let named = daemons.into_iter().filter(|(_, path)| !path.is_empty());
    StatsSettings {
        volume_period: Some(kubelet.volume_stats_agg_period.to_std()).filter(|period| !period.is_zero()),
        daemons: named.map(|(whose, path)| (whose, path.clone())).collect(),
        pods: match config.features.enabled(Feature::PodAndContainerStatsFromCRI) {
            true => PodStatsSource::Runtime,
            false => PodStatsSource::Cgroups,
        },
        hugepage_bytes: if are_counted { u64::try_from(hugepages).unwrap_or(0) } else { 0 },
    }
}

/// `crashLoopBackOff` and its gates (CONTRACT 3.12).
fn crash_backoff(config: &Config) -> Growth {
    let max = config.kubelet.crash_loop_back_off.max_container_restart_period.map(|max| max.to_std());
    match config.features.enabled(Feature::ReduceDefaultCrashLoopBackOffDecay) {
        true => Growth::reduced(max),
        false => Growth::to(max.unwrap_or(backoff::DEFAULT_MAX)),
    }
}

/// What pods may use.
fn pod_gates(features: &FeatureSet) -> PodGates {
    let on = |feature| features.enabled(feature);
    let (containers, all) = (Feature::ContainerRestartRules, Feature::RestartAllContainersOnContainerExits);
    PodGates {
        restart_rules: match (on(containers), on(all)) {
            (false, _) => RestartRules::OfPod,
            (true, false) => RestartRules::OfContainers,
            (true, true) => RestartRules::OfAllContainers,
        },
        stop_signals: match on(Feature::ContainerStopSignals) {
            true => StopSignals::OfContainers,
            false => StopSignals::OfImages,
        },
        env_files: match on(Feature::EnvFiles) {
            true => EnvFileRefs::Read,
            false => EnvFileRefs::Ignored,
        },
    }
}

/// The first two numbers of a kernel release; zero for what is no number, so that only what every kernel has is allowed.
fn kernel_version(release: &str) -> KernelVersion {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    KernelVersion { major: numbers.next().unwrap_or(0), minor: numbers.next().unwrap_or(0) }
}

fn sources(config: &Config) -> Vec<PodSource> {
    let kubelet = &config.kubelet;
    let file = (!kubelet.static_pod_path.is_empty()).then_some(PodSource::File);
    let http = (!kubelet.static_pod_url.is_empty()).then_some(PodSource::Http);
    let api = config.options.kubeconfig.is_some().then_some(PodSource::Api);
    file.into_iter().chain(http).chain([PodSource::Local]).chain(api).collect()
}

/// `maxParallelImagePulls` counts only when pulls are not serialized (CONTRACT 1.5).
fn parallel_pulls(kubelet: &KubeletConfiguration) -> usize {
    /// Upstream sets no bound; a node that pulls more at once only fills its queues.
    const UNBOUNDED: usize = 64;
    match (kubelet.serialize_image_pulls, kubelet.max_parallel_image_pulls) {
        (true, _) => 1,
        (false, Some(max)) => usize::try_from(max).unwrap_or(1).max(1),
        (false, None) => UNBOUNDED,
    }
}

/// `imagePullCredentialsVerificationPolicy` (CONTRACT 1.5).
fn verification(config: &Config) -> Result<Verification, AllowListError> {
    if !config.features.enabled(Feature::KubeletEnsureSecretPulledImages) {
        return Ok(Verification::Off);
    }
    let kubelet = &config.kubelet;
    Ok(Verification::By(match kubelet.image_pull_credentials_verification_policy.as_str() {
        "NeverVerify" => VerificationPolicy::NeverVerify,
        "AlwaysVerify" => VerificationPolicy::AlwaysVerify,
        "NeverVerifyAllowlistedImages" => VerificationPolicy::NeverVerifyAllowlistedImages(AllowList::new(
            &kubelet.preloaded_images_verification_allowlist,
        )?),
        _ => VerificationPolicy::NeverVerifyPreloadedImages,
    }))
}

/// `registryPullQPS` and `registryBurst` (CONTRACT 1.5).
fn pull_rate(kubelet: &KubeletConfiguration) -> PullRate {
    match kubelet.registry_pull_qps {
        0 => PullRate::Unlimited,
        qps => PullRate::Limited { per_second: f64::from(qps), burst: f64::from(kubelet.registry_burst) },
    }
}

/// What may be resized: gates and policies of resource managers (CONTRACT 3.25).
fn resize_rules(config: &Config) -> ResizeRules {
    let in_use = |policy: &str| match policy.eq_ignore_ascii_case("static") {
        true => StaticPolicy::InUse,
        false => StaticPolicy::NotInUse,
    };
    let kubelet = &config.kubelet;
    ResizeRules {
        pod_level: match config.features.enabled(Feature::InPlacePodLevelResourcesVerticalScaling) {
            true => PodLevelResize::Allowed,
            false => PodLevelResize::Disabled,
        },
        managers: Managers {
            cpu: in_use(&kubelet.cpu_manager_policy),
            memory: in_use(&kubelet.memory_manager_policy),
        },
    }
}

/// Blocks of IDs for `maxPods` pods (CONTRACT 3.22).
fn user_ids(kubelet: &KubeletConfiguration, host: &HostSummary) -> Result<IdPool, IdPoolError> {
    let ids_per_pod = kubelet.user_namespaces.as_ref().and_then(|namespaces| namespaces.ids_per_pod);
    let ids_per_pod = ids_per_pod.map_or(DEFAULT_IDS_PER_POD, |ids| u32::try_from(ids).unwrap_or(0));
    IdPool::new(host.subordinate_ids, ids_per_pod, u32::try_from(kubelet.max_pods).unwrap_or(0))
}

fn node_facts(config: &Config, host: &HostSummary, allocatable: &NodeAllocatable) -> NodeFacts {
    let kubelet = &config.kubelet;
    let period_us = u64::try_from(kubelet.cpu_cfs_quota_period.as_nanos() / 1_000).unwrap_or(0);
    NodeFacts {
        cgroup_version: host.cgroup_version,
        memory_bytes: host.machine.memory_bytes,
        swap_bytes: host.machine.swap_bytes,
        hugepage_sizes: host
            .machine
            .hugepages
            .iter()
            .filter_map(|pages| hugepage_size_name(pages.page_bytes))
            .collect(),
        cpu_quota: if kubelet.cpu_cfs_quota { CpuQuota::Enforced { period_us } } else { CpuQuota::Off },
        swap: match (host.cgroup_version, kubelet.memory_swap.swap_behavior.as_str()) {
            _ if !host.has_swap_controller => SwapBehavior::Unavailable,
            (CgroupVersion::V2, "LimitedSwap") => SwapBehavior::Limited,
            _ => SwapBehavior::NoSwap,
        },
        pod_pids_limit: kubelet.pod_pids_limit,
        memory_qos: match config.features.enabled(Feature::MemoryQoS) {
            true => MemoryQos::On {
                throttling_factor: kubelet.memory_throttling_factor,
                reservation: match kubelet.memory_reservation_policy.as_str() {
                    "TieredReservation" => MemoryReservation::Tiered,
                    _ => MemoryReservation::None,
                },
                allocatable_bytes: allocatable.memory_bytes,
                page_bytes: host.page_bytes,
            },
            false => MemoryQos::Off,
        },
        single_process_oom_kill: kubelet
            .single_process_oom_kill
            .unwrap_or(host.cgroup_version == CgroupVersion::V1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read_as_far_as_they_are_numbers() {
        assert_eq!(kernel_version("6.18.44-fc"), KernelVersion { major: 6, minor: 18 });
        assert_eq!(kernel_version("odd"), KernelVersion { major: 0, minor: 0 });
    }
}
