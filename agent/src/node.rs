//! The node in the cluster: registers it, keeps its status true and its Lease alive (CONTRACT 4.6-4.8).
//!
//! Reads: the node view (runtime, PLEG, which images run), the host's network, the list of images, the Node object as the API
//! server shows it. Publishes: the Node object as it is known, for the Lease and for whoever
//! judges pods by its labels and taints.
//!
//! ```text
//! register (retried for ever) > known > settled (runtime and PLEG were heard, or 30 s) > report on change and every 5 min
//!                                 |                                                           ^ five tries, then a pause
//!                                 +--> Lease task, which waits for nothing but the owner      +-- reads the object anew before each
//! ```
//! Guarantees: a restart of the agent says nothing before it knows how things are, so no condition flips (SP-2). An object
//! that somebody deletes is not made anew until the agent is started again, as upstream does it, so that a node can be
//! taken out of its cluster while its agent still runs.

mod images;
mod lease;
mod metrics;
mod pod_cidr;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_metrics::Registry;
use core_node::readiness::{self, Signs};
use core_node::reporter::Cause;
use core_node::{NodeEvent, Picture, Readiness, Report, Reporter, Spread, addresses, registration};
use core_types::view::NodeView;
use core_types::{EventType, MonoTime};
use k8s_openapi::api::core::v1::{Node, Taint};
use ports::{ApiError, ObjectEvent};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::events::{Happening, Recorder};
use crate::outside::{Cluster, Outside};
use crate::runtime_watch::RuntimeUp;
use crate::settings::{Registration, Settings};
use crate::{task, timer};

use images::Images;
use lease::LeaseTask;
use metrics::NodeMetrics;

/// How long a start waits until the runtime and the PLEG were heard before it says that they were not.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What is known of the Node object.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenNode {
    /// The object, as long as there is one.
    pub(crate) node: Option<Arc<Node>>,
    /// Whether the API server has said anything of it yet.
    pub(crate) is_heard: bool,
    /// What the API server said of it before it went away; only while it has said nothing yet.
    pub(crate) remembered: Option<Arc<Node>>,
}

impl SeenNode {
    /// The object as far as it is known.
    pub(crate) fn newest(&self) -> Option<&Node> {
        self.node.as_deref().or(self.remembered.as_deref())
    }

    /// Its labels, or those that it would be registered with.
    pub(crate) fn labels<'a>(&'a self, settings: &'a Settings) -> &'a BTreeMap<String, String> {
        let labels = self.newest().and_then(|node| node.metadata.labels.as_ref());
        labels.unwrap_or(&settings.node.labels)
    }

    /// Its taints, or those that it would be registered with.
    pub(crate) fn taints<'a>(&'a self, settings: &'a Settings) -> &'a [Taint] {
        match self.newest() {
            Some(node) => node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default(),
            None => &settings.node.settings.taints,
        }
    }
}

/// What the tasks work with.
pub(crate) struct NodeParts {
    pub(crate) cluster: Cluster,
    pub(crate) outside: Outside,
    pub(crate) registry: Registry,
    pub(crate) view: CalmView,
    pub(crate) recorder: Recorder,
    /// Where it is shown to others.
    pub(crate) known: watch::Sender<SeenNode>,
    pub(crate) up: watch::Receiver<RuntimeUp>,
}

/// Starts the tasks.
pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    parts: NodeParts,
    settings: &Settings,
    stop: &CancellationToken,
) {
    let known = parts.known.clone();
    let runtime = Arc::clone(&parts.outside.runtime);
    tasks.spawn(pod_cidr::run(runtime, known.subscribe(), parts.up.clone(), stop.clone()));
    let lease = LeaseTask::new(&parts, settings, known.subscribe());
    tasks.spawn(lease.run(stop.clone()));
    let view = parts.view.clone();
    tasks.spawn(NodeTask::new(parts, settings).run(view, stop.clone()));
}

/// The task.
struct NodeTask {
    cluster: Cluster,
    outside: Outside,
    recorder: Recorder,
    name: String,
    /// Whether DNS has a say in the node's addresses.
    is_name_resolved: bool,
    registration: Registration,
    reporter: Reporter,
    known: watch::Sender<SeenNode>,
    picture: Picture,
    images: Images,
    failing_since: Option<MonoTime>,
    settle_by: MonoTime,
    is_settled: bool,
    metrics: NodeMetrics,
}

impl NodeTask {
    fn new(parts: NodeParts, settings: &Settings) -> Self {
        let NodeParts { cluster, outside, registry, recorder, known, .. } = parts;
        let (node, now) = (&settings.node, outside.clock.now());
        let spread = Spread::new(&settings.host.node_name, outside.clock.wall().unix_nanos());
        let reporter =
            Reporter::new(node.settings.clone(), settings.host.machine.clone(), node.cadence, spread);
        Self {
            name: settings.host.node_name.clone(),
            is_name_resolved: addresses::asks_dns(&node.settings),
            registration: node.registration,
            reporter,
            known,
            picture: Picture::default(),
            images: Images::new(now),
            failing_since: None,
            settle_by: now + START_PATIENCE,
            is_settled: false,
            metrics: NodeMetrics::new(&registry, settings.host.booted_at, outside.clock.wall()),
            recorder,
            cluster,
            outside,
        }
    }

    async fn run(mut self, mut view: CalmView, stop: CancellationToken) {
        task::until_stopped(&stop, self.live(&mut view)).await;
    }

    async fn live(&mut self, view: &mut CalmView) {
        self.read_network().await;
        self.see(&view.now());
        if self.registration == Registration::Own {
            self.register(view).await;
        }
        let mut feed = self.cluster.nodes.follow(&self.name);
        loop {
            let deadline = self.act().await;
            let clock = Arc::clone(&self.outside.clock);
            tokio::select! {
                biased;
                news = feed.next() => self.hear(news),
                node = view.changed() => self.see(&node),
                () = timer::until(clock.as_ref(), deadline) => self.judge(&view.now()),
            }
        }
    }

    /// Makes the Node object, or has the one that is there take over what it must. Tries for ever.
    async fn register(&mut self, view: &mut CalmView) {
        self.metrics.registration_begins(self.outside.clock.wall());
        let mut attempt = 0;
        loop {
            tokio::time::sleep(registration::wait_before(attempt)).await;
            self.see(&view.now());
            match self.try_to_register().await {
                Ok(node) => {
                    tracing::info!(node = self.name, "the node is registered");
                    self.learn(node);
                    return;
                }
                Err(error) => {
                    let wait = registration::wait_before(attempt + 1);
                    tracing::error!("the node cannot be registered, and is tried again in {wait:?}: {error}");
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }

    async fn try_to_register(&mut self) -> Result<Node, ApiError> {
        let wall = self.outside.clock.wall();
        let new = self.reporter.new_node(&self.picture, wall);
        match self.cluster.nodes.create(&new.node).await {
            Ok(node) => {
                self.metrics.registered_new(self.outside.clock.wall());
                self.tell(new.events);
                return Ok(node);
            }
            // A node that may not make its object may still have one.
            Err(error) if error.is_already_exists() || error.is_forbidden() => {
                tracing::debug!("{error}; looking for an object that is already there");
            }
            Err(error) => return Err(error),
        }
        let existing = self.cluster.nodes.get(&self.name).await?;
        match self.reporter.reconcile(&existing, &self.picture, wall) {
            Some(patch) => self.cluster.nodes.patch_status(&self.name, &patch).await,
            None => Ok(existing),
        }
    }

    /// Takes what the agent knows into the picture.
    fn see(&mut self, view: &NodeView) {
        let (runtime, now) = (&view.runtime, self.outside.clock.now());
        self.is_settled |=
            runtime.status.is_some() && runtime.last_relist.is_some() && view.pressures.is_some();
        self.failing_since = runtime.failing_since;
        self.picture.runtime.version.clone_from(&runtime.version);
        if let Some(status) = &runtime.status {
            self.picture.runtime.handlers.clone_from(&status.handlers);
            self.picture.runtime.supplemental_groups_policy = Some(status.supplemental_groups_policy);
        }
        self.images.follow(view, now);
        self.judge(view);
    }

    /// Judges whether the node is ready, and takes over what it is short of.
    fn judge(&mut self, view: &NodeView) {
        let runtime = &view.runtime;
        let signs = Signs {
            status: runtime.status.as_ref(),
            failing_since: runtime.failing_since,
            has_relisted: runtime.last_relist.is_some(),
            pleg_problem: runtime.pleg_problem.as_deref(),
            shutdown: view.shutdown,
        };
        self.picture.pressures = view.pressures.unwrap_or_default();
        self.picture.readiness = Readiness::judge(&signs, self.outside.clock.now());
    }

    fn hear(&mut self, news: ObjectEvent<Node>) {
        match news {
            ObjectEvent::Replaced(nodes) => match nodes.into_iter().next() {
                Some(node) => self.learn(node),
                None => self.lose(),
            },
            ObjectEvent::Applied(node) => self.learn(node),
            ObjectEvent::Deleted(_) => self.lose(),
            ObjectEvent::Interrupted(error) => {
                tracing::warn!("the Node object cannot be followed now: {error}")
            }
        }
    }

    /// Takes over the object as it is, unless a newer one is known already.
    fn learn(&mut self, node: Node) {
        let is_old = self.known.borrow().node.as_ref().is_some_and(|known| is_older(&node, known));
        if is_old {
            return;
        }
        let event = self.reporter.schedulable_event(&node);
        self.tell(event);
        self.known.send_replace(SeenNode { node: Some(Arc::new(node)), is_heard: true, remembered: None });
    }

    fn lose(&mut self) {
        if self.known.send_replace(SeenNode { is_heard: true, ..SeenNode::default() }).node.is_some() {
            tracing::warn!(
                node = self.name,
                "the Node object was deleted: pods go on, and the node is registered again when the agent starts anew"
            );
        }
    }

    /// Does what is due and returns when the next thing is.
    async fn act(&mut self) -> Option<MonoTime> {
        let now = self.outside.clock.now();
        if self.images.is_due(now) {
            self.list_images().await;
        }
        self.is_settled |= now >= self.settle_by;
        if !self.is_settled {
            return Some(self.settle_by);
        }
        let Some(known) = self.known.borrow().node.clone() else { return self.images.due_at() };
        if self.reporter.is_routine_due(now) {
            self.read_network().await;
            self.list_images().await;
        }
        let now = self.outside.clock.now();
        if let Some(report) = self.reporter.plan(&known, &self.picture, now, self.outside.clock.wall()) {
            self.send(report).await;
        }
        if let Some(error) = self.reporter.take_address_news() {
            tracing::error!("{error}");
        }
        let readiness_changes = readiness::changes_at(self.failing_since, self.outside.clock.now());
        [Some(self.reporter.next_deadline()), self.pending(), self.images.due_at(), readiness_changes]
            .into_iter()
            .flatten()
            .min()
    }

    /// A change that came too soon after a report waits for the time when the next may be sent.
    fn pending(&self) -> Option<MonoTime> {
        let at = self.reporter.not_before();
        (at > self.outside.clock.now()).then_some(at)
    }

    async fn send(&mut self, report: Report) {
        match self.cluster.nodes.patch_status(&self.name, &report.patch).await {
            Ok(node) => {
                self.reporter.on_reported(report.cause, self.outside.clock.now());
                if report.cause == Cause::Change {
                    tracing::debug!(patch = %report.patch, "the node's status has changed");
                }
                if self.picture.readiness.is_ready() {
                    self.metrics.ready(self.outside.clock.wall());
                }
                self.tell(report.events);
                self.learn(node);
            }
            Err(error) => self.send_failed(&error).await,
        }
    }

    /// The object that the patch was made for may be an old one: the next try starts from the server's.
    async fn send_failed(&mut self, error: &ApiError) {
        let failures = self.reporter.on_failed(self.outside.clock.now());
        tracing::error!(failures, "the node's status cannot be sent, and is tried again: {error}");
        if failures > 1 {
            self.cluster.nodes.reconnect();
        }
        match self.cluster.nodes.get(&self.name).await {
            Ok(node) => self.learn(node),
            Err(error) if error.is_not_found() => self.lose(),
            Err(error) => tracing::debug!("{error}"),
        }
    }

    async fn read_network(&mut self) {
        let mut facts = self.cluster.network.interfaces().await;
        if self.is_name_resolved {
            facts.resolved = self.cluster.network.resolve(&self.name).await;
        }
        self.picture.network = facts;
    }

    async fn list_images(&mut self) {
        let listed = self.outside.images.list_images().await;
        self.images.listed(self.outside.clock.now());
        match listed {
            Ok(images) => self.picture.images = Some(images),
            Err(error) => tracing::debug!("the node's list of images stays as it is: {error}"),
        }
    }

    fn tell(&self, events: impl IntoIterator<Item = NodeEvent>) {
        for NodeEvent { event_type, reason, message } in events {
            self.recorder.node(&match event_type {
                EventType::Normal => Happening::normal(reason, message),
                EventType::Warning => Happening::warning(reason, message),
            });
        }
    }
}

/// Whether an object is an older state of the same one. Versions are growing numbers.
fn is_older(node: &Node, known: &Node) -> bool {
    let version =
        |node: &Node| node.metadata.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
    node.metadata.uid == known.metadata.uid && version(node) < version(known)
}
