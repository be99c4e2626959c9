//! The order of the start, the wait for the end, and the stop (CONTRACT 1.7, 1.8).
//!
//! ```text
//! say what was configured > check the host > directories > [lock] > limits > ports > agent > listeners > READY=1
//!     > SIGTERM, SIGINT, or someone wants the lock: listeners, then the agent, stop; containers keep running
//! ```
//! A second signal ends the process at once. A container runtime that is down is no error here: the agent waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::{
    Agent, ApiPorts, CgroupBase, CgroupsMaker, HostSummary, MachineOutside, Manifests, Outside, PullOutside,
    Settings, UsageOutside,
};
use anyhow::{Context, Result, anyhow};
use core_config::features::Stage;
use core_config::{Config, Feature, FeatureSet, KubeletConfiguration};
use core_metrics::{Desc, Registry};
use core_types::runtime::CgroupDriver;
use io_cri::{CriClient, CriOptions};
use io_host::{
    CgroupOptions, HostCgroups, HostCheckpoints, HostClock, HostContainerLogFiles, HostContainerLogs,
    HostCredentialPlugins, HostEventJournal, HostKernelLog, HostLocalStorage, HostManifestFiles,
    HostMemoryAlarm, HostOwnProcess, HostPodFiles, HostPullRecords, HostStatsReader, Iptables, MachineInfo,
    NodeFacts, PodFilesOptions,
};
use io_http::{HttpHooks, HttpManifests};
use io_logind::{Bus, Logind};
use io_probes::NetworkProbes;
use io_systemd::SystemdCgroups;
use ports::{Cgroups, Clock, ManifestFetcher, ManifestFiles, PacketFilter};
use server::health::HealthChecks;
use server::usage::{SummaryFacts, UsagePages, VersionFacts};
use server::{NodeFacts as ServedFacts, ServerContext, SplitLogStreams};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{Cluster, ClusterFacts};
use crate::host::{self, CgroupVersion, Directories};
use crate::lock::{self, Contention};
use crate::notify::Supervisor;
use crate::serve::{self, Listeners};
use crate::{VERSION, api, causes, credential_providers, offline, places, reactor, rest};

/// Work on blocking threads may take this long to end at stop; what hangs longer is left to the kernel.
const STOP_BLOCKING: Duration = Duration::from_millis(500);

/// Where upstream links the logs of containers, for log collectors.
pub(crate) const CONTAINER_LOG_LINKS: &str = "/var/log/containers";

/// Where logind is told that pods need time.
const LOGIND_CONF_DIR: &str = "/etc/systemd/logind.conf.d";

/// Why slices cannot be made.
const NO_SYSTEMD: &str = "the cgroup driver is systemd, and systemd does not run this machine: set cgroupDriver to cgroupfs here and \
    SystemdCgroup to false in the container runtime";

/// Runs the kubelet until it is told to stop.
pub(crate) fn run(config: Config, facts: NodeFacts) -> Result<()> {
    tracing::info!(kubeletVersion = VERSION, "Kubelet version");
    announce(&config);
    if config.options.kubeconfig.is_none() {
        tracing::info!("standalone mode, no API client");
        serve::check_webhooks(&config.kubelet)?;
    }
    let cgroups = host::cgroup_version(&facts)?;
    host::check(&config.kubelet, cgroups)?;
    let runtime = reactor::build()?;
    let result = runtime.block_on(Box::pin(until_stopped(config, facts, cgroups)));
    runtime.shutdown_timeout(STOP_BLOCKING);
    result
}

/// Logs what the user should know of the configuration, and what is in effect.
fn announce(config: &Config) {
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let effective = format!("{:#}", config.kubelet.to_log());
    tracing::info!(config = effective, "Effective KubeletConfiguration");
    tracing::debug!(options = ?config.options, "settings that only flags have");
}

async fn until_stopped(config: Config, facts: NodeFacts, cgroups: CgroupVersion) -> Result<()> {
    let mut signals = Signals::register()?;
    let supervisor = Supervisor::from_environment()?;
    let directories = host::make_directories(&config.options.root_dir)?;
    let lock = tokio::select! {
        lock = take_lock(config.options.lock_file.as_deref()) => lock?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped while waiting for the file lock");
            return Ok(());
        }
    };
    let mut contention = match (&config.options.lock_file, config.options.exit_on_lock_contention) {
        (Some(path), true) => Some(Contention::watch(path)?),
        _ => None,
    };
    // The first certificate of a node may take long.
    let mut node = tokio::select! {
        node = Box::pin(Node::start(config, facts, cgroups, directories)) => node?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(());
        }
    };
    supervisor.ready();
    let contended = async {
        match &mut contention {
            Some(contention) => contention.wait().await,
            None => std::future::pending().await,
        }
    };
    let checks = HealthChecks::node(&node.context);
    let control = node.agent.control();
    let result = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping; containers keep running");
            Ok(())
        }
        () = contended => {
            tracing::info!("another process wants the file lock; stopping, containers keep running");
            Ok(())
        }
        error = cluster_failed(&mut node.cluster) => Err(error),
        () = node.agent.failed() => Err(anyhow!("a task of the agent ended although nobody stopped it")),
        () = supervisor.keep_alive(|| checks.problem()) => Ok(()),
        () = rest::give_memory_back(&*control) => Ok(()),
    };
    node.listeners.stop().await;
    node.agent.stop().await;
    if let Some(cluster) = node.cluster {
        cluster.stop().await;
    }
    drop(lock);
    result
}

async fn cluster_failed(cluster: &mut Option<Cluster>) -> anyhow::Error {
    match cluster {
        Some(cluster) => cluster.failed().await,
        None => std::future::pending().await,
    }
}

async fn take_lock(path: Option<&Path>) -> Result<Option<io_host::lock::LockFile>> {
    match path {
        Some(path) => lock::acquire(path).await.map(Some),
        None => Ok(None),
    }
}

/// Everything that runs.
struct Node {
    agent: Agent,
    listeners: Listeners,
    context: ServerContext,
    cluster: Option<Cluster>,
}

impl Node {
    async fn start(
        config: Config,
        facts: NodeFacts,
        cgroups: CgroupVersion,
        directories: Directories,
    ) -> Result<Self> {
        let kubelet = &config.kubelet;
        io_host::limits::apply_or_warn(
            u64::try_from(kubelet.max_open_files).unwrap_or(0),
            kubelet.oom_score_adj,
        );
        let registry = Registry::new();
        set_cgroup_version(&registry, cgroups);
        set_features(&registry, &config.features);
        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let machine = MachineInfo::read(clock.wall());
        let summary = host::summary(&config.options, &directories.root, &facts, &machine, cgroups)?;
        let node_name = summary.node_name.clone();
        set_node_name(&registry, &node_name);
        tracing::info!(node = node_name, addresses = summary.node_ips.join(","), "this node");

        let cluster = Cluster::connect(&ClusterFacts {
            config: &config,
            node_name: &node_name,
            node_ips: &summary.node_ips,
            clock: Arc::clone(&clock),
            registry: &registry,
        })
        .await?;
        let clients = cluster.as_ref().map(|cluster| api::cluster(&cluster.client, kubelet, &node_name));
        let (ports, api) = clients.map_or((None, ApiPorts::default()), |(ports, api)| (Some(ports), api));
        let mut outside = outside(&config, &directories, Arc::clone(&clock), &registry, ports)?;
        outside.api = api;
        let server = cluster.as_ref().map(|cluster| cluster.client.server().authority().to_string());
        outside.api.offline = offline::outside(&config.options, &directories.root, server).await;
        outside.pulls.access = cluster.as_ref().map(|cluster| api::pull_access(&cluster.client));
        let mut settings = settings(&config, summary, &directories)?;
        settings.stats.name_own_cgroup(&io_host::machine::own_cgroup());
        settings.pulls.plugins = credential_providers::read_settings(&config, &registry)?;
        let booted_at = facts.booted_at.unwrap_or_default();
        let machine_info = serde_json::to_value(&machine).context("describe the machine")?;
        let agent = agent::start(outside, settings, &registry);
        let usage = UsagePages {
            readings: agent.readings(),
            node: SummaryFacts { node_name: node_name.clone(), booted_at, started_at: clock.wall() },
            machine: serde_json::from_value(machine_info.clone()).context("describe the machine")?,
            version: VersionFacts { kernel_version: facts.kernel_version, os_version: facts.os_image },
        };
        let context = ServerContext {
            control: agent.control(),
            clock,
            logs: Arc::new(HostContainerLogs::new()),
            process: Arc::new(HostOwnProcess),
            registry,
            probe_registry: agent.probe_registry(),
            health_registry: Registry::new(),
            usage,
            facts: Arc::new(served_facts(&config, node_name, machine_info, &directories.root)),
        };
        places::leave(&context.facts.places).await;
        match Listeners::start(&config, &context, (&directories, cluster.as_ref())).await {
            Ok(listeners) => Ok(Self { agent, listeners, context, cluster }),
            Err(error) => {
                agent.stop().await;
                Err(error)
            }
        }
    }
}

/// What the ports tell of the node and its configuration.
fn served_facts(
    config: &Config,
    node_name: String,
    machine_info: serde_json::Value,
    root: &Path,
) -> ServedFacts {
    let kubelet = &config.kubelet;
    ServedFacts {
        node_name,
        version: VERSION.to_owned(),
        sync_frequency: kubelet.sync_frequency.to_std(),
        stream_idle_limit: kubelet.streaming_connection_idle_timeout.to_std(),
        split_log_streams: match config.features.enabled(Feature::PodLogsQuerySplitStreams) {
            true => SplitLogStreams::Allowed,
            false => SplitLogStreams::Refused,
        },
        machine_info,
        places: places::places(config, root),
        configuration: kubelet.to_document(),
    }
}

/// The agent's settings, with the root directory as the absolute path that mounts need.
fn settings(config: &Config, summary: HostSummary, directories: &Directories) -> Result<Settings> {
    let mut settings = Settings::new(config, summary)?;
    settings.runtime.root_dir = directories.root.to_string_lossy().into_owned();
    Ok(settings)
}

/// The real parts behind the agent's ports.
fn outside(
    config: &Config,
    directories: &Directories,
    clock: Arc<dyn Clock>,
    registry: &Registry,
    cluster: Option<agent::Cluster>,
) -> Result<Outside> {
    let kubelet = &config.kubelet;
    let image_endpoint = match kubelet.image_service_endpoint.as_str() {
        "" => &kubelet.container_runtime_endpoint,
        _ => &kubelet.image_service_endpoint,
    };
    let cri = CriOptions {
        runtime_endpoint: kubelet.container_runtime_endpoint.clone(),
        image_endpoint: image_endpoint.clone(),
        request_timeout: kubelet.runtime_request_timeout.to_std(),
    };
    let cri = Arc::new(CriClient::connect(&cri, registry)?);
    let files = PodFilesOptions {
        root_dir: directories.root.clone(),
        pod_logs_dir: PathBuf::from(&kubelet.pod_logs_dir),
        container_log_links_dir: Some(PathBuf::from(CONTAINER_LOG_LINKS)),
    };
    let manifests = |path: &Path| -> Arc<dyn ManifestFiles> { Arc::new(HostManifestFiles::new(path)) };
    let static_manifests = match kubelet.static_pod_path.as_str() {
        "" => None,
        path => Some(manifests(&std::path::absolute(path).with_context(|| format!("staticPodPath {path}"))?)),
    };
    let storage = HostLocalStorage::new(&directories.root, &files.pod_logs_dir, Arc::clone(&clock));
    let host = Arc::new(HostStatsReader::new(Arc::clone(&clock))?);
    let machine = MachineOutside {
        log: Arc::new(HostKernelLog::default()),
        memory_alarm: Arc::new(HostMemoryAlarm::default()),
        shutdown: Arc::new(Logind::new(Bus::System, Path::new(LOGIND_CONF_DIR))),
        packets: kubelet.make_iptables_util_chains.then(|| Arc::new(Iptables) as Arc<dyn PacketFilter>),
    };
    let usage = UsageOutside { host, storage: Arc::new(storage), machine };
    Ok(Outside {
        clock,
        runtime: cri.clone(),
        images: cri,
        probes: Arc::new(NetworkProbes::new(&probe_version())?),
        cgroups: cgroups_maker(kubelet.cgroup_root.clone()),
        files: Arc::new(HostPodFiles::new(&files)?),
        checkpoints: Arc::new(HostCheckpoints::new(&directories.root)),
        journal: Arc::new(HostEventJournal::new(&directories.events)),
        pulls: PullOutside {
            records: Arc::new(HostPullRecords::new(&directories.root)),
            plugins: Arc::new(HostCredentialPlugins),
            access: None,
        },
        hooks: Arc::new(HttpHooks::new().map_err(|problem| anyhow!("TLS for lifecycle hooks: {problem}"))?),
        log_files: Arc::new(HostContainerLogFiles::new(&files.pod_logs_dir)),
        usage,
        manifests: Manifests {
            path: static_manifests,
            url: manifest_url(kubelet)?,
            local: manifests(&directories.local_manifests),
        },
        cluster,
        api: ApiPorts::default(),
    })
}

/// `major.minor`, as probes show it.
fn probe_version() -> String {
    let numbers: Vec<&str> = VERSION.trim_start_matches('v').split('.').take(2).collect();
    numbers.join(".")
}

fn cgroups_maker(root: String) -> CgroupsMaker {
    Arc::new(move |driver: CgroupDriver, base: CgroupBase| {
        let root = match base {
            CgroupBase::Pods => root.clone(),
            CgroupBase::Machine => "/".to_owned(),
        };
        if driver == CgroupDriver::Systemd && !io_systemd::is_running() {
            return Err(NO_SYSTEMD.to_owned());
        }
        let options = CgroupOptions { root, driver };
        let files = HostCgroups::new(&options).map_err(|error| causes::text(&error))?;
        let version = match files.version() {
            io_host::CgroupVersion::V1 => core_cm::CgroupVersion::V1,
            io_host::CgroupVersion::V2 => core_cm::CgroupVersion::V2,
        };
        let files: Arc<dyn Cgroups> = Arc::new(files);
        Ok(match driver {
            CgroupDriver::Cgroupfs => files,
            CgroupDriver::Systemd => {
                Arc::new(SystemdCgroups::new(io_systemd::Bus::System, &options.root, version, files))
            }
        })
    })
}

fn manifest_url(kubelet: &KubeletConfiguration) -> Result<Option<Arc<dyn ManifestFetcher>>> {
    if kubelet.static_pod_url.is_empty() {
        return Ok(None);
    }
    let headers: Vec<_> = kubelet.static_pod_url_header.clone().into_iter().collect();
    let fetcher =
        HttpManifests::new(&kubelet.static_pod_url, &headers, kubelet.http_check_frequency.to_std())?;
    Ok(Some(Arc::new(fetcher)))
}

fn set_cgroup_version(registry: &Registry, version: CgroupVersion) {
    let desc =
        Desc { name: "kubelet_cgroup_version", help: "[ALPHA] cgroup version on the hosts.", labels: &[] };
    let version = match version {
        CgroupVersion::V1 => 1.0,
        CgroupVersion::V2 => 2.0,
    };
    registry.gauge(desc).set(&[], version);
}

fn set_features(registry: &Registry, features: &FeatureSet) {
    let gauge = registry.gauge(Desc {
        name: "kubernetes_feature_enabled",
        help: "[BETA] This metric records the data about the stage and enablement of a k8s feature.",
        labels: &["name", "stage"],
    });
    for feature in Feature::all() {
        let stage = match feature.spec().stage {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
            Stage::Ga => "",
            Stage::Deprecated => "DEPRECATED",
        };
        gauge.set(&[feature.name(), stage], f64::from(u8::from(features.enabled(feature))));
    }
}

fn set_node_name(registry: &Registry, name: &str) {
    let help = "[ALPHA] The node's name. The count is always 1.";
    registry.gauge(Desc { name: "kubelet_node_name", help, labels: &["node"] }).set(&[name], 1.0);
}

/// SIGTERM and SIGINT. The first is for the agent to stop in order; the second ends the process in its handler, however
/// busy the agent is.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn register() -> Result<Self> {
        const SECOND_SIGNAL: i32 = 1;
        let seen = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        for (kind, own, other) in
            [(SignalKind::terminate(), &seen[0], &seen[1]), (SignalKind::interrupt(), &seen[1], &seen[0])]
        {
            // Handlers run in the order of registration. Each signal is noted before the other is looked for: of two that two threads
            // take at the same time, one at least sees the other.
            let number = kind.as_raw_value();
            let end_if = |flag: &Arc<AtomicBool>| {
                signal_hook::flag::register_conditional_shutdown(number, SECOND_SIGNAL, Arc::clone(flag))
            };
            end_if(own)
                .and_then(|_| signal_hook::flag::register(number, Arc::clone(own)))
                .and_then(|_| end_if(other))
                .context("set up signal handlers")?;
        }
        let of = |kind| signal(kind).context("set up signal handlers");
        Ok(Self { term: of(SignalKind::terminate())?, int: of(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
