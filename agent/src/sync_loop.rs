//! The sync loop: the one task that owns every pod's life, status and record.
//!
//! Reads: pod sets of the sources, reports of the PLEG, outcomes and notes of operations, the runtime's state, deadlines.
//! Publishes: the node view. Starts operations, at most one per pod, and cancels them. It never waits for anything
//! outside: whatever can block runs in an operation or in another task.
//!
//! One turn: take one wake, step the machine, carry out its effects, renew the status of the pods concerned, publish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_pods::active_deadline::{self, ActiveDeadline};
use core_pods::admission::{self, Admission};
use core_pods::merge::{PodSetChange, PodSources, SourcedPod};
use core_pods::worker::{Effect, Event, OpId, Outcome, PodWorkers, Sighting, StopReason};
use core_probes::ProbeKind;
use core_types::api::Pod;
use core_types::view::{Lifecycle, PodSource, PodView, RuntimeView, SourceProblem};
use core_types::{Invariant, MonoTime, ObservedPod, PodExt, PodKey, PodUid};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::Happening;
use crate::executor::{Executor, OpInput, OpReport, ProbeFacts};
use crate::note::{Note, NoteKind, Notes};
use crate::operations::{OpNews, Operations};
use crate::outside::Outside;
use crate::pleg::{LookRequests, PlegReport};
use crate::prober::ProbeNews;
use crate::publisher::Publisher;
use crate::record::{Record, Rejection};
use crate::runtime_watch::{RuntimePoke, RuntimeUp};
use crate::seen::Seen;
use crate::settings::Settings;
use crate::sources::SourceSet;
use crate::{housekeeping, metrics, status, timer};

/// Time between two reads of the runtime's conditions while it is well (CONTRACT 1.7: upstream reads them every 5 s).
const RUNTIME_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Everything that wakes the loop.
enum Wake {
    Source(SourceSet),
    Pleg(PlegReport),
    Probe(ProbeNews),
    Operation(OpNews),
    Leftovers(Vec<PodUid>),
    RuntimeChanged,
    Deadline,
    Stopped,
}

/// What the loop hears.
pub(crate) struct Inputs {
    pub(crate) sources: mpsc::Receiver<SourceSet>,
    pub(crate) pleg: mpsc::Receiver<PlegReport>,
    pub(crate) probes: mpsc::Receiver<ProbeNews>,
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
    executor: Option<Arc<Executor>>,
    operations: Operations,
    leftovers: Leftovers,
    broken: core_metrics::Counter,
}

impl SyncLoop {
    pub(crate) fn new(
        outside: Outside,
        settings: Arc<Settings>,
        inputs: Inputs,
        looks: Looks,
        publisher: Publisher,
        metrics: &core_metrics::Registry,
    ) -> Self {
        Self {
            sources: PodSources::new(settings.sources.iter().copied()),
            problems: BTreeMap::new(),
            workers: PodWorkers::new(settings.worker_policy),
            seen: Seen::new(outside.clock.as_ref()),
            outside,
            settings,
            inputs,
            looks,
            publisher,
            records: BTreeMap::new(),
            executor: None,
            operations: Operations::new(),
            leftovers: Leftovers::default(),
            broken: metrics::broken_invariants(metrics),
        }
    }

    /// Runs until it is stopped. Operations that are under way are cancelled and dropped; containers stay as they are.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.publisher.publish(self.outside.clock.now(), self.settings.worker_policy.sync_interval);
            match self.next_wake(&stop).await {
                Wake::Source(set) => self.take_source(set),
                Wake::Pleg(report) => self.take_pleg(report),
                Wake::Operation(OpNews::Note(note)) => self.take_note(note),
                Wake::Operation(OpNews::Ended(uid, op, report)) => self.take_end(uid, op, report),
                Wake::Leftovers(uids) => self.take_leftovers(uids),
                Wake::RuntimeChanged => self.take_runtime(),
                Wake::Probe(news) => self.take_probe(news),
                Wake::Deadline => self.take_deadline(),
                Wake::Stopped => break,
            }
        }
        self.operations.cancel_all();
    }

    async fn next_wake(&mut self, stop: &CancellationToken) -> Wake {
        let clock = Arc::clone(&self.outside.clock);
        // The loop proves at least once per sync interval that it turns: `/healthz` looks at it.
        let proof_due = self.publisher.proof_due(self.settings.worker_policy.sync_interval);
        let active = self.records.values().filter_map(|record| record.deadline).map(ActiveDeadline::at);
        let others = [self.workers.next_deadline(), self.seen.adopting_until, Some(proof_due)];
        let due = active.chain(others.into_iter().flatten()).min();
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stopped,
            news = self.operations.next() => Wake::Operation(news),
            Ok(()) = self.inputs.runtime.changed() => Wake::RuntimeChanged,
            Some(report) = self.inputs.pleg.recv() => Wake::Pleg(report),
            Some(news) = self.inputs.probes.recv() => Wake::Probe(news),
            Some(set) = self.inputs.sources.recv() => Wake::Source(set),
            Some(uids) = self.leftovers.search.join_next(), if !self.leftovers.search.is_empty() => {
                Wake::Leftovers(uids.unwrap_or_default())
            }
            () = timer::until(clock.as_ref(), due) => Wake::Deadline,
        }
    }

    // ---- what the sources want

    fn take_source(&mut self, set: SourceSet) {
        let change = self.sources.replace(set.source, set.pods, self.outside.clock.wall());
        self.problems.insert(set.source, set.problems);
        let of_manifests = self.problems.values().flatten().cloned();
        self.publisher.change().source_problems = of_manifests.chain(self.sources.problems()).collect();
        self.take_change(change);
        self.look_for_orphans();
    }

    fn take_change(&mut self, change: PodSetChange) {
        for refused in &change.refused {
            tracing::error!("{}", refused.message);
        }
        for SourcedPod { pod, .. } in change.removed {
            self.step(Event::Stop { uid: pod.uid(), reason: StopReason::Removed, grace_secs: None });
        }
        for SourcedPod { pod, source } in change.added {
            self.add_pod(pod, source);
        }
        for SourcedPod { pod, source } in change.updated {
            self.step(Event::Desired { pod, source });
        }
        for SourcedPod { pod, .. } in change.deleted {
            let grace_secs = pod.metadata.deletion_grace_period_seconds;
            self.step(Event::Stop { uid: pod.uid(), reason: StopReason::Removed, grace_secs });
        }
    }

    fn add_pod(&mut self, pod: Arc<Pod>, source: PodSource) {
        let uid = pod.uid();
        let active: Vec<Arc<Pod>> = self
            .workers
            .iter()
            .filter(|(other, worker)| **other != uid && worker.lifecycle() < Lifecycle::Terminating)
            .filter_map(|(_, worker)| worker.pod().cloned())
            .collect();
        let verdict = self.admit(&pod, &active);
        self.step(Event::Desired { pod, source });
        if let Admission::Reject { reason, message } = verdict {
            let reason = reason.as_str().into_owned();
            self.record_event(&uid, Happening::warning(reason.clone(), message.clone()));
            self.records.entry(uid.clone()).or_default().rejection = Some(Rejection { reason, message });
            self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Rejected, grace_secs: None });
        }
        // Only now may it begin: a pod that was rejected must not be set up first.
        self.show_last_picture(&uid);
        self.refresh(&uid);
    }

    fn admit(&self, pod: &Pod, active: &[Arc<Pod>]) -> Admission {
        let settings = &self.settings;
        let node = admission::NodeFacts {
            name: &settings.host.node_name,
            labels: &settings.labels,
            allocatable: &settings.allocatable,
            sysctls: &settings.sysctls,
        };
        admission::admit(pod, active, &node)
    }

    /// Tells the machine what is known of a pod that it has just met.
    fn show_last_picture(&mut self, uid: &PodUid) {
        let Some(relisted_at) = self.seen.relisted_at.filter(|_| self.seen.covers(uid)) else { return };
        let sighting = match self.publisher.node().observed.get(uid) {
            Some(observed) => sighting_of(observed, true),
            None => Sighting { observed_at: relisted_at, stopped: true, changed: true },
        };
        self.step(Event::Seen { uid: uid.clone(), sighting });
    }

    // ---- what the runtime shows

    fn take_pleg(&mut self, report: PlegReport) {
        match report {
            PlegReport::Seen { uid, observed, observed_at, changed, events } => {
                tracing::debug!(pod_uid = %uid, ?events, "seen");
                self.seen.awaited.remove(&uid);
                let sighting = match &observed {
                    Some(observed) => sighting_of(observed, changed),
                    None => Sighting { observed_at, stopped: true, changed },
                };
                if let Some(observed) = observed.as_ref().filter(|_| !sighting.stopped) {
                    self.step(Event::Found { uid: uid.clone(), key: observed.key.clone() });
                }
                let shown = &mut self.publisher.change().observed;
                match observed {
                    Some(observed) => shown.insert(uid.clone(), observed),
                    None => shown.remove(&uid),
                };
                self.step(Event::Seen { uid: uid.clone(), sighting });
                self.refresh(&uid);
                self.look_for_orphans();
            }
            PlegReport::Relisted { observed_at, confirmed, unknown } => {
                let is_first = self.seen.relisted_at.replace(observed_at).is_none();
                self.publisher.change().runtime.last_relist = Some(observed_at);
                let sightings = confirmed
                    .into_iter()
                    .filter_map(|uid| {
                        let stopped = self.publisher.node().observed.get(&uid)?.is_stopped();
                        Some((uid, Sighting { observed_at, stopped, changed: false }))
                    })
                    .collect();
                self.seen.awaited.clone_from(&unknown);
                self.step(Event::Relisted { observed_at, sightings, unknown });
                if is_first {
                    // Later ones tell nothing new of the pods they confirm; what changed is told pod by pod.
                    self.refresh_all();
                }
                self.look_for_orphans();
                self.check_runtime_now_and_then(observed_at);
            }
            PlegReport::Failed { error } => {
                tracing::debug!(%error, "the runtime could not be listed");
                self.looks.conditions.poke();
            }
            PlegReport::Health { problem } => match problem {
                Some(problem) => tracing::error!("PLEG is not healthy: {problem}"),
                None => tracing::info!("PLEG is healthy"),
            },
        }
    }

    /// Has the runtime's own conditions read again, at most as often as upstream does whatever the relist interval is.
    fn check_runtime_now_and_then(&mut self, now: MonoTime) {
        if now.since(self.looks.conditions_at) >= RUNTIME_CHECK_INTERVAL {
            self.looks.conditions_at = now;
            self.looks.conditions.poke();
        }
    }

    /// Pods that nobody wants are stopped and erased, once every source and the runtime have been heard.
    fn look_for_orphans(&mut self) {
        if self.seen.relisted_at.is_none() || !self.sources.all_ready() {
            return;
        }
        let unwanted: Vec<(PodUid, PodKey)> = self
            .publisher
            .node()
            .observed
            .iter()
            .filter(|(uid, _)| self.workers.get(uid).is_none())
            .map(|(uid, observed)| (uid.clone(), observed.key.clone()))
            .collect();
        for (uid, key) in unwanted {
            tracing::info!(pod_uid = %uid, pod = %key, "no source wants this pod: it is stopped and removed");
            self.step(Event::Orphan { uid: uid.clone(), key });
            self.show_last_picture(&uid);
            self.refresh(&uid);
        }
        if !self.leftovers.is_asked
            && self.seen.awaited.is_empty()
            && let Some(executor) = &self.executor
        {
            self.leftovers.is_asked = true;
            self.leftovers.search.spawn(housekeeping::leftovers(self.outside.clone(), Arc::clone(executor)));
        }
    }

    /// Directories and cgroups of pods that neither a source nor the runtime knows.
    fn take_leftovers(&mut self, uids: Vec<PodUid>) {
        for uid in uids {
            if !self.seen.covers(&uid) {
                // It runs after all, under a name that is not known yet: ask again when it is.
                self.leftovers.is_asked = false;
            } else if self.workers.get(&uid).is_none() && !self.publisher.node().observed.contains_key(&uid) {
                tracing::info!(pod_uid = %uid, "a removed pod left files or a cgroup behind: they are removed");
                self.step(Event::Orphan { uid: uid.clone(), key: PodKey::new("", "") });
                self.show_last_picture(&uid);
            }
        }
    }

    fn take_probe(&mut self, news: ProbeNews) {
        let ProbeNews { uid, container, kind, result, happening } = news;
        if self.workers.get(&uid).is_none() {
            return;
        }
        if let Some(happening) = happening {
            self.record_event(&uid, happening);
            self.show(&uid);
        }
        let Some(result) = result else { return };
        let observed = self.publisher.node().observed.get(&uid).map(Arc::as_ref);
        let record = self.records.entry(uid.clone()).or_default();
        record.probes.take(observed, &container, kind, result);
        self.refresh(&uid);
        // Readiness only shows; the others decide about what runs.
        if kind != ProbeKind::Readiness {
            self.step(Event::Nudge { uid });
        }
    }

    fn take_runtime(&mut self) {
        let up = self.inputs.runtime.borrow_and_update().clone();
        if up.is_ready() && self.executor.is_none() {
            match Executor::new(self.outside.clone(), Arc::clone(&self.settings), &up) {
                Ok(executor) => self.executor = Some(Arc::new(executor)),
                Err(error) => tracing::error!("{error}; no pod can be started"),
            }
        }
        let runtime = &mut self.publisher.change().runtime;
        *runtime = RuntimeView {
            version: up.version.clone(),
            status: up.status.clone(),
            error: up.error.clone(),
            last_relist: runtime.last_relist,
        };
        if up.is_ready() {
            let waiting: Vec<PodUid> = self
                .records
                .iter()
                .filter(|(_, r)| r.problem.is_some())
                .map(|(uid, _)| uid.clone())
                .collect();
            for uid in waiting {
                self.step(Event::Nudge { uid });
            }
        }
        self.refresh_all();
    }

    fn refresh_all(&mut self) {
        let uids: Vec<PodUid> = self.records.keys().cloned().collect();
        for uid in uids {
            self.refresh(&uid);
        }
    }

    // ---- what operations do

    fn take_note(&mut self, note: Note) {
        let Note { uid, kind } = note;
        match kind {
            NoteKind::Doing(activity) => {
                self.records.entry(uid.clone()).or_default().activity = Some(activity)
            }
            NoteKind::Happened(happening) => self.record_event(&uid, happening),
        }
        self.show(&uid);
    }

    fn record_event(&mut self, uid: &PodUid, happening: Happening) {
        let now = self.outside.clock.wall();
        self.records.entry(uid.clone()).or_default().events.record(uid, happening, now);
    }

    fn take_end(&mut self, uid: PodUid, op: OpId, report: Option<Box<OpReport>>) {
        let record = self.records.entry(uid.clone()).or_default();
        record.activity = None;
        let outcome = match report {
            None => Outcome::Failed { retry_at: None },
            Some(report) => {
                record.memory = Some(report.memory);
                if report.outcome != Outcome::Cancelled {
                    record.waiting = report.waiting;
                    record.problem = report.problem;
                }
                report.outcome
            }
        };
        self.step(Event::Ended { uid: uid.clone(), op, outcome });
        self.refresh(&uid);
    }

    /// Adoption that took too long and pods whose time is over are ended, and what is due is done.
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

    // ---- the machine and its effects

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
                    match to {
                        // The last picture is older than the removal: it must not make an orphan of the pod again.
                        Lifecycle::Finished => drop(self.publisher.change().observed.remove(&uid)),
                        // The next incarnation under this UID begins with nothing remembered.
                        Lifecycle::Waiting => drop(self.records.remove(&uid)),
                        Lifecycle::Syncing | Lifecycle::Terminating | Lifecycle::Terminated => {}
                    }
                    self.refresh(&uid);
                }
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
        tracing::error!("broken invariant {invariant}: this is an error of the agent, please report it");
        self.broken.inc(&[invariant.id()]);
    }

    fn start(&mut self, uid: PodUid, op: OpId, operation: core_pods::worker::Operation) {
        let Some(executor) = self.executor.clone() else {
            // Cannot happen: nothing starts before the runtime was seen. If it does, the machine tries again.
            let outcome = Outcome::Failed { retry_at: None };
            return self.step(Event::Ended { uid, op, outcome });
        };
        let cancel = CancellationToken::new();
        let observed = self.publisher.node().observed.get(&uid).cloned();
        let probes = self.probe_facts(&uid, observed.as_deref());
        let key = self.workers.get(&uid).map_or_else(|| PodKey::new("", ""), |worker| worker.key().clone());
        let input = OpInput {
            uid: uid.clone(),
            key,
            operation,
            observed,
            probes,
            memory: self.records.entry(uid.clone()).or_default().memory.take().unwrap_or_default(),
            runtime: self.inputs.runtime.borrow().clone(),
            active: self.active_pods(),
            notes: Notes {
                uid: uid.clone(),
                clock: Arc::clone(&self.outside.clock),
                sender: self.operations.notes(),
            },
            cancel: cancel.clone(),
        };
        self.operations.start((uid, op), cancel, async move { executor.perform(input).await });
    }

    fn probe_facts(&self, uid: &PodUid, observed: Option<&ObservedPod>) -> ProbeFacts {
        let Some(record) = self.records.get(uid) else { return ProbeFacts::default() };
        let pod = self.workers.get(uid).and_then(|worker| worker.pod());
        ProbeFacts {
            unstarted: pod.map(|pod| record.probes.unstarted(pod, observed)).unwrap_or_default(),
            failed: record.probes.failed.clone(),
        }
    }

    /// Pods that count for the QoS cgroups: those that run or may run.
    fn active_pods(&self) -> Vec<Arc<Pod>> {
        let active = self.workers.iter().filter(|(_, worker)| worker.lifecycle() < Lifecycle::Terminated);
        active.filter_map(|(_, worker)| worker.pod().cloned()).collect()
    }

    // ---- status and publication

    /// Renews the status of a pod, stops it when its phase is terminal, and shows it.
    fn refresh(&mut self, uid: &PodUid) {
        let Some(worker) = self.workers.get(uid) else {
            self.records.remove(uid);
            self.publisher.change().pods.remove(uid);
            return;
        };
        // A pod is shown from the start, also while the runtime is down and nothing can be said of its status.
        self.records.entry(uid.clone()).or_default();
        let lifecycle = worker.lifecycle();
        let mut completed = false;
        let observed = self.publisher.node().observed.get(uid).map(Arc::as_ref);
        if let Some(pod) = worker.pod().cloned().filter(|_| self.seen.covers(uid))
            && let record = self.records.entry(uid.clone()).or_default()
            && !self.seen.awaits_probes(&pod, record, observed)
        {
            let node = status::node_facts(&self.settings, &self.inputs.runtime.borrow());
            let (mono, wall) = (self.outside.clock.now(), self.outside.clock.wall());
            let mut next = status::generate(&pod, record, observed, lifecycle, &node, wall);
            let may_run = lifecycle == Lifecycle::Syncing && !status::is_terminal(&next);
            if may_run && record.evict_when_overdue(&pod, &next, (mono, wall)) {
                let why = Happening::normal(active_deadline::REASON, active_deadline::MESSAGE);
                record.events.record(uid, why, wall);
                next = status::generate(&pod, record, observed, lifecycle, &node, wall);
            }
            record.deadline = record.deadline.filter(|_| may_run && record.eviction.is_none());
            completed = lifecycle == Lifecycle::Syncing && status::is_terminal(&next);
            if record.status.as_deref() != Some(&next) {
                record.status = Some(Arc::new(next));
            }
        }
        // While a worker waits for a picture it has no deadline; the picture that ends this leads here.
        self.note_next_retry(uid);
        self.show(uid);
        if completed {
            self.step(Event::Stop { uid: uid.clone(), reason: StopReason::Completed, grace_secs: None });
        }
    }

    /// Puts a pod's record into the node view.
    fn show(&mut self, uid: &PodUid) {
        let (Some(worker), Some(record)) = (self.workers.get(uid), self.records.get(uid)) else { return };
        let pod =
            worker.pod().cloned().unwrap_or_else(|| Arc::new(status::runtime_only_pod(uid, worker.key())));
        let view = PodView {
            status: record.status.clone().unwrap_or_else(|| Arc::new(pod.status.clone().unwrap_or_default())),
            source: worker.source(),
            lifecycle: worker.lifecycle(),
            activity: record.activity.clone(),
            problem: record.problem.clone(),
            next_retry: record.next_retry,
            events: record.events.snapshot(),
            pod,
        };
        self.publisher.change().pods.insert(uid.clone(), Arc::new(view));
    }
}

fn sighting_of(observed: &ObservedPod, changed: bool) -> Sighting {
    Sighting { observed_at: observed.observed_at, stopped: observed.is_stopped(), changed }
}
