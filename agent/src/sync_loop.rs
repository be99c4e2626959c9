//! The sync loop: the one task that owns every pod's life, status and record.
//!
//! Reads: pod sets of the sources, reports of the PLEG, outcomes and notes of operations, the runtime's state, deadlines.
//! Publishes: the node view. Starts operations, at most one per pod, and cancels them. It never waits for anything
//! outside: whatever can block runs in an operation or in another task.
//!
//! One turn: take what there is; for each, step the machine, carry out its effects and renew the status of the pods concerned; publish.

mod pictures;
mod protection;
mod resize;
mod showing;
mod wanted;
mod work;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use core_pods::active_deadline::ActiveDeadline;
use core_pods::merge::PodSources;
use core_pods::worker::{Effect, Event, PodWorkers, Sighting};
use core_references::trust::TrustBook;
use core_types::api::Pod;
use core_types::view::{Lifecycle, PodSource, SourceProblem};
use core_types::{Invariant, MonoTime, ObservedPod, PodExt, PodUid};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::collections::{Collections, Known};
use crate::events::Recorder;
use crate::eviction::EvictionNews;
use crate::executor::{ExecutorPlace, Means};
use crate::images::Images;
use crate::node::SeenNode;
use crate::node_shutdown::ShutdownNews;
use crate::objects::ObjectLine;
use crate::oom_watch::OomNews;
use crate::operations::{OpNews, Operations};
use crate::outside::Outside;
use crate::pleg::{LookRequests, PlegReport};
use crate::prober::ProbeNews;
use crate::protection::ProtectionLine;
use crate::publisher::Publisher;
use crate::record::Record;
use crate::runtime_watch::{RuntimePoke, RuntimeUp};
use crate::seen::Seen;
use crate::settings::Settings;
use crate::sizes::Sizes;
use crate::sources::SourceSet;
use crate::turns::Turns;
use crate::{resolv_conf, timer};

/// Time between two reads of the runtime's conditions while it is well (CONTRACT 1.7: upstream reads them every 5 s).
const RUNTIME_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Wakes at most that go into one view.
const MAX_TOGETHER: usize = 64;

/// Everything that wakes the loop.
enum Wake {
    Source(SourceSet),
    Pleg(PlegReport),
    Probe(ProbeNews),
    Operation(OpNews),
    Objects(Vec<PodUid>),
    TrustBundles,
    Leftovers(Vec<PodUid>),
    Eviction(EvictionNews),
    OomKill(OomNews),
    Shutdown(ShutdownNews),
    RuntimeChanged,
    Deadline,
    Stopped,
}

/// What the loop hears.
pub(crate) struct Inputs {
    pub(crate) sources: mpsc::Receiver<SourceSet>,
    pub(crate) pleg: mpsc::Receiver<PlegReport>,
    pub(crate) probes: mpsc::Receiver<ProbeNews>,
    pub(crate) objects: ObjectLine,
    /// Pods are judged by it; nobody waits for it.
    pub(crate) node: watch::Receiver<SeenNode>,
    /// Trust bundles, of which pods show some; `None` without an API server.
    pub(crate) trust: Option<Known<TrustBook>>,
    pub(crate) protection: ProtectionLine,
    pub(crate) runtime: watch::Receiver<RuntimeUp>,
}

/// How the loop has others look at the runtime.
pub(crate) struct Looks {
    /// At single pods.
    pub(crate) pods: LookRequests,
    /// At the runtime's own conditions.
    pub(crate) conditions: RuntimePoke,
    /// When its conditions were asked for last.
    pub(crate) conditions_at: MonoTime,
}

/// What the loop is put together from.
pub(crate) struct Parts {
    pub(crate) inputs: Inputs,
    pub(crate) looks: Looks,
    pub(crate) publisher: Publisher,
    pub(crate) sizes: Sizes,
    pub(crate) recorder: Recorder,
    pub(crate) images: Images,
    /// `None` without an API server.
    pub(crate) collections: Option<Collections>,
    pub(crate) turns: Turns,
}

/// The search for what removed pods left behind. Done once per life of the agent, when everything else is known.
#[derive(Default)]
struct Leftovers {
    search: JoinSet<Vec<PodUid>>,
    is_asked: bool,
}

/// The loop's state.
pub(crate) struct SyncLoop {
    outside: Outside,
    settings: Arc<Settings>,
    inputs: Inputs,
    looks: Looks,
    publisher: Publisher,
    sources: PodSources,
    problems: BTreeMap<PodSource, Vec<SourceProblem>>,
    workers: PodWorkers,
    records: BTreeMap<PodUid, Record>,
    seen: Seen,
    sizes: Sizes,
    executor: ExecutorPlace,
    operations: Operations,
    leftovers: Leftovers,
    recorder: Recorder,
}

impl SyncLoop {
    pub(crate) fn new(outside: Outside, settings: Arc<Settings>, parts: Parts) -> Self {
        let Parts { inputs, looks, publisher, sizes, images, collections, recorder, turns } = parts;
        let (objects, requests) = (inputs.objects.objects.clone(), sizes.active.requests());
        Self {
            executor: ExecutorPlace::new(Means { images, objects, collections, requests, turns }),
            sources: PodSources::new(settings.sources.configured.iter().copied()),
            problems: BTreeMap::new(),
            workers: PodWorkers::new(settings.worker_policy),
            seen: Seen::new(outside.clock.as_ref()),
            outside,
            settings,
            inputs,
            looks,
            publisher,
            records: BTreeMap::new(),
            sizes,
            operations: Operations::new(),
            leftovers: Leftovers::default(),
            recorder,
        }
    }

    /// Runs until it is stopped. Operations that are under way are cancelled and dropped; containers stay as they are.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.sizes.restore(self.outside.checkpoints.as_ref()).await;
        self.recorder.restore(self.outside.journal.as_ref()).await;
        resolv_conf::check_limits(&self.outside, &self.settings, &self.recorder).await;
        loop {
            self.publisher.publish(self.outside.clock.now(), self.settings.worker_policy.sync_interval);
            let due = self.next_due();
            let (mut wake, mut taken) = (Some(self.next_wake(due, &stop).await), 0);
            while let Some(one) = wake {
                if self.take(one).is_break() {
                    return self.operations.cancel_all();
                }
                taken += 1;
                // Whatever is there by now goes into the same view: each view costs all its readers a look.
                wake = (taken < MAX_TOGETHER).then(|| self.next_wake(None, &stop).now_or_never()).flatten();
            }
        }
    }

    fn take(&mut self, wake: Wake) -> ControlFlow<()> {
        match wake {
            Wake::Source(set) => self.take_source(set),
            Wake::Pleg(report) => self.take_pleg(report),
            Wake::Operation(OpNews::Note(note)) => self.take_note(note),
            Wake::Operation(OpNews::Ended(uid, op, report)) => self.take_end(uid, op, report),
            Wake::Objects(uids) => uids.into_iter().for_each(|uid| self.step(Event::Nudge { uid })),
            Wake::TrustBundles => self.show_trust_bundles(),
            Wake::Leftovers(uids) => self.take_leftovers(uids),
            Wake::Eviction(news) => self.take_eviction(news),
            Wake::OomKill(news) => self.take_oom_kill(news),
            Wake::Shutdown(news) => self.take_shutdown(news),
            Wake::RuntimeChanged => self.take_runtime(),
            Wake::Probe(news) => self.take_probe(news),
            Wake::Deadline => self.take_deadline(),
            Wake::Stopped => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// When something is due by itself.
    fn next_due(&self) -> Option<MonoTime> {
        // The loop proves at least once per sync interval that it turns: `/healthz` looks at it.
        let proof_due = self.publisher.proof_due(self.settings.worker_policy.sync_interval);
        let active = self.records.values().filter_map(|record| record.deadline).map(ActiveDeadline::at);
        let resizes = self.sizes.next_round().map(|(_, at)| at);
        let others = [self.workers.next_deadline(), self.seen.adopting_until, resizes, Some(proof_due)];
        active.chain(others.into_iter().flatten()).min()
    }

    /// Waits for what wakes the loop; for a deadline only when one is given.
    async fn next_wake(&mut self, due: Option<MonoTime>, stop: &CancellationToken) -> Wake {
        let clock = Arc::clone(&self.outside.clock);
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stopped,
            news = self.operations.next() => Wake::Operation(news),
            Ok(()) = self.inputs.runtime.changed() => Wake::RuntimeChanged,
            Some(report) = self.inputs.pleg.recv() => Wake::Pleg(report),
            Some(news) = self.inputs.probes.recv() => Wake::Probe(news),
            Some(uids) = self.inputs.objects.changed.recv() => Wake::Objects(uids),
            () = trust_changed(&mut self.inputs.trust) => Wake::TrustBundles,
            Some(news) = self.inputs.protection.eviction.recv() => Wake::Eviction(news),
            Some(news) = self.inputs.protection.ooms.recv() => Wake::OomKill(news),
            Some(news) = self.inputs.protection.shutdown.recv() => Wake::Shutdown(news),
            Some(set) = self.inputs.sources.recv() => Wake::Source(set),
            Some(uids) = self.leftovers.search.join_next(), if !self.leftovers.search.is_empty() => {
                Wake::Leftovers(uids.unwrap_or_default())
            }
            () = timer::until(clock.as_ref(), due) => Wake::Deadline,
        }
    }

    /// Has the pods that show trust bundles show what they are now.
    fn show_trust_bundles(&mut self) {
        let shows = |pod: &&Arc<Pod>| core_volumes::shows_trust_bundles(pod);
        let pods = self.workers.iter().filter_map(|(_, worker)| worker.pod());
        let uids: Vec<PodUid> = pods.filter(shows).map(|pod| pod.uid()).collect();
        uids.into_iter().for_each(|uid| self.step(Event::Nudge { uid }));
    }

    fn take_deadline(&mut self) {
        let now = self.outside.clock.now();
        if self.seen.adopting_until.is_some_and(|until| until <= now) {
            self.seen.adopting_until = None;
            self.refresh_all();
        }
        let is_over = |record: &Record| record.deadline.is_some_and(|deadline| deadline.at() <= now);
        let over: Vec<PodUid> =
            self.records.iter().filter(|(_, r)| is_over(r)).map(|(uid, _)| uid.clone()).collect();
        over.iter().for_each(|uid| self.refresh(uid));
        self.judge_when_due();
        self.step(Event::Tick);
    }

    fn note_next_retry(&mut self, uid: &PodUid) {
        let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
        let due = self.workers.get(uid).and_then(|worker| worker.due());
        if let Some(record) = self.records.get_mut(uid) {
            let unhappy = record.problem.is_some() || !record.waiting.is_empty();
            record.next_retry = due.filter(|_| unhappy).map(|due| wall + due.since(mono));
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.outside.clock.now();
        let effects = self.workers.step(now, event);
        for effect in effects {
            match effect {
                Effect::Start { uid, op, operation } => self.start(uid, op, operation),
                Effect::Cancel { uid } => self.operations.cancel(&uid),
                Effect::Look { uid } => self.looks.pods.add(uid),
                Effect::Moved { uid, to } => {
                    tracing::debug!(pod_uid = %uid, ?to, "pod moved on");
                    self.end_resizes(&uid, to);
                    self.count_active(&uid);
                    match to {
                        // The last picture is older than the removal: it must not make an orphan of the pod again.
                        Lifecycle::Finished => drop(self.publisher.change_observed().remove(&uid)),
                        // The next incarnation under this UID begins with nothing remembered.
                        Lifecycle::Waiting => {
                            self.records.remove(&uid);
                            let source = self.workers.get(&uid).and_then(|worker| worker.source());
                            self.recorder.work().came_again(source != Some(PodSource::Api));
                        }
                        Lifecycle::Syncing | Lifecycle::Terminating | Lifecycle::Terminated => {}
                    }
                    self.refresh(&uid);
                }
                Effect::Overdue { uid } => self.tell_overdue(&uid),
                Effect::Broken(invariant) => self.report_broken(invariant),
            }
        }
        if cfg!(debug_assertions)
            && let Err(invariant) = self.workers.check()
        {
            self.report_broken(invariant);
        }
    }

    fn report_broken(&self, invariant: Invariant) {
        debug_assert!(false, "broken invariant {invariant}");
        self.recorder.broken(invariant);
    }
}

fn sighting_of(observed: &ObservedPod, changed: bool) -> Sighting {
    Sighting { observed_at: observed.observed_at, stopped: observed.is_stopped(), changed }
}

/// News of trust bundles; never without an API server.
async fn trust_changed(trust: &mut Option<Known<TrustBook>>) {
    match trust {
        Some(trust) => trust.changed().await,
        None => std::future::pending().await,
    }
}
