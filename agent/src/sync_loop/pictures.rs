//! What the runtime and the probes show: pictures become steps of the workers, and what nobody wants is found.

use std::sync::Arc;

use core_pods::worker::{Event, Sighting};
use core_probes::ProbeKind;
use core_types::view::RuntimeView;
use core_types::{MonoTime, PodKey, PodUid};

use super::{RUNTIME_CHECK_INTERVAL, SyncLoop, sighting_of};
use crate::housekeeping;
use crate::pleg::PlegReport;
use crate::prober::ProbeNews;

impl SyncLoop {
    pub(super) fn take_pleg(&mut self, report: PlegReport) {
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
                let shown = self.publisher.change_observed();
                match observed {
                    Some(observed) => shown.insert(uid.clone(), observed),
                    None => shown.remove(&uid),
                };
                self.step(Event::Seen { uid: uid.clone(), sighting });
                self.refresh(&uid);
                if self.knows_all() {
                    self.judge_orphan(&uid);
                    self.ask_for_leftovers();
                }
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
            PlegReport::Health { problem } => {
                match &problem {
                    Some(problem) => tracing::error!("PLEG is not healthy: {problem}"),
                    None => tracing::info!("PLEG is healthy"),
                }
                self.publisher.change().runtime.pleg_problem = problem;
            }
        }
    }

    /// Has the runtime's own conditions read again, at most as often as upstream does whatever the relist interval is.
    pub(super) fn check_runtime_now_and_then(&mut self, now: MonoTime) {
        if now.since(self.looks.conditions_at) >= RUNTIME_CHECK_INTERVAL {
            self.looks.conditions_at = now;
            self.looks.conditions.poke();
        }
    }

    /// Whether every source and the runtime have been heard: what nobody wants now is unwanted.
    fn knows_all(&self) -> bool {
        self.seen.relisted_at.is_some() && self.sources.all_ready()
    }

    /// Pods that nobody wants are stopped and erased.
    pub(super) fn look_for_orphans(&mut self) {
        if !self.knows_all() {
            return;
        }
        let observed = Arc::clone(&self.publisher.node().observed);
        observed.keys().for_each(|uid| self.judge_orphan(uid));
        self.ask_for_leftovers();
    }

    /// Stops and erases a pod that the runtime has and nobody wants.
    fn judge_orphan(&mut self, uid: &PodUid) {
        if self.workers.get(uid).is_some() {
            return;
        }
        let Some(observed) = self.publisher.node().observed.get(uid) else { return };
        let key = observed.key.clone();
        tracing::info!(pod_uid = %uid, pod = %key, "no source wants this pod: it is stopped and removed");
        self.recorder.work().orphan();
        self.step(Event::Orphan { uid: uid.clone(), key });
        self.show_last_picture(uid);
        self.refresh(uid);
    }

    fn ask_for_leftovers(&mut self) {
        if !self.leftovers.is_asked
            && self.seen.awaited.is_empty()
            && let Some(executor) = self.executor.get()
        {
            self.leftovers.is_asked = true;
            self.leftovers.search.spawn(housekeeping::leftovers(self.outside.clone(), Arc::clone(executor)));
        }
    }

    /// Directories and cgroups of pods that neither a source nor the runtime knows.
    pub(super) fn take_leftovers(&mut self, uids: Vec<PodUid>) {
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

    pub(super) fn take_probe(&mut self, news: ProbeNews) {
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

    pub(super) fn take_runtime(&mut self) {
        let up = self.inputs.runtime.borrow_and_update().clone();
        if up.is_ready() {
            self.executor.fill(&self.outside, &self.settings, &up);
        }
        let runtime = &mut self.publisher.change().runtime;
        *runtime = RuntimeView {
            version: up.version.clone(),
            status: up.status.clone(),
            error: up.error.clone(),
            failing_since: up.failing_since,
            last_relist: runtime.last_relist,
            pleg_problem: runtime.pleg_problem.take(),
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
}
