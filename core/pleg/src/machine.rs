//! The machine: what is known of each pod, which answers are outstanding, and when to look next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core_types::runtime::{ContainerSummary, RuntimeEvent, RuntimeEventKind, SandboxSummary};
use core_types::{MonoTime, ObservedPod, PodKey, PodUid};

use crate::health::{Health, Unhealthy};
use crate::hints::Hints;
use crate::picture::{self, Pending, Reuse, Rows};
use crate::{EventFeed, InspectedPod, Listed, PlegOutcome, Policy, Relist, Scope, diff};

/// A further try after a failure.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: MonoTime,
    delay: Duration,
}

/// The pod lifecycle event generator. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Pleg {
    policy: Policy,
    feed: EventFeed,
    /// Last picture of each pod that the runtime holds something of.
    observed: BTreeMap<PodUid, ObservedPod>,
    pending: BTreeMap<PodUid, Pending>,
    /// Pods whose statuses must not be reused, ended ones excepted.
    reinspect: BTreeSet<PodUid>,
    /// Pods that could not be listed or inspected.
    retries: BTreeMap<PodUid, Retry>,
    hints: Hints,
    next_full: MonoTime,
    full_delay: Option<Duration>,
    last_success: Option<MonoTime>,
    failing_since: Option<MonoTime>,
    /// When the lists of each pod's last picture had arrived. A look that began before may have read before them, although it
    /// began later.
    listed_until: BTreeMap<PodUid, MonoTime>,
    /// Pods seen to be gone, since the last full relist. A full list that began before is not to bring them back.
    gone: BTreeMap<PodUid, MonoTime>,
}

impl Pleg {
    /// A machine that has seen nothing. Its first look, at everything, is due at once; no event stream is assumed.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            feed: EventFeed::Absent,
            observed: BTreeMap::new(),
            pending: BTreeMap::new(),
            reinspect: BTreeSet::new(),
            retries: BTreeMap::new(),
            hints: Hints::default(),
            next_full: MonoTime::ZERO,
            full_delay: None,
            last_success: None,
            failing_since: None,
            listed_until: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// The event stream was connected or lost. Both make a full relist due: what happened before the stream began was
    /// not told, and what happens after it broke will not be.
    pub fn on_feed(&mut self, now: MonoTime, feed: EventFeed) {
        if self.feed != feed {
            self.feed = feed;
            self.next_full = self.next_full.min(now);
        }
    }

    /// When to look next and at what, if nothing asks for it earlier.
    pub fn next_look(&self) -> (MonoTime, Scope) {
        let full = (self.next_full, Scope::All);
        self.single_looks().fold(full, |first, other| first.min(other))
    }

    /// As [`Pleg::next_look`], without what is being looked at now: a look that hangs must not make itself due again,
    /// nor hide the others.
    pub fn next_look_besides(&self, is_under_way: impl Fn(&Scope) -> bool) -> Option<(MonoTime, Scope)> {
        let full = (self.next_full, Scope::All);
        self.single_looks().chain([full]).filter(|(_, scope)| !is_under_way(scope)).min()
    }

    fn single_looks(&self) -> impl Iterator<Item = (MonoTime, Scope)> {
        let retries = self.retries.iter().map(|(uid, retry)| (retry.at, uid));
        retries.chain(self.hints.looks()).map(|(at, uid)| (at, Scope::One(uid.clone())))
    }

    /// Where a runtime event asks to look at once: at its pod, or at everything when the pod is not known. `None` when it tells of
    /// something created or started: then a look at the pod is due soon, unless a picture shows it before.
    pub fn on_event(&mut self, now: MonoTime, event: &RuntimeEvent) -> Option<Scope> {
        let scope = self.scope_of(event);
        match (&scope, event.kind) {
            (Scope::One(uid), RuntimeEventKind::Created | RuntimeEventKind::Started) => {
                self.hints.tell(now, uid, event, self.observed.get(uid));
                None
            }
            _ => Some(scope),
        }
    }

    fn scope_of(&self, event: &RuntimeEvent) -> Scope {
        if let Some(uid) = event.pod_uid.as_ref().filter(|uid| !uid.as_str().is_empty()) {
            return Scope::One(uid.clone());
        }
        let id = event.container_id.as_str();
        let owner = self.observed.values().find(|pod| {
            pod.containers.iter().any(|container| container.id().as_str() == id)
                || pod.sandboxes.iter().any(|sandbox| sandbox.id().as_str() == id)
        });
        owner.map_or(Scope::All, |pod| Scope::One(pod.uid.clone()))
    }

    /// The next look at this pod reads the status of everything in it that has not ended, even if its state in the list
    /// is unchanged. For after an action that changes a status but no state, such as a resize in place.
    pub fn request_reinspect(&mut self, uid: PodUid) {
        self.reinspect.insert(uid);
    }

    /// Begins a look. Ask the runtime for its lists only after this call: `now` becomes the time of the picture.
    pub fn begin_relist(&mut self, now: MonoTime, scope: Scope) -> Relist {
        match &scope {
            Scope::All => {
                self.next_full = now + self.period();
                self.hints.begin_all();
            }
            Scope::One(uid) => {
                self.hints.begin(uid);
                if let Some(retry) = self.retries.get_mut(uid) {
                    retry.at = now + retry.delay;
                }
            }
        }
        Relist { started_at: now, scope }
    }

    /// The lists of a look have arrived, complete for its scope.
    pub fn on_list(
        &mut self,
        now: MonoTime,
        relist: Relist,
        sandboxes: Vec<SandboxSummary>,
        containers: Vec<ContainerSummary>,
    ) -> Listed {
        let started_at = relist.started_at;
        if relist.scope == Scope::All {
            self.last_success = self.last_success.max(Some(started_at));
            self.failing_since = None;
            self.full_delay = None;
            self.next_full = now + self.period();
        }
        let mut pods = picture::by_pod(&relist.scope, sandboxes, containers);
        let mut listed = Listed::default();
        for uid in self.uids_in(&relist.scope, &pods) {
            if self.is_overtaken(&uid, started_at) {
                // Listed although it was seen to be gone: old news, or a new life of it. Look again.
                if self.gone.contains_key(&uid) && pods.contains_key(&uid) {
                    self.retry_later(now, &uid);
                }
                match self.pending.get(&uid) {
                    Some(pending) => listed.awaited.push((uid, pending.key().clone())),
                    None if self.observed.contains_key(&uid) => listed.confirmed.push(uid),
                    None => {}
                }
                continue;
            }
            let rows = pods.remove(&uid);
            if let Some(known) = self.contradicted(&uid, started_at, rows.as_ref()) {
                listed.awaited.push((uid.clone(), known));
                self.retry_later(now, &uid);
                continue;
            }
            self.drop_pending(&uid);
            match rows {
                Some(rows) => {
                    self.listed_until.insert(uid.clone(), now);
                    self.take_rows(uid, rows, started_at, &mut listed);
                }
                None => self.take_absence(uid, started_at, &mut listed),
            }
        }
        if relist.scope == Scope::All {
            // The next full list begins after all of these looks.
            self.gone.clear();
        }
        listed
    }

    /// The lists of a look could not be had. It is due again after a pause that doubles with each failure.
    pub fn on_list_failed(&mut self, now: MonoTime, relist: &Relist) {
        match &relist.scope {
            Scope::All => {
                let delay = self.next_delay(self.full_delay);
                self.full_delay = Some(delay);
                self.next_full = now + delay;
                self.failing_since.get_or_insert(relist.started_at);
            }
            Scope::One(uid) => self.retry_later(now, uid),
        }
    }

    /// The answers for a [`crate::PodToInspect`] have arrived. `None` when a newer look has overtaken them.
    pub fn on_inspected(
        &mut self,
        uid: &PodUid,
        observed_at: MonoTime,
        inspected: InspectedPod,
    ) -> Option<PlegOutcome> {
        if self.pending.get(uid)?.observed_at != observed_at {
            return None;
        }
        let pending = self.pending.remove(uid)?;
        self.retries.remove(uid);
        Some(self.take_picture(pending.finish(uid.clone(), inspected, self.observed.get(uid))))
    }

    /// The answers for a [`crate::PodToInspect`] could not be had. Its last picture stays and no event goes out; the pod
    /// is looked at again after a pause, and in every full relist before that.
    pub fn on_inspect_failed(&mut self, now: MonoTime, uid: &PodUid, observed_at: MonoTime) {
        if self.pending.get(uid).is_some_and(|pending| pending.observed_at == observed_at) {
            self.drop_pending(uid);
            self.retry_later(now, uid);
        }
    }

    /// Last picture of a pod; `None` when the runtime held nothing of it.
    pub fn observed(&self, uid: &PodUid) -> Option<&ObservedPod> {
        self.observed.get(uid)
    }

    /// Last pictures of all pods that the runtime holds something of.
    pub fn all_observed(&self) -> impl Iterator<Item = &ObservedPod> {
        self.observed.values()
    }

    /// Start of the last full relist that succeeded (metric `pleg_last_seen_seconds`).
    pub fn last_success(&self) -> Option<MonoTime> {
        self.last_success
    }

    /// Health (CONTRACT 4.1). With an event stream a relist is rare by design: then the threshold counts from the time
    /// at which one was due, or from the first one that failed.
    pub fn health(&self, now: MonoTime) -> Health {
        let Some(last) = self.last_success else { return Health::Unhealthy(Unhealthy::NeverSuccessful) };
        let threshold = self.policy.unhealthy_after;
        let period = self.period();
        let awaited_since = if period < threshold {
            last
        } else {
            self.failing_since.map_or(last + period, |failing| failing.min(last + period))
        };
        if now.since(awaited_since) <= threshold {
            return Health::Healthy;
        }
        Health::Unhealthy(Unhealthy::Stale { elapsed: now.since(last), threshold })
    }

    fn uids_in(&self, scope: &Scope, pods: &BTreeMap<PodUid, Rows>) -> BTreeSet<PodUid> {
        match scope {
            Scope::One(uid) => BTreeSet::from([uid.clone()]),
            Scope::All => {
                let known = self.observed.keys().chain(self.pending.keys()).chain(self.retries.keys());
                known.chain(pods.keys()).cloned().collect()
            }
        }
    }

    /// True when what is known of the pod is newer than a look that began at `started_at`.
    fn is_overtaken(&self, uid: &PodUid, started_at: MonoTime) -> bool {
        let observed_at = self.observed.get(uid).map(|pod| pod.observed_at);
        let listed_at = self.pending.get(uid).map(|pending| pending.observed_at);
        let gone_at = self.gone.get(uid).copied();
        Some(started_at) < observed_at.max(listed_at).max(gone_at)
    }

    /// The pod's name, when a look lacks what the last picture shows and may have read before it: their calls overlapped.
    /// Nobody knows then which is right; a further look does.
    fn contradicted(&self, uid: &PodUid, started_at: MonoTime, rows: Option<&Rows>) -> Option<PodKey> {
        let known = self.observed.get(uid)?;
        let overlaps = self.listed_until.get(uid).is_some_and(|until| started_at < *until);
        (overlaps && rows.is_none_or(|rows| rows.is_behind(known))).then(|| known.key.clone())
    }

    /// Forgets outstanding answers; a wish to reuse nothing that they would have fulfilled stays.
    fn drop_pending(&mut self, uid: &PodUid) {
        if self.pending.remove(uid).is_some_and(|pending| pending.reuse == Reuse::EndedOnly) {
            self.reinspect.insert(uid.clone());
        }
    }

    fn take_rows(&mut self, uid: PodUid, rows: Rows, started_at: MonoTime, listed: &mut Listed) {
        let reuse = if self.reinspect.remove(&uid) { Reuse::EndedOnly } else { Reuse::Unchanged };
        let must_inspect = reuse == Reuse::EndedOnly || self.retries.contains_key(&uid);
        let old = self.observed.get_mut(&uid);
        if let Some(old) = old
            && !must_inspect
            && rows.shows_the_same_as(old)
        {
            old.observed_at = started_at;
            listed.confirmed.push(uid);
            return;
        }
        let (pending, ask) = Pending::new(&uid, rows, self.observed.get(&uid), reuse, started_at);
        self.pending.insert(uid.clone(), pending);
        if ask.sandboxes.is_empty() && ask.containers.is_empty() {
            listed.outcomes.extend(self.on_inspected(&uid, started_at, InspectedPod::default()));
        } else {
            listed.to_inspect.push(ask);
        }
    }

    fn take_absence(&mut self, uid: PodUid, started_at: MonoTime, listed: &mut Listed) {
        self.retries.remove(&uid);
        self.reinspect.remove(&uid);
        self.listed_until.remove(&uid);
        self.gone.insert(uid.clone(), started_at);
        match self.observed.get(&uid) {
            Some(old) => {
                let mut empty = ObservedPod::empty(uid, old.key.clone(), started_at);
                empty.ips.clone_from(&old.ips);
                listed.outcomes.push(self.take_picture(empty));
            }
            None => listed.confirmed.push(uid),
        }
    }

    fn take_picture(&mut self, new: ObservedPod) -> PlegOutcome {
        let events = diff::events(self.observed.get(&new.uid), &new);
        if new.is_empty() {
            self.observed.remove(&new.uid);
        } else {
            self.observed.insert(new.uid.clone(), new.clone());
        }
        self.hints.see(&new);
        PlegOutcome { observed: new, events }
    }

    fn retry_later(&mut self, now: MonoTime, uid: &PodUid) {
        let delay = self.next_delay(self.retries.get(uid).map(|retry| retry.delay));
        self.retries.insert(uid.clone(), Retry { at: now + delay, delay });
    }

    fn next_delay(&self, last: Option<Duration>) -> Duration {
        last.map_or(self.policy.retry_min, |delay| delay.saturating_mul(2).min(self.policy.retry_max))
    }

    fn period(&self) -> Duration {
        match self.feed {
            EventFeed::Streaming => self.policy.relist_with_events,
            EventFeed::Absent => self.policy.relist_without_events,
        }
    }
}
