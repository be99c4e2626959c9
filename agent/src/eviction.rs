//! Eviction: when the node runs short of memory, disk, inodes or process IDs, it gives back what nobody needs, and then ends
//! one pod after the other until there is enough again (CONTRACT 5.10). Pods that exceed limits of their own go too.
//!
//! Reads: the signals every [`PERIOD`], and at once when the kernel tells that memory runs short; use of pods when one has to
//! go; the node view. Publishes: the node's pressures, orders to end pods, and the record of each decision, to the sync loop.
//! What is short the machine [`core_reclaim::Pressure`] decides, who goes [`core_reclaim::Shortage`].
//!
//! ```text
//! signals > starved? > dead containers and unused images, where that helps > still starved? > one pod > until it is gone, 30 s
//! ```
//! The ticker's reason: nobody tells when a disk fills up or process IDs run out. A node without limits, and without pods that
//! have some, looks at nothing.

mod sense;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use core_reclaim::{
    Candidate, HARD_GRACE_SECS, NodeReclaim, Observations, Pressure, Resource, Shortage, Threshold,
    conditions, pressures, reclaim_first,
};
use core_types::pressure::{EvictionDecision, Pressures};
use core_types::view::{Lifecycle, NodeView};
use core_types::{MonoTime, PodExt, PodUid};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::events::{Happening, Recorder};
use crate::metrics::ReclaimMetrics;
use crate::outside::Outside;
use crate::reclaimer::Reclaimer;
use crate::{checkpoints, task, timer};

use sense::Care;

pub(crate) use sense::Sense;

/// Time between two looks at the signals; upstream's.
const PERIOD: Duration = Duration::from_secs(10);
/// How long the end of an evicted pod is waited for before the next goes; upstream's.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(30);
/// Decisions that are remembered: many more than a person reads.
const KEPT_DECISIONS: usize = 64;
/// The file with the decisions.
const DECISIONS: &str = "eviction_decisions";

/// The file with what the node showed last.
const PRESSURES: &str = "eviction_pressures";

/// What the node showed, for the next life of the agent: a condition must not go early because the agent was restarted.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// What was shown before the machine was booted is over.
    boot_id: String,
    pressures: Pressures,
}

/// What the sync loop is told.
#[derive(Debug)]
pub(crate) enum EvictionNews {
    /// What the node is short of has changed.
    Pressures(Pressures),
    /// Everything that is remembered of decisions.
    Decisions(Arc<[Arc<EvictionDecision>]>),
    /// A pod ends.
    Evict(Box<EvictionOrder>),
}

/// A pod that the node ends.
#[derive(Debug)]
pub(crate) struct EvictionOrder {
    pub(crate) uid: PodUid,
    /// Message of the status and of the event.
    pub(crate) message: String,
    /// Message of the condition `DisruptionTarget`; empty for none.
    pub(crate) disruption: String,
    /// Annotations of the event.
    pub(crate) annotations: Vec<(&'static str, String)>,
    /// Label of the metric that counts it.
    pub(crate) signal: String,
    pub(crate) grace_secs: i64,
}

/// Who gives back what nobody needs.
#[derive(Clone, Debug)]
pub(crate) struct Reclaimers {
    pub(crate) containers: Reclaimer,
    pub(crate) images: Reclaimer,
}

/// Pods that were told to end, and how long they are waited for.
struct Awaited {
    uids: BTreeSet<PodUid>,
    until: MonoTime,
}

/// The task.
pub(crate) struct EvictionTask {
    outside: Outside,
    sense: Arc<Sense>,
    reclaimers: Reclaimers,
    recorder: Recorder,
    metrics: ReclaimMetrics,
    news: mpsc::Sender<EvictionNews>,
    pressure: Pressure,
    told: Option<Pressures>,
    /// What the file says.
    kept: Pressures,
    decisions: VecDeque<Arc<EvictionDecision>>,
    awaited: Option<Awaited>,
}

impl EvictionTask {
    pub(crate) fn new(
        outside: Outside,
        sense: Arc<Sense>,
        reclaimers: Reclaimers,
        (recorder, metrics): (Recorder, ReclaimMetrics),
        news: mpsc::Sender<EvictionNews>,
    ) -> Self {
        let pressure = sense.new_pressure();
        Self {
            outside,
            sense,
            reclaimers,
            recorder,
            metrics,
            news,
            pressure,
            told: None,
            kept: Pressures::default(),
            decisions: VecDeque::new(),
            awaited: None,
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, view: CalmView, stop: CancellationToken) {
        task::until_stopped(&stop, self.live(view)).await;
    }

    async fn live(&mut self, mut view: CalmView) {
        self.restore().await;
        self.restore_pressures().await;
        loop {
            self.wait_for_ends(&mut view).await;
            self.pass().await;
            if self.awaited.is_some() {
                continue;
            }
            self.rest(&mut view).await;
        }
    }

    /// Waits until there is something to look at again.
    async fn rest(&self, view: &mut CalmView) {
        let clock = Arc::clone(&self.outside.clock);
        let now = clock.now();
        let due = self.pressure.next_deadline().map_or(now + PERIOD, |at| at.min(now + PERIOD).max(now));
        loop {
            let watches = self.sense.has_limits() || self.sense.has_limited_pods();
            tokio::select! {
                biased;
                () = self.outside.usage.machine.memory_alarm.rings(), if self.sense.has_limits() => return,
                () = timer::until(clock.as_ref(), Some(due)), if watches => return,
                _ = view.changed(), if !watches => {}
            }
        }
    }

    /// Waits until the pods that were told to end hold nothing any more.
    async fn wait_for_ends(&mut self, view: &mut CalmView) {
        let Some(Awaited { uids, until }) = self.awaited.take() else { return };
        let clock = Arc::clone(&self.outside.clock);
        let mut node = view.now();
        while !uids.iter().all(|uid| is_gone(&node, uid)) {
            tokio::select! {
                biased;
                () = timer::until(clock.as_ref(), Some(until)) => {
                    tracing::warn!(?uids, "evicted pods have not ended in {CLEANUP_PATIENCE:?}; others may have to go");
                    return;
                }
                changed = view.changed() => node = changed,
            }
        }
    }

    /// One look, and what follows from it.
    async fn pass(&mut self) {
        if !self.sense.has_limits() && !self.sense.has_limited_pods() {
            return self.tell_pressures(Pressures::default()).await;
        }
        let (measured, pressure) = self.sense.observe().await;
        if let Some(pressure) = pressure {
            self.pressure = pressure.showing(self.pressure.conditions(), self.outside.clock.now());
        }
        let said = self.pressure.step(self.outside.clock.now(), &measured);
        self.tell_pressures(pressures(&said.conditions)).await;
        if self.end_pods_over_limits().await {
            return;
        }
        let Some(limit) = said.starved.first().copied() else { return };
        let resource = limit.signal.resource();
        let message = format!("Attempting to reclaim {resource}");
        self.recorder.node(&Happening::warning("EvictionThresholdMet", message));
        if self.reclaim_from_node(&limit).await {
            return;
        }
        self.end_one(&limit, &said.starved, &measured).await;
    }

    async fn tell_pressures(&mut self, pressures: Pressures) {
        if self.told == Some(pressures) {
            return;
        }
        self.told = Some(pressures);
        self.send(EvictionNews::Pressures(pressures)).await;
        if self.kept != pressures {
            self.kept = pressures;
            self.store_pressures(pressures).await;
        }
    }

    /// Takes up what an earlier life showed. Without it the node begins without pressure, as upstream's.
    async fn restore_pressures(&mut self) {
        let without = "the node begins without pressure";
        let shown = checkpoints::load_json::<Shown>(&*self.outside.checkpoints, PRESSURES, without).await;
        if let Some(shown) = shown.filter(|shown| shown.boot_id == self.sense.boot_id()) {
            let pressure = self.sense.new_pressure();
            self.pressure = pressure.showing(conditions(shown.pressures), self.outside.clock.now());
            self.kept = shown.pressures;
        }
    }

    async fn store_pressures(&self, pressures: Pressures) {
        let shown = Shown { boot_id: self.sense.boot_id().to_owned(), pressures };
        let without = "a restart forgets what the node shows";
        checkpoints::store_json(&*self.outside.checkpoints, PRESSURES, without, &shown).await;
    }

    /// True when that was enough.
    async fn reclaim_from_node(&mut self, limit: &Threshold) -> bool {
        let steps = reclaim_first(limit.signal, self.sense.layout());
        for step in steps {
            match step {
                NodeReclaim::DeadContainers => self.reclaimers.containers.reclaim_all().await,
                NodeReclaim::UnusedImages => self.reclaimers.images.reclaim_all().await,
            }
        }
        if steps.is_empty() {
            return false;
        }
        let (measured, _) = self.sense.observe().await;
        let is_enough = self.pressure.is_relieved(&measured);
        if is_enough {
            tracing::info!(signal = %limit.signal, "enough was given back without ending a pod");
        }
        is_enough
    }

    /// Ends pods that exceed limits of their own; true when there were some.
    async fn end_pods_over_limits(&mut self) -> bool {
        let mut ended = BTreeSet::new();
        for (candidate, over) in self.sense.pods_over_limits().await {
            let uid = candidate.pod.uid();
            let decision = EvictionDecision {
                uid: uid.clone(),
                key: candidate.pod.key(),
                at: self.outside.clock.wall(),
                signal: over.kind.signal().to_owned(),
                limit: String::new(),
                available: String::new(),
                message: over.message.clone(),
                order: Vec::new(),
            };
            let order = EvictionOrder {
                uid: uid.clone(),
                message: over.message,
                disruption: String::new(),
                annotations: Vec::new(),
                signal: over.kind.signal().to_owned(),
                grace_secs: HARD_GRACE_SECS,
            };
            self.evict(order, decision).await;
            ended.insert(uid);
        }
        let any = !ended.is_empty();
        if any {
            self.await_ends(ended);
        }
        any
    }

    /// Ends the pod that is the first to go.
    async fn end_one(&mut self, limit: &Threshold, starved: &[Threshold], measured: &Observations) {
        let care = match limit.signal.resource() {
            Resource::Memory | Resource::Pids => Care::Usage,
            Resource::EphemeralStorage | Resource::Inodes => Care::Storage,
        };
        let candidates: Vec<Candidate> = self.sense.candidates(care).await;
        let shortage = Shortage {
            limit,
            starved,
            measured,
            layout: self.sense.layout(),
            max_grace_secs: self.sense.max_grace_secs(),
        };
        let Some(victim) = shortage.victim(&candidates, self.outside.clock.wall()) else {
            let critical = candidates.len();
            return tracing::error!(signal = %limit.signal, critical, "the node is short, and no pod may go for it");
        };
        let now = self.outside.clock.now();
        for threshold in starved {
            if let Some(look) = measured.get(&threshold.signal) {
                self.metrics.evicted_after(threshold.signal, now.since(look.measured_at));
            }
        }
        let uid = victim.uid;
        let order = EvictionOrder {
            uid: uid.clone(),
            disruption: victim.text.message.clone(),
            message: victim.text.message,
            annotations: victim.text.annotations,
            signal: limit.signal.name().to_owned(),
            grace_secs: victim.grace_secs,
        };
        self.evict(order, victim.decision).await;
        self.await_ends([uid].into());
    }

    fn await_ends(&mut self, uids: BTreeSet<PodUid>) {
        self.awaited = Some(Awaited { uids, until: self.outside.clock.now() + CLEANUP_PATIENCE });
    }

    async fn evict(&mut self, order: EvictionOrder, decision: EvictionDecision) {
        tracing::info!(pod = %decision.key, signal = order.signal, grace_secs = order.grace_secs, "a pod is evicted: {}", order.message);
        self.decisions.push_back(Arc::new(decision));
        while self.decisions.len() > KEPT_DECISIONS {
            self.decisions.pop_front();
        }
        self.send(EvictionNews::Decisions(self.decisions.iter().cloned().collect())).await;
        self.send(EvictionNews::Evict(Box::new(order))).await;
        self.store().await;
    }

    async fn send(&self, news: EvictionNews) {
        if self.news.send(news).await.is_err() {
            tracing::debug!("the sync loop has ended; nothing is evicted any more");
        }
    }

    /// Reads the decisions of an earlier life.
    async fn restore(&mut self) {
        let without = "decisions of earlier are forgotten";
        let decisions = checkpoints::load_json(&*self.outside.checkpoints, DECISIONS, without).await;
        let Some(decisions) = decisions else { return };
        self.decisions = decisions;
        self.send(EvictionNews::Decisions(self.decisions.iter().cloned().collect())).await;
    }

    async fn store(&self) {
        let without = "a restart forgets a decision";
        checkpoints::store_json(&*self.outside.checkpoints, DECISIONS, without, &self.decisions).await;
    }
}

/// Whether a pod holds nothing of the node any more.
fn is_gone(node: &NodeView, uid: &PodUid) -> bool {
    node.pods.get(uid).is_none_or(|pod| pod.lifecycle >= Lifecycle::Terminated && pod.is_released)
}
