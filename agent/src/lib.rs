//! The agent: the tasks that run pods. What a task decides, a planner or machine of `core/*` decides; what it does, it does
//! through a port.
//!
//! | task | reads | publishes |
//! |---|---|---|
//! | source tasks ([`sources`], [`api_source`]) | manifest files, URL, API server | whole pod sets, to the sync loop |
//! | runtime watch ([`runtime_watch`]) | `Version`, `Status`, `RuntimeConfig` | whether the runtime can be used |
//! | PLEG ([`pleg`]) | runtime lists, statuses, events | pictures of pods, to the sync loop |
//! | prober ([`prober`]) | the node view, answers of containers | results of probes, to the sync loop |
//! | objects ([`objects`]), with an API server | Secrets and ConfigMaps that pods refer to, the node view | answers to operations; pods that a change concerns |
//! | collections ([`collections`]), with an API server | services, and runtime classes once a pod names one | what is needed of them, to operations |
//! | memory ([`offline`]), with an API server | a sealed file; what the server told the others | what it told before, to the others while it is away; it writes the file |
//! | sync loop ([`sync_loop`]) | all of these, outcomes of operations, deadlines | the node view |
//! | book keepers ([`checkpoints`]) | resources given and in force, from the sync loop | nothing; they write files |
//! | journal and teller of events ([`events`]) | what happened | events, to a file and to the API server |
//! | pulls ([`images`]) | wishes of operations, answers of the runtime, files about pulls | one answer per wish; files about pulls |
//! | node ([`node`]), with a cluster | the node view, the Node object, addresses, images | the Node object's status, the Lease, events of the node |
//! | container collection ([`container_gc`]) | the node view | nothing; it removes dead containers |
//! | image collection ([`image_gc`]) | the node view, the file system of images | nothing; it removes images |
//! | eviction ([`eviction`]) | signals of the node, use of pods | pressures, orders and decisions, to the sync loop |
//! | OOM watch ([`oom_watch`]) | the kernel's log | containers in which a process was killed, to the sync loop |
//! | node shutdown ([`node_shutdown`]), when configured | the word that the machine goes down, the node view | orders to end pods, to the sync loop; it delays the shutdown |
//! | packet rules ([`packet_rules`]), when configured | the packet filter | nothing; it makes what is missing there |
//! | log rotation ([`log_rotation`]) | the node view, sizes of logs | nothing |
//! | status ([`status_task`]) | the node view | nothing; it tells the API server |
//! | mirrors ([`mirrors`]) | the node view | nothing; it keeps mirror pods at the API server |
//! | readings ([`readings`]), no task: made when asked for | the node view, cgroups, file systems, the runtime | one reading for all who ask |
//! | operations ([`executor`]), one per pod at most | one pod's spec, picture and back-offs | notes and one report |
//!
//! All run on one thread if need be; what blocks is behind the ports. [`start`] makes them, [`Agent::stop`] ends them in
//! order: sources, loop, PLEG. Stopping the agent stops no container.

mod active;
mod api_source;
mod calm_view;
pub mod certificates;
mod checkpoints;
mod collections;
mod container_gc;
mod control;
mod events;
mod eviction;
mod executor;
mod housekeeping;
mod image_gc;
mod images;
mod inspect;
mod log_rotation;
mod measured_cgroups;
mod metrics;
mod mirrors;
mod node;
mod node_allocatable;
mod node_shutdown;
mod note;
mod objects;
mod offline;
mod oom_watch;
mod operations;
mod outside;
mod packet_rules;
mod pleg;
mod probe_book;
mod prober;
mod protection;
mod publisher;
mod readings;
mod reclaimer;
mod record;
mod resolv_conf;
mod runtime_watch;
mod seen;
mod settings;
mod sizes;
mod sources;
mod status;
mod status_task;
mod sync_loop;
mod task;
mod timer;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use core_metrics::Registry;
use core_offline::Identity;
use core_pleg::Pleg;
use core_types::MonoTime;
use core_types::view::{NodeView, PodSource};
use ports::Readings;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use control::AgentControl;
pub use core_pods::admission::AppArmor;
pub use outside::{
    ApiPorts, CgroupBase, CgroupsMaker, Cluster, MachineOutside, Manifests, OfflineOutside, Outside,
    PullOutside, UsageOutside,
};
pub use settings::{
    EvictionSettings, HostSummary, LogRotation, NodeIdentity, PluginSettings, PodStatsSource, PullSettings,
    ReclaimSettings, Registration, ReservedCgroup, ResourceSettings, RuntimeSettings, Settings,
    SettingsError, ShutdownRecord, ShutdownSettings, SourceSettings, StatsSettings, Verification,
};

use calm_view::CalmView;
use collections::Collections;
use events::{Happening, Recorder};
use images::Images;
use mirrors::MirrorTask;
use node::{NodeParts, SeenNode};
use objects::{ObjectLine, ObjectTask};
use offline::{Keeper, Offline, Watched};
use pleg::{LookRequests, PlegTask};
use prober::{Asking, Prober};
use publisher::Publisher;
use readings::Reader;
use runtime_watch::{RuntimePoke, RuntimeUp};
use sizes::Sizes;
use sources::SourceTask;
use status_task::StatusTask;
use sync_loop::{Inputs, Looks, Parts, SyncLoop};
use turns::Turns;

/// Pod sets that may wait for the sync loop: sources are few and send whole sets.
const SOURCE_QUEUE: usize = 16;
/// Pictures that may wait for the sync loop (upstream's PLEG channel has 1000).
const PLEG_QUEUE: usize = 1000;
/// News of probes that may wait for the sync loop; the prober waits when it is full.
const PROBE_QUEUE: usize = 256;
/// News of changed objects that may wait for the sync loop.
const OBJECT_QUEUE: usize = 64;
/// How long tasks may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A running agent.
pub struct Agent {
    control: Arc<AgentControl>,
    readings: Arc<Reader>,
    probe_registry: Registry,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Agent {
    /// The agent as its servers see it.
    pub fn control(&self) -> Arc<AgentControl> {
        Arc::clone(&self.control)
    }

    /// What the node uses, read when asked for.
    pub fn readings(&self) -> Arc<dyn Readings> {
        Arc::clone(&self.readings) as Arc<dyn Readings>
    }

    /// What probes come to, apart from all other metrics, as `/metrics/probes` shows it.
    pub fn probe_registry(&self) -> Registry {
        self.probe_registry.clone()
    }

    /// Ends every task; what does not end in time is dropped. Containers keep running.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, all).await.is_err() {
            tracing::warn!("some tasks did not end in {STOP_DEADLINE:?}; they are dropped");
        }
    }

    /// Waits until a task ends although nobody stopped the agent; that is an error of the agent.
    pub async fn failed(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "a task of the agent ended in an unforeseen way");
        }
    }
}

/// Starts the agent on the current tokio runtime.
pub fn start(mut outside: Outside, settings: Settings, metrics: &Registry) -> Agent {
    outside.cgroups = measured_cgroups::measured(outside.cgroups, Arc::clone(&outside.clock), metrics);
    let settings = Arc::new(settings);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (view_sender, view) = watch::channel(Arc::new(NodeView::default()));
    let (set_sender, sets) = mpsc::channel(SOURCE_QUEUE);
    let (report_sender, reports) = mpsc::channel(PLEG_QUEUE);
    let (news_sender, probes) = mpsc::channel(PROBE_QUEUE);
    let (up_sender, up) = watch::channel(RuntimeUp::default());
    let (looks, poke) = (LookRequests::default(), RuntimePoke::default());

    let (known_node, node) = watch::channel(SeenNode::default());
    let offline = with_memory(&mut outside, &known_node);
    spawn_sources(&mut tasks, &outside, &settings, (&set_sender, &node, &offline), &stop);
    tasks.spawn(runtime_watch::run(outside.clone(), poke.clone(), up_sender, stop.clone()));
    let readings = Reader::new(outside.clone(), Arc::clone(&settings), view.clone(), up.clone());
    let pleg = Pleg::new(settings.pleg_policy);
    let of_pleg = metrics::PlegMetrics::new(metrics);
    let pleg = PlegTask::new(outside.clone(), pleg, looks.clone(), report_sender, of_pleg);
    tasks.spawn(pleg.run(up.clone(), stop.clone()));
    let objects = spawn_objects(&mut tasks, &outside, &settings, (&view, &node), &stop);
    let collections = spawn_collections(&mut tasks, &outside, offline.as_ref(), &stop);
    let calm = CalmView::new(view.clone(), Arc::clone(&outside.clock));
    let watched = (collections.clone(), node.clone(), calm.clone());
    spawn_keeper(&mut tasks, &outside, &settings, (offline, watched), &stop);
    let for_pulls = (objects.objects.clone(), metrics);
    let images = Images::start(&mut tasks, &outside, &settings, for_pulls, (up.clone(), &stop));
    let probe_registry = Registry::new();
    let probe_metrics = metrics::ProbeMetrics::new(&probe_registry);
    let asking = Asking::new(&settings);
    let prober = Prober::new(outside.clone(), asking, view.clone(), news_sender, probe_metrics);
    tasks.spawn(prober.run(stop.clone()));
    let trust = collections.as_ref().map(|collections| collections.trust.clone());
    let (senders, protection) = protection::line();
    let runtime = up.clone();
    let inputs = Inputs { sources: sets, pleg: reports, probes, objects, node, trust, protection, runtime };
    let looks_of_gc = looks.clone();
    let looks = Looks { pods: looks, conditions: poke, conditions_at: MonoTime::ZERO };
    let publisher = Publisher::new(view_sender);
    let recorder = Recorder::new(Arc::clone(&outside.clock), &settings.host.node_name, metrics);
    let turns = Turns::new(usize::try_from(settings.host.machine.cpu_count).unwrap_or(1));
    spawn_event_tasks(&mut tasks, &outside, &settings, (&recorder, &turns), &stop);
    let sizes = spawn_sizes(&mut tasks, &outside, metrics);
    let (pulls, own) = (images.pulls.clone(), recorder.clone());
    let parts = Parts { inputs, looks, publisher, sizes, images, collections, recorder: own, turns };
    let sync_loop = SyncLoop::new(outside.clone(), Arc::clone(&settings), parts);
    tasks.spawn(sync_loop.run(stop.clone()));
    let parts = protection::Parts {
        outside: outside.clone(),
        settings: Arc::clone(&settings),
        view: view.clone(),
        up: up.clone(),
        readings: Arc::clone(&readings) as Arc<dyn Readings>,
        looks: looks_of_gc,
        pulls,
        recorder: recorder.clone(),
        senders,
    };
    let sense = protection::spawn(&mut tasks, parts, metrics, &stop);
    spawn_api_tasks(&mut tasks, &outside, &settings, &view, (&stop, metrics));
    if let Some(cluster) = outside.cluster.clone() {
        let (outside, registry, recorder) = (outside.clone(), metrics.clone(), recorder.clone());
        let parts = NodeParts { cluster, outside, registry, view: calm, recorder, known: known_node, up };
        node::spawn(&mut tasks, parts, &settings, &stop);
    }
    let identity = (settings.host.node_name.clone(), settings.resources.gates);
    let control = Arc::new(AgentControl::new(outside, identity, view, recorder, sense));
    Agent { control, readings, probe_registry, stop, tasks }
}

/// The books of sizes, with the tasks that keep them in files.
fn spawn_sizes(tasks: &mut JoinSet<()>, outside: &Outside, metrics: &Registry) -> Sizes {
    let (sizes, kept) = Sizes::new(metrics);
    tasks.spawn(checkpoints::keep(outside.clone(), checkpoints::ALLOCATED, kept.allocated));
    tasks.spawn(checkpoints::keep(outside.clone(), checkpoints::ACTUATED, kept.actuated));
    sizes
}

/// What upstream tells of the node when it starts.
fn tell_of_start(recorder: &Recorder, settings: &Settings) {
    recorder.node(&Happening::normal("Starting", "Starting kubelet."));
    if settings.host.cgroup_version == core_cm::CgroupVersion::V1 {
        recorder.node(&Happening::warning(
            "CgroupV1",
            "cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. Please migrate to \
             cgroup v2. More information at https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1",
        ));
    }
}

fn spawn_event_tasks(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    settings: &Settings,
    (recorder, turns): (&Recorder, &Turns),
    stop: &CancellationToken,
) {
    tasks.spawn(events::keep_journal(recorder.clone(), Arc::clone(&outside.journal), stop.clone()));
    if let Some(sink) = &outside.api.events {
        let (sink, turns) = (Arc::clone(sink), turns.clone());
        tasks.spawn(events::tell(recorder.clone(), sink, (settings.events, turns), stop.clone()));
    }
    tell_of_start(recorder, settings);
}

fn spawn_objects(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    settings: &Settings,
    (view, node): (&watch::Receiver<Arc<NodeView>>, &watch::Receiver<SeenNode>),
    stop: &CancellationToken,
) -> ObjectLine {
    let (sender, changed) = mpsc::channel(OBJECT_QUEUE);
    let objects = outside.cluster.as_ref().map(|cluster| {
        let port = Arc::clone(&cluster.objects);
        let clock = Arc::clone(&outside.clock);
        let strategy = settings.runtime.object_strategy;
        let (task, objects) = ObjectTask::new(port, clock, strategy, (view.clone(), node.clone()), sender);
        tasks.spawn(task.run(stop.clone()));
        objects
    });
    ObjectLine { objects, changed }
}

/// Has what the API server tells go through a memory; `None` when none is kept.
fn with_memory(outside: &mut Outside, node: &watch::Sender<SeenNode>) -> Option<Offline> {
    outside.api.offline.as_ref()?;
    let offline = Offline::new(node.clone());
    outside.cluster = outside.cluster.take().map(|cluster| offline::with_memory(cluster, &offline));
    Some(offline)
}

fn spawn_collections(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    offline: Option<&Offline>,
    stop: &CancellationToken,
) -> Option<Collections> {
    Some(Collections::spawn(tasks, outside.cluster.as_ref()?, offline, stop))
}

/// What is kept for a start without the API server; nothing when that is off.
fn spawn_keeper(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    settings: &Settings,
    (offline, (collections, node, view)): (Option<Offline>, Watched),
    stop: &CancellationToken,
) {
    let (Some(offline), Some(parts)) = (offline, outside.api.offline.clone()) else { return };
    let keeper = Keeper {
        offline,
        identity: Identity {
            node_name: settings.host.node_name.clone(),
            machine: settings.host.machine.system_uuid.clone(),
            server: parts.server.clone(),
        },
        outside: parts,
        clock: Arc::clone(&outside.clock),
        collections,
        node,
        view,
    };
    tasks.spawn(keeper.run(stop.clone()));
}

/// What the API server is told of pods; nothing in standalone mode.
fn spawn_api_tasks(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    settings: &Settings,
    view: &watch::Receiver<Arc<NodeView>>,
    (stop, metrics): (&CancellationToken, &Registry),
) {
    status_task::sync_duration(metrics);
    let Some(api) = &outside.api.pods else { return };
    let statuses = StatusTask::new(Arc::clone(api), Arc::clone(&outside.clock), metrics);
    tasks.spawn(statuses.run(view.clone(), stop.clone()));
    let mirrors = MirrorTask {
        api: Arc::clone(api),
        clock: Arc::clone(&outside.clock),
        node_name: settings.host.node_name.clone(),
    };
    tasks.spawn(mirrors.run(view.clone(), stop.clone()));
}

fn spawn_sources(
    tasks: &mut JoinSet<()>,
    outside: &Outside,
    settings: &Settings,
    (sets, node, offline): (&mpsc::Sender<sources::SourceSet>, &watch::Receiver<SeenNode>, &Option<Offline>),
    stop: &CancellationToken,
) {
    let task = |source| SourceTask {
        source,
        node_name: settings.host.node_name.clone(),
        gates: settings.resources.gates,
        clock: Arc::clone(&outside.clock),
        sets: sets.clone(),
        stop: stop.clone(),
    };
    let every = settings.sources.file_check_interval;
    if let Some(files) = &outside.manifests.path {
        tasks.spawn(task(PodSource::File).follow_files(Arc::clone(files), every));
    }
    if let Some(url) = &outside.manifests.url {
        tasks.spawn(task(PodSource::Http).follow_url(Arc::clone(url), settings.sources.http_check_interval));
    }
    if let Some(api) = &outside.api.pods {
        // Without a cluster nobody tells of a Node object, and pods are judged by what it would be.
        let node = outside.cluster.is_some().then(|| node.clone());
        tasks.spawn(task(PodSource::Api).follow_api(Arc::clone(api), node, offline.clone()));
    }
    tasks.spawn(task(PodSource::Local).follow_files(Arc::clone(&outside.manifests.local), every));
}
