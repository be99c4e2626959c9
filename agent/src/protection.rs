//! What protects the node: tasks that take back what nobody needs, end pods when the node runs short, and tell of processes that
//! the kernel killed.
//!
//! | part | owns |
//! |---|---|
//! | [`container_gc`](crate::container_gc) | dead containers that go |
//! | [`image_gc`](crate::image_gc) | when images were used |
//! | [`eviction`](crate::eviction) | what the node is short of, and the record of its decisions |
//! | [`log_rotation`](crate::log_rotation) | sizes of logs |
//! | [`oom_watch`](crate::oom_watch) | the place in the kernel's log |
//! | [`node_shutdown`](crate::node_shutdown) | where an orderly end of all pods stands when the machine goes down |
//! | [`packet_rules`](crate::packet_rules) | nothing: it keeps rules in the packet filter |
//! | [`node_allocatable`](crate::node_allocatable) | nothing: it sets the limits of the cgroup of all pods |

use std::sync::Arc;

use core_metrics::Registry;
use core_types::view::NodeView;
use ports::Readings;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::container_gc::ContainerGc;
use crate::events::Recorder;
use crate::eviction::{EvictionNews, EvictionTask, Reclaimers, Sense};
use crate::image_gc::ImageGc;
use crate::images::Pulls;
use crate::log_rotation::LogTask;
use crate::metrics::ReclaimMetrics;
use crate::node_allocatable;
use crate::node_shutdown::{self, ShutdownNews};
use crate::oom_watch::{OomNews, OomWatch};
use crate::outside::Outside;
use crate::packet_rules;
use crate::pleg::LookRequests;
use crate::reclaimer::Reclaimer;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;

/// News that may wait for the sync loop; whoever has more waits.
const NEWS_QUEUE: usize = 64;

/// What the sync loop hears of the node's protection.
pub(crate) struct ProtectionLine {
    pub(crate) eviction: mpsc::Receiver<EvictionNews>,
    pub(crate) ooms: mpsc::Receiver<OomNews>,
    pub(crate) shutdown: mpsc::Receiver<ShutdownNews>,
}

/// Where that comes from.
pub(crate) struct ProtectionSenders {
    eviction: mpsc::Sender<EvictionNews>,
    ooms: mpsc::Sender<OomNews>,
    shutdown: mpsc::Sender<ShutdownNews>,
}

/// Both ends.
pub(crate) fn line() -> (ProtectionSenders, ProtectionLine) {
    let (eviction_sender, eviction) = mpsc::channel(NEWS_QUEUE);
    let (oom_sender, ooms) = mpsc::channel(NEWS_QUEUE);
    let (shutdown_sender, shutdown) = mpsc::channel(NEWS_QUEUE);
    let senders =
        ProtectionSenders { eviction: eviction_sender, ooms: oom_sender, shutdown: shutdown_sender };
    (senders, ProtectionLine { eviction, ooms, shutdown })
}

/// What the tasks work with.
pub(crate) struct Parts {
    pub(crate) outside: Outside,
    pub(crate) settings: Arc<Settings>,
    pub(crate) view: watch::Receiver<Arc<NodeView>>,
    pub(crate) up: watch::Receiver<RuntimeUp>,
    pub(crate) readings: Arc<dyn Readings>,
    pub(crate) looks: LookRequests,
    pub(crate) pulls: Pulls,
    pub(crate) recorder: Recorder,
    pub(crate) senders: ProtectionSenders,
}

/// Starts the tasks, and gives the eyes of eviction for whoever asks what it would do.
pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    parts: Parts,
    registry: &Registry,
    stop: &CancellationToken,
) -> Arc<Sense> {
    let Parts { outside, settings, view, up, readings, looks, pulls, recorder, senders } = parts;
    let metrics = ReclaimMetrics::new(registry);
    let calm = CalmView::new(view.clone(), Arc::clone(&outside.clock));
    let (containers, of_containers) = Reclaimer::new();
    let (images, of_images) = Reclaimer::new();
    let container_gc =
        ContainerGc::new(outside.clone(), settings.reclaim.containers, looks, recorder.clone());
    tasks.spawn(container_gc.run(calm.clone(), of_containers, stop.clone()));
    let records = (recorder.clone(), metrics.clone());
    let image_gc = ImageGc::new(outside.clone(), settings.reclaim.images, pulls, records);
    tasks.spawn(image_gc.run(calm.clone(), of_images, stop.clone()));
    let oom_watch = OomWatch { outside: outside.clone(), recorder: recorder.clone(), news: senders.ooms };
    tasks.spawn(oom_watch.run(view.clone(), stop.clone()));
    if settings.reclaim.pods.is_some() || !settings.reclaim.reserved.is_empty() {
        let settings = Arc::clone(&settings);
        let enforcing =
            node_allocatable::enforce(outside.clone(), settings, recorder.clone(), up.clone(), stop.clone());
        tasks.spawn(enforcing);
    }
    if let Some(rotation) = settings.reclaim.logs {
        tasks.spawn(LogTask::new(outside.clone(), rotation).run(calm.clone(), stop.clone()));
    }
    if let Some(rules) = settings.reclaim.shutdown.clone() {
        let parts = (outside.clone(), recorder.clone(), senders.shutdown);
        node_shutdown::spawn(tasks, rules, parts, (view.clone(), registry), stop);
    }
    if let Some(packets) = outside.usage.machine.packets.clone() {
        tasks.spawn(packet_rules::keep(packets, Arc::clone(&outside.clock), stop.clone()));
    }
    let sense = Arc::new(Sense::new(outside.clone(), settings, readings, view, up));
    let reclaimers = Reclaimers { containers, images };
    let records = (recorder, metrics);
    let eviction = EvictionTask::new(outside, Arc::clone(&sense), reclaimers, records, senders.eviction);
    tasks.spawn(eviction.run(calm, stop.clone()));
    sense
}
