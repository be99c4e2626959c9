//! The PLEG task: owns the picture of the runtime and nobody else looks.
//!
//! Reads: the runtime's lists and statuses, its event stream (as hints only), and requests to look at one pod.
//! Publishes: [`PlegReport`]s to the sync loop. One look at one scope at a time; looks that are asked for meanwhile
//! coalesce into one that starts after it, so that every picture is newer than the request.
//!
//! States of the event feed: `connecting -> streaming -> broken -> connecting`; a runtime that does not implement events
//! stays without, and is then relisted every second as upstream does (CONTRACT 4.1).

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use core_pleg::{
    EventFeed, Health, InspectedPod, Listed, Pleg, PlegEvent, PlegOutcome, PodToInspect, Relist, Scope,
};
use core_types::runtime::{ContainerSummary, RuntimeEvent, SandboxSummary};
use core_types::{MonoTime, ObservedPod, PodKey, PodUid};
use futures_util::StreamExt;
use ports::RuntimeError;
use ports::runtime::{RuntimeEvents, RuntimeResult};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::inspect;
use crate::metrics::PlegMetrics;
use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::timer;

/// Looks under way at once: enough to hide the runtime's latency, few enough not to flood it after a burst.
const MAX_LOOKS: usize = 8;
/// First wait before the event stream is connected again; doubles to the maximum.
const FEED_RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait before the event stream is connected again.
const FEED_RETRY_MAX: Duration = Duration::from_secs(10);

/// What the PLEG task tells the sync loop.
#[derive(Debug)]
pub(crate) enum PlegReport {
    /// One pod was looked at.
    Seen {
        uid: PodUid,
        /// The picture; `None` when the runtime holds nothing of the pod.
        observed: Option<Arc<ObservedPod>>,
        observed_at: MonoTime,
        changed: bool,
        events: Vec<PlegEvent>,
    },
    /// All pods were listed. Pods in `unknown` are still being looked at or could not be.
    Relisted { observed_at: MonoTime, confirmed: Vec<PodUid>, unknown: BTreeMap<PodUid, PodKey> },
    /// The runtime could not be listed.
    Failed { error: RuntimeError },
    /// The task's health changed.
    Health { problem: Option<String> },
}

/// Requests to look at single pods. Requests for one pod coalesce, so there are never more than there are pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct LookRequests {
    uids: Arc<Mutex<BTreeMap<PodUid, Care>>>,
    added: Arc<Notify>,
}

/// How closely a look looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Care {
    /// At what is listed with another state.
    Changes,
    /// At everything that has not ended: something changed that no list shows.
    Everything,
}

impl LookRequests {
    /// Asks for a picture of the pod that begins after this call.
    pub(crate) fn add(&self, uid: PodUid) {
        self.ask(uid, Care::Changes);
    }

    /// As [`LookRequests::add`], after a change that shows in no list, such as a resize.
    pub(crate) fn add_closer(&self, uid: PodUid) {
        self.ask(uid, Care::Everything);
    }

    fn ask(&self, uid: PodUid, care: Care) {
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = uids.entry(uid).or_insert(care);
        *asked = care.max(*asked);
        self.added.notify_one();
    }

    /// Waits for requests and takes them all.
    async fn take(&self) -> BTreeMap<PodUid, Care> {
        loop {
            let uids = std::mem::take(&mut *self.uids.lock().unwrap_or_else(PoisonError::into_inner));
            if !uids.is_empty() {
                return uids;
            }
            self.added.notified().await;
        }
    }
}

enum Done {
    Lists(Relist, RuntimeResult<(Vec<SandboxSummary>, Vec<ContainerSummary>)>),
    Inspected { scope: Scope, uid: PodUid, observed_at: MonoTime, result: RuntimeResult<InspectedPod> },
}

/// The task's state. Made and run by the supervisor.
pub(crate) struct PlegTask {
    outside: Outside,
    pleg: Pleg,
    requests: LookRequests,
    reports: mpsc::Sender<PlegReport>,
    looks: JoinSet<Done>,
    /// Scopes being looked at, with the number of calls outstanding.
    under_way: BTreeMap<Scope, usize>,
    /// Scopes asked for, not yet begun.
    asked: BTreeSet<Scope>,
    problem: Option<String>,
    /// When the last full relist that succeeded began.
    relisted_at: Option<MonoTime>,
    metrics: PlegMetrics,
}

impl PlegTask {
    pub(crate) fn new(
        outside: Outside,
        pleg: Pleg,
        requests: LookRequests,
        reports: mpsc::Sender<PlegReport>,
        metrics: PlegMetrics,
    ) -> Self {
        Self {
            outside,
            pleg,
            requests,
            reports,
            looks: JoinSet::new(),
            under_way: BTreeMap::new(),
            asked: BTreeSet::new(),
            problem: None,
            relisted_at: None,
            metrics,
        }
    }

    /// Runs until it is stopped or nobody listens any more. Looks begin when the runtime was ready for the first time.
    pub(crate) async fn run(mut self, mut runtime: watch::Receiver<RuntimeUp>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ready = runtime.wait_for(RuntimeUp::is_ready) => if ready.is_err() { return },
        }
        drop(runtime);
        let mut feed = Feed::new(self.outside.clone());
        loop {
            self.begin_due_looks();
            let clock = Arc::clone(&self.outside.clock);
            let due = self.next_look().map(|(due, _)| due);
            // In a fixed order, so that a simulation replays: own work first, the event stream (only hints) last.
            let turned = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(done) = self.looks.join_next(), if !self.looks.is_empty() => match done {
                    Ok(done) => self.take(done).await,
                    Err(error) => {
                        tracing::error!(%error, "a look at the runtime ended in an unforeseen way");
                        Ok(())
                    }
                },
                uids = self.requests.take() => {
                    self.take_requests(uids);
                    Ok(())
                }
                () = timer::until(clock.as_ref(), due) => Ok(()),
                news = feed.next() => {
                    self.take_news(news, &mut feed);
                    Ok(())
                }
            };
            if turned.is_err() {
                return;
            }
        }
    }

    fn take_requests(&mut self, uids: BTreeMap<PodUid, Care>) {
        for (uid, care) in uids {
            if care == Care::Everything {
                self.pleg.request_reinspect(uid.clone());
            }
            self.asked.insert(Scope::One(uid));
        }
    }

    fn take_news(&mut self, news: News, feed: &mut Feed) {
        let now = self.outside.clock.now();
        match news {
            News::Event(event) => self.asked.extend(self.pleg.on_event(now, &event)),
            News::Connected(Ok(stream)) => {
                feed.state = FeedState::Streaming(stream);
                self.pleg.on_feed(now, EventFeed::Streaming);
            }
            News::Connected(Err(RuntimeError::Unimplemented { .. }))
            | News::Broken(Some(RuntimeError::Unimplemented { .. })) => {
                tracing::info!("the runtime sends no events; it is listed every second instead");
                feed.state = FeedState::GivenUp;
                self.pleg.on_feed(now, EventFeed::Absent);
            }
            News::Connected(Err(error)) => {
                tracing::debug!(%error, "cannot connect to the runtime's event stream; trying again");
                feed.connect_again();
            }
            News::Broken(error) => {
                let error = error.map(|error| error.to_string()).unwrap_or_default();
                tracing::warn!(error, "the runtime's event stream ended; connecting again");
                feed.connect_again();
                self.pleg.on_feed(now, EventFeed::Absent);
            }
        }
    }

    /// The next look that neither is under way nor waits for its turn.
    fn next_look(&self) -> Option<(MonoTime, Scope)> {
        self.pleg.next_look_besides(|scope| self.under_way.contains_key(scope) || self.asked.contains(scope))
    }

    /// Begins what is asked for or due, as far as the bound allows.
    fn begin_due_looks(&mut self) {
        let now = self.outside.clock.now();
        while let Some((due, scope)) = self.next_look()
            && due <= now
        {
            self.asked.insert(scope);
        }
        while self.looks.len() < MAX_LOOKS {
            let next = self.asked.iter().find(|scope| !self.under_way.contains_key(scope)).cloned();
            let Some(scope) = next else { return };
            self.asked.remove(&scope);
            *self.under_way.entry(scope.clone()).or_default() += 1;
            let relist = self.pleg.begin_relist(now, scope);
            self.looks.spawn(list(self.outside.clone(), relist));
        }
    }

    fn call_ended(&mut self, scope: &Scope) {
        if let Some(count) = self.under_way.get_mut(scope) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(scope);
            }
        }
    }

    async fn take(&mut self, done: Done) -> Result<(), Gone> {
        let now = self.outside.clock.now();
        match done {
            Done::Lists(relist, Ok((sandboxes, containers))) => {
                self.measure(&relist, now);
                let listed = self.pleg.on_list(now, relist.clone(), sandboxes, containers);
                self.take_listed(&relist, listed).await?;
                self.call_ended(&relist.scope);
            }
            Done::Lists(relist, Err(error)) => {
                self.pleg.on_list_failed(now, &relist);
                self.call_ended(&relist.scope);
                self.report(PlegReport::Failed { error }).await?;
            }
            Done::Inspected { scope, uid, observed_at, result } => {
                self.call_ended(&scope);
                match result {
                    Ok(inspected) => {
                        if let Some(outcome) = self.pleg.on_inspected(&uid, observed_at, inspected) {
                            self.report_outcome(outcome).await?;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(pod_uid = %uid, %error, "cannot look at a pod; trying again");
                        self.pleg.on_inspect_failed(now, &uid, observed_at);
                    }
                }
            }
        }
        self.report_health().await
    }

    fn measure(&mut self, relist: &Relist, now: MonoTime) {
        let secs = now.since(relist.started_at).as_secs_f64();
        match relist.scope {
            Scope::All => {
                if let Some(before) = self.relisted_at.replace(relist.started_at) {
                    self.metrics.relists_after(relist.started_at.since(before).as_secs_f64());
                }
                self.metrics.relisted(secs, self.outside.clock.wall());
            }
            Scope::One(_) => self.metrics.pod_relisted(secs),
        }
    }

    async fn take_listed(&mut self, relist: &Relist, listed: Listed) -> Result<(), Gone> {
        let asked = listed.to_inspect.iter().map(|pod| (pod.uid.clone(), pod.key.clone()));
        let unknown: BTreeMap<PodUid, PodKey> = asked.chain(listed.awaited).collect();
        for pod in listed.to_inspect {
            *self.under_way.entry(relist.scope.clone()).or_default() += 1;
            self.looks.spawn(look_closer(self.outside.clone(), relist.scope.clone(), pod));
        }
        // What changed is told first; in the whole it then counts like the rest.
        let mut confirmed = listed.confirmed;
        for outcome in listed.outcomes {
            confirmed.push(outcome.observed.uid.clone());
            self.report_outcome(outcome).await?;
        }
        let observed_at = relist.started_at;
        match &relist.scope {
            Scope::All => self.report(PlegReport::Relisted { observed_at, confirmed, unknown }).await,
            Scope::One(uid) if unknown.is_empty() => {
                // Nothing changed, or nothing is there: the one who asked must still be told that the picture is new.
                let observed = self.pleg.observed(uid).cloned().map(Arc::new);
                let uid = uid.clone();
                self.report(PlegReport::Seen {
                    uid,
                    observed,
                    observed_at,
                    changed: false,
                    events: Vec::new(),
                })
                .await
            }
            Scope::One(_) => Ok(()),
        }
    }

    async fn report_outcome(&mut self, outcome: PlegOutcome) -> Result<(), Gone> {
        let PlegOutcome { observed, events } = outcome;
        let (uid, observed_at) = (observed.uid.clone(), observed.observed_at);
        let observed = (!observed.is_empty()).then(|| Arc::new(observed));
        self.report(PlegReport::Seen { uid, observed, observed_at, changed: true, events }).await
    }

    async fn report_health(&mut self) -> Result<(), Gone> {
        let problem = match self.pleg.health(self.outside.clock.now()) {
            Health::Healthy => None,
            Health::Unhealthy(why) => Some(why.to_string()),
        };
        if problem.is_some() == self.problem.is_some() {
            return Ok(());
        }
        self.problem.clone_from(&problem);
        self.report(PlegReport::Health { problem }).await
    }

    async fn report(&self, report: PlegReport) -> Result<(), Gone> {
        self.reports.send(report).await.map_err(|_| Gone)
    }
}

/// The sync loop is gone: the agent stops.
struct Gone;

/// The runtime's event stream: `connecting -> streaming -> connecting`, or given up.
struct Feed {
    outside: Outside,
    state: FeedState,
    wait: Duration,
}

enum FeedState {
    Connecting(Pin<Box<dyn Future<Output = RuntimeResult<RuntimeEvents>> + Send>>),
    Streaming(RuntimeEvents),
    GivenUp,
}

impl Feed {
    fn new(outside: Outside) -> Self {
        let mut feed = Self { outside, state: FeedState::GivenUp, wait: FEED_RETRY_MIN };
        feed.connect_after(Duration::ZERO);
        feed
    }

    fn connect_after(&mut self, wait: Duration) {
        let runtime = Arc::clone(&self.outside.runtime);
        self.state = FeedState::Connecting(Box::pin(async move {
            tokio::time::sleep(wait).await;
            runtime.events().await
        }));
    }

    fn connect_again(&mut self) {
        self.connect_after(self.wait);
        self.wait = (self.wait * 2).min(FEED_RETRY_MAX);
    }

    /// Waits for a connection or for an event; for ever when the feed was given up.
    async fn next(&mut self) -> News {
        match &mut self.state {
            FeedState::Connecting(connecting) => News::Connected(connecting.await),
            FeedState::Streaming(stream) => match stream.next().await {
                Some(Ok(event)) => {
                    self.wait = FEED_RETRY_MIN;
                    News::Event(event)
                }
                Some(Err(error)) => News::Broken(Some(error)),
                None => News::Broken(None),
            },
            FeedState::GivenUp => std::future::pending().await,
        }
    }
}

/// What comes from the feed.
enum News {
    Connected(RuntimeResult<RuntimeEvents>),
    Event(RuntimeEvent),
    Broken(Option<RuntimeError>),
}

async fn list(outside: Outside, relist: Relist) -> Done {
    let of = match &relist.scope {
        Scope::All => None,
        Scope::One(uid) => Some(uid),
    };
    let lists = tokio::try_join!(outside.runtime.list_sandboxes(of), outside.runtime.list_containers(of));
    Done::Lists(relist, lists)
}

async fn look_closer(outside: Outside, scope: Scope, pod: PodToInspect) -> Done {
    let (uid, observed_at) = (pod.uid.clone(), pod.observed_at);
    let result = inspect::inspect(&outside, pod).await;
    Done::Inspected { scope, uid, observed_at, result }
}
