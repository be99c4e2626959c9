//! One simulated node: the fakes, which outlive the agent, and the agent, which can be killed and started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent::{
    Agent, AgentControl, ApiPorts, HostSummary, MachineOutside, Manifests, OfflineOutside, Outside,
    PullOutside, Settings, ShutdownRecord, ShutdownSettings, UsageOutside,
};
use core_cm::CgroupVersion;
use core_config::HostFacts;
use core_logs::LogPolicy;
use core_metrics::Registry;
use core_node::{ExtendedResources, GroupPeriods, Machine};
use core_types::view::{NodeView, PodSource};
use core_types::{PodUid, Shutdown};
use k8s_openapi::api::core::v1::{Node, Service};
use ports::{Control, PodApi, Readings};

use crate::clock::SimClock;
use crate::cluster::FakeCluster;
use crate::faults::Faults;
use crate::host::{
    FakeCgroups, FakeCheckpoints, FakeFiles, FakeHooks, FakeJournal, FakeLogFiles, FakeManifests,
    FakePullRecords, FakeSealed, FakeSink, NoPlugins,
};
use crate::pod_api::FakePodApi;
use crate::probes::FakeProbes;
use crate::runtime::{EventSupport, FakeRuntime};

/// Name of the simulated node; static pods carry it at the end of their names.
pub const NODE_NAME: &str = "sim";

/// How long a shutdown waits for pods, and for how much of that for critical ones.
pub const SHUTDOWN: Duration = Duration::from_secs(30);
const SHUTDOWN_CRITICAL: Duration = Duration::from_secs(10);

/// The API server, as far as the agent uses it.
pub struct FakeApi {
    /// Its pods; the agent follows them only in a cluster.
    pub pods: Arc<FakePodApi>,
    /// Who is told of events.
    pub events: Arc<FakeSink>,
    /// Its other objects; the agent has them only on a node with a memory.
    pub cluster: FakeCluster,
    /// What the agent keeps of all that for a start without the server; used on a node with a memory.
    pub kept: Arc<FakeSealed>,
    memory: Memory,
}

/// A node with everything on it.
pub struct World {
    /// Faults.
    pub faults: Arc<Faults>,
    /// Clocks.
    pub clock: Arc<SimClock>,
    /// Container runtime.
    pub runtime: Arc<FakeRuntime>,
    /// The network, as probes see it.
    pub probes: Arc<FakeProbes>,
    /// Cgroups.
    pub cgroups: Arc<FakeCgroups>,
    /// Pod directories.
    pub files: Arc<FakeFiles>,
    /// What the agent keeps over a restart.
    pub checkpoints: Arc<FakeCheckpoints>,
    /// The journal of events.
    pub journal: Arc<FakeJournal>,
    /// Files about pulls.
    pub pull_records: Arc<FakePullRecords>,
    /// Log files.
    pub log_files: Arc<FakeLogFiles>,
    /// `staticPodPath`.
    pub static_manifests: Arc<FakeManifests>,
    /// Manifests of `podwright run`.
    pub local_manifests: Arc<FakeManifests>,
    /// The API server.
    pub api: FakeApi,
    settings: Settings,
    agent: Option<Agent>,
}

/// Whether the node has a whole cluster, and keeps what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Off,
    On,
}

impl World {
    /// A node without pods, with a running agent. Must be made inside a runtime with paused time.
    ///
    /// # Errors
    /// The default configuration is refused, which is an error of ours.
    pub fn new(seed: u64, faults_per_mille: u32, events: EventSupport) -> anyhow::Result<Self> {
        Self::with_settings(seed, faults_per_mille, events, settings(&[])?)
    }

    /// The same for a node that evicts below 100 MiB of memory and a tenth of its disk.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn evicting(seed: u64, faults_per_mille: u32, events: EventSupport) -> anyhow::Result<Self> {
        let limits = settings(&["--eviction-hard=memory.available<100Mi,nodefs.available<10%"])?;
        Self::with_settings(seed, faults_per_mille, events, limits)
    }

    /// The same for a node that follows an API server.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn in_cluster(seed: u64, faults_per_mille: u32, events: EventSupport) -> anyhow::Result<Self> {
        let mut settings = settings(&[])?;
        settings.sources.configured.push(PodSource::Api);
        Self::with_settings(seed, faults_per_mille, events, settings)
    }

    /// The same for a node of a cluster with Secrets, tokens and services, which keeps what the server tells for a start
    /// without it.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with_memory(seed: u64, faults_per_mille: u32, events: EventSupport) -> anyhow::Result<Self> {
        let mut world = Self::in_cluster(seed, faults_per_mille, events)?;
        world.kill_agent();
        world.api.memory = Memory::On;
        world.start_agent();
        Ok(world)
    }

    /// A node in a cluster with room for so many pods, on which nothing breaks.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with_room_for(pods: usize) -> anyhow::Result<Self> {
        let mut settings = settings(&[&format!("--max-pods={pods}")])?;
        settings.sources.configured.push(PodSource::Api);
        Self::with_settings(0, 0, EventSupport::Streams, settings)
    }

    fn with_settings(
        seed: u64,
        faults_per_mille: u32,
        events: EventSupport,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let clock = Arc::new(SimClock::new());
        let faults = Arc::new(Faults::new(seed, faults_per_mille));
        let log_files = Arc::new(FakeLogFiles::new(Arc::clone(&clock)));
        let runtime =
            FakeRuntime::new(Arc::clone(&clock), Arc::clone(&faults), Arc::clone(&log_files), events);
        let watched = Arc::clone(&runtime);
        let unmounts = Box::new(move |uid: &PodUid| watched.store().note_unmount(uid));
        let files = FakeFiles::new(Arc::clone(&faults), unmounts, Arc::clone(&log_files));
        let pods = Arc::new(FakePodApi::new(Arc::clone(&clock), Arc::clone(&faults)));
        let cluster =
            FakeCluster::new(Arc::clone(&pods), Arc::clone(&clock), node_object()?, vec![master_service()?]);
        let kept = Arc::new(FakeSealed::new(Arc::clone(&faults)));
        let mut world = Self {
            runtime,
            log_files,
            probes: Arc::default(),
            cgroups: Arc::new(FakeCgroups::default()),
            files: Arc::new(files),
            checkpoints: Arc::new(FakeCheckpoints::new(Arc::clone(&faults))),
            journal: Arc::new(FakeJournal::new(Arc::clone(&faults))),
            pull_records: Arc::new(FakePullRecords::new(Arc::clone(&faults))),
            static_manifests: Arc::new(FakeManifests::default()),
            local_manifests: Arc::new(FakeManifests::default()),
            api: FakeApi { pods, events: Arc::default(), cluster, kept, memory: Memory::Off },
            settings,
            agent: None,
            faults,
            clock,
        };
        world.start_agent();
        Ok(world)
    }

    /// Starts the agent on what there is.
    pub fn start_agent(&mut self) {
        let cgroups = Arc::clone(&self.cgroups);
        let outside = Outside {
            clock: self.clock.clone(),
            runtime: self.runtime.clone(),
            images: self.runtime.clone(),
            probes: self.probes.clone(),
            cgroups: Arc::new(move |_, _| Ok(cgroups.clone())),
            files: self.files.clone(),
            checkpoints: self.checkpoints.clone(),
            journal: self.journal.clone(),
            pulls: PullOutside {
                records: self.pull_records.clone(),
                plugins: Arc::new(NoPlugins),
                access: None,
            },
            hooks: Arc::new(FakeHooks),
            log_files: self.log_files.clone(),
            usage: UsageOutside {
                host: self.cgroups.clone(),
                storage: self.files.clone(),
                machine: MachineOutside {
                    log: self.cgroups.kernel.clone(),
                    memory_alarm: self.cgroups.kernel.clone(),
                    shutdown: self.cgroups.kernel.clone(),
                    packets: None,
                },
            },
            manifests: Manifests {
                path: Some(self.static_manifests.clone()),
                url: None,
                local: self.local_manifests.clone(),
            },
            cluster: (self.api.memory == Memory::On).then(|| self.api.cluster.ports()),
            api: self.api_ports(),
        };
        self.agent = Some(agent::start(outside, self.settings.clone(), &Registry::new()));
    }

    fn api_ports(&self) -> ApiPorts {
        let is_followed = self.settings.sources.configured.contains(&PodSource::Api);
        ApiPorts {
            pods: is_followed.then(|| Arc::clone(&self.api.pods) as Arc<dyn PodApi>),
            events: Some(self.api.events.clone()),
            offline: (self.api.memory == Memory::On)
                .then(|| OfflineOutside { file: self.api.kept.clone(), server: "sim:6443".to_owned() }),
        }
    }

    /// The machine goes down at once, and comes up with nothing but its disk. The agent is not started.
    pub fn reboot(&mut self) {
        self.kill_agent();
        {
            let mut store = self.runtime.store();
            store.containers.clear();
            store.sandboxes.clear();
        }
        self.files.reboot();
        self.cgroups.reboot();
        self.cgroups.kernel.shut_down(Shutdown::None);
    }

    /// Stops the agent in order.
    pub async fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await;
        }
    }

    /// The rules for logs.
    pub fn log_policy(&self) -> Option<LogPolicy> {
        self.settings.reclaim.logs.map(|rotation| rotation.policy)
    }

    /// Kills the agent as `kill -9` does: every task ends where it stands.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// The agent as its servers see it; `None` while it is dead.
    pub fn control(&self) -> Option<Arc<AgentControl>> {
        self.agent.as_ref().map(Agent::control)
    }

    /// What the node uses; `None` while the agent is dead.
    pub fn readings(&self) -> Option<Arc<dyn Readings>> {
        self.agent.as_ref().map(Agent::readings)
    }

    /// The agent's latest view.
    pub fn view(&self) -> Arc<NodeView> {
        self.agent.as_ref().map(|agent| agent.control().view()).unwrap_or_default()
    }
}

/// The Node object, with a label that somebody gave it later.
fn node_object() -> anyhow::Result<Node> {
    Ok(serde_json::from_value(serde_json::json!({
        "metadata": { "name": NODE_NAME, "uid": "node-uid", "labels": { "disk": "fast" } },
    }))?)
}

/// The service that every pod is told of.
fn master_service() -> anyhow::Result<Service> {
    Ok(serde_json::from_value(serde_json::json!({
        "metadata": { "namespace": "default", "name": "kubernetes" },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "port": 443 }] },
    }))?)
}

fn settings(more: &[&str]) -> anyhow::Result<Settings> {
    let arguments = ["--pod-manifest-path=/sim/manifests", "--fail-cgroupv1=false"];
    let flags = core_config::parse(arguments.iter().chain(more).map(|&argument| argument.to_owned()))?;
    let host = HostFacts { cgroup_version: core_config::CgroupVersion::V1 };
    let config = core_config::assemble(&flags, None, Vec::new(), host)?;
    let host = HostSummary {
        subordinate_ids: None,
        app_armor: agent::AppArmor::Disabled,
        node_name: NODE_NAME.to_owned(),
        node_ips: vec!["10.0.0.1".to_owned()],
        machine: Machine {
            architecture: "amd64".to_owned(),
            boot_id: "boot-1".to_owned(),
            kernel_version: "6.1.0".to_owned(),
            cpu_count: 8,
            memory_bytes: 64 << 30,
            root_fs_bytes: 1 << 40,
            ..Machine::default()
        },
        extended_resources: ExtendedResources::Keep,
        booted_at: None,
        version: "v1.37.2".to_owned(),
        cgroup_version: CgroupVersion::V1,
        has_swap_controller: false,
        page_bytes: 4096,
        home_dir: "/root".to_owned(),
        working_dir: "/".to_owned(),
    };
    let mut settings = Settings::new(&config, host)?;
    settings.node.labels = BTreeMap::new();
    let periods = GroupPeriods::of_total(SHUTDOWN, SHUTDOWN_CRITICAL);
    settings.reclaim.shutdown =
        periods.map(|periods| ShutdownSettings { periods, record: ShutdownRecord::Kept });
    Ok(settings)
}
