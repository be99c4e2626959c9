//! Pulls of all pods: the one task that owns which of them run, and who may use what they brought.
//!
//! Reads: wishes and questions of operations, ends of pulls, files about pulls at the start. Publishes: one answer each.
//! What runs, for whom and in which order the machine [`PullScheduler`] decides, who may use an image the machine
//! [`PullBook`]. An operation that goes away withdraws its wish, and a pull that nobody wants is dropped.
//!
//! ```text
//! wish > queued > intent on disk > running > answer; record on disk, then the intent goes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_images::Credential;
use core_images::book::{Arrival, Check, PullBook, Verdict};
use core_images::pull::RATE_EXCEEDED;
use core_images::records::{Access, PulledRecord};
use core_images::scheduler::{Effect, Event, PullId, PullKey, PullRank, PullScheduler, Ticket};
use core_types::WallTime;
use core_types::runtime::{ImageSpec, SandboxConfig};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::keeper::{self, Done, Job, Keeper};
use super::pull_once::pull_once;
use crate::metrics::ImageMetrics;
use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::settings::{PullSettings, Verification};

/// Wishes and questions that may wait to be taken. The task takes them at once, and each operation has one at a time.
const ASK_QUEUE: usize = 64;

/// What an operation wants pulled.
#[derive(Debug)]
pub(crate) struct PullWish {
    pub(crate) spec: ImageSpec,
    /// Tried in this order; without any the registry is asked anonymously.
    pub(crate) credentials: Vec<Credential>,
    pub(crate) sandbox: SandboxConfig,
    pub(crate) rank: PullRank,
}

/// How a pull ended.
#[derive(Clone, Debug)]
pub(crate) struct PullEnd {
    /// What the runtime calls the image, or its words.
    pub(crate) result: Result<Pulled, String>,
    /// Time of the pull alone.
    pub(crate) took: Duration,
}

impl PullEnd {
    fn failed(why: impl Into<String>) -> Self {
        Self { result: Err(why.into()), took: Duration::ZERO }
    }
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// Reference of the image at the runtime.
    pub(crate) image_ref: String,
    /// Who may use it.
    pub(crate) access: Access,
}

/// An image that is there: as the pod writes it, and as the runtime calls it.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) image: String,
    pub(crate) image_ref: String,
}

/// What operations ask.
enum Ask {
    Pull {
        wish: Box<PullWish>,
        answer: oneshot::Sender<PullEnd>,
        /// Cancelled when the operation is gone.
        gone: CancellationToken,
    },
    MayUse(Present, oneshot::Sender<Check>),
    MayUseWith(Present, Vec<Credential>, oneshot::Sender<Verdict>),
    KeepOnly(BTreeSet<String>, WallTime, oneshot::Sender<()>),
}

/// The way to the task.
#[derive(Clone)]
pub(crate) struct Pulls {
    asks: mpsc::Sender<Ask>,
}

impl Pulls {
    /// Has an image pulled and waits for it. Dropping the future withdraws the wish.
    pub(crate) async fn pull(&self, wish: PullWish) -> PullEnd {
        let gone = CancellationToken::new();
        let _withdraws = gone.clone().drop_guard();
        let end = self.ask(|answer| Ask::Pull { wish: Box::new(wish), answer, gone }).await;
        end.unwrap_or_else(|| PullEnd::failed("the agent stops"))
    }

    /// Whether a pod may use an image without showing credentials.
    pub(crate) async fn may_use(&self, image: Present) -> Check {
        let check = self.ask(|answer| Ask::MayUse(image, answer)).await;
        check.unwrap_or(Check::Decided(Verdict::MustPull))
    }

    /// Whether a pod with these credentials may use an image.
    pub(crate) async fn may_use_with(&self, image: Present, credentials: Vec<Credential>) -> Verdict {
        let verdict = self.ask(|answer| Ask::MayUseWith(image, credentials, answer)).await;
        verdict.unwrap_or(Verdict::MustPull)
    }

    /// Images were removed: forgets who may use those that are not `present`. What was pulled since `before` is not among them.
    pub(crate) async fn keep_only(&self, present: Vec<String>, before: WallTime) {
        let present = present.into_iter().collect();
        self.ask(|answer| Ask::KeepOnly(present, before, answer)).await.unwrap_or_default();
    }

    /// `None` when the agent stops.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// A wish that has no answer yet.
struct Open {
    wish: Arc<PullWish>,
    answer: oneshot::Sender<PullEnd>,
}

/// A pull that has begun.
struct Live {
    wish: Arc<PullWish>,
    /// None while its intent is being written.
    handle: Option<AbortHandle>,
}

/// The task.
pub(crate) struct PullTask {
    outside: Outside,
    metrics: ImageMetrics,
    scheduler: PullScheduler,
    verification: Verification,
    /// Who may use what; none when nobody needs proof.
    book: Option<PullBook>,
    keeper: Keeper,
    asks: mpsc::Receiver<Ask>,
    open: BTreeMap<Ticket, Open>,
    gone: FuturesUnordered<BoxFuture<'static, Ticket>>,
    live: BTreeMap<PullId, Live>,
    running: JoinSet<(PullId, PullEnd)>,
    next_ticket: u64,
}

impl PullTask {
    /// The task and the way to it.
    pub(crate) fn new(outside: Outside, settings: PullSettings, metrics: ImageMetrics) -> (Self, Pulls) {
        let (sender, asks) = mpsc::channel(ASK_QUEUE);
        let task = Self {
            keeper: Keeper::new(Arc::clone(&outside.pulls.records)),
            outside,
            metrics,
            scheduler: PullScheduler::new(settings.parallel, settings.rate),
            verification: settings.verification,
            book: None,
            asks,
            open: BTreeMap::new(),
            gone: FuturesUnordered::new(),
            live: BTreeMap::new(),
            running: JoinSet::new(),
            next_ticket: 0,
        };
        (task, Pulls { asks: sender })
    }

    /// Serves operations until the agent stops. Pulls that run then are dropped.
    pub(crate) async fn run(mut self, mut up: watch::Receiver<RuntimeUp>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.open_book(&mut up) => {}
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => self.take_end(ended),
                done = self.keeper.next() => self.take_done(done),
                Some(ticket) = self.gone.next(), if !self.gone.is_empty() => {
                    if self.open.remove(&ticket).is_some() {
                        self.step(Event::Withdrawn(ticket), None);
                    }
                }
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.take_ask(ask),
                    None => return,
                },
            }
        }
    }

    /// Reads the files of an earlier life. Pulls that it had begun and the runtime had ended become records.
    async fn open_book(&mut self, up: &mut watch::Receiver<RuntimeUp>) {
        let Verification::By(policy) = &self.verification else { return };
        let found = keeper::load(self.outside.pulls.records.as_ref()).await;
        let mut book = PullBook::new(policy.clone(), found);
        if book.intents() > 0 && up.wait_for(RuntimeUp::is_ready).await.is_ok() {
            match self.outside.images.list_images().await {
                Ok(images) => {
                    for (record, intent) in book.adopt(&images, self.outside.clock.wall()) {
                        self.keeper.push(Job::Record { record, intent: Some(intent) });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "images of interrupted pulls cannot be looked for; they must be proved by a pull")
                }
            }
        }
        self.metrics.kept(book.intents(), book.records());
        self.book = Some(book);
    }

    fn take_ask(&mut self, ask: Ask) {
        // Who went away meanwhile does not listen to answers.
        match ask {
            Ask::Pull { wish, answer, gone } => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.gone.push(gone.cancelled_owned().map(move |()| ticket).boxed());
                let (key, rank) = (PullKey::new(&wish.spec, &wish.credentials), wish.rank);
                self.open.insert(ticket, Open { wish: Arc::from(wish), answer });
                self.step(Event::Asked { ticket, key, rank }, None);
            }
            Ask::MayUse(Present { image, image_ref }, answer) => {
                let free = Check::Decided(Verdict::AllowedByPolicy);
                let check = self.book.as_ref().map_or(free, |book| book.check(&image, &image_ref));
                if let Check::Decided(verdict) = check {
                    self.metrics.checked(verdict);
                }
                let _ = answer.send(check);
            }
            Ask::KeepOnly(present, before, answer) => {
                if let Some(book) = &mut self.book {
                    for image_ref in book.keep_only(&present, before) {
                        self.keeper.push(Job::RemoveRecord(image_ref));
                    }
                    self.metrics.kept(book.intents(), book.records());
                }
                let _ = answer.send(());
            }
            Ask::MayUseWith(Present { image, image_ref }, credentials, answer) => {
                let now = self.outside.clock.wall();
                let (verdict, record) = match &mut self.book {
                    Some(book) => book.check_with(&image, &image_ref, &credentials, now),
                    None => (Verdict::AllowedByPolicy, None),
                };
                self.metrics.checked(verdict);
                self.keep(record, None);
                let _ = answer.send(verdict);
            }
        }
    }

    fn take_end(&mut self, ended: Result<(PullId, PullEnd), JoinError>) {
        let (pull, end) = match ended {
            Ok(ended) => ended,
            // One that was aborted is forgotten already.
            Err(error) => match self.live.iter().find(|(_, live)| live.is(&error)) {
                Some((pull, _)) => (*pull, PullEnd::failed(format!("the pull broke down: {error}"))),
                None => return,
            },
        };
        self.end(pull, &end);
    }

    fn end(&mut self, pull: PullId, end: &PullEnd) {
        let Some(live) = self.live.remove(&pull) else { return };
        self.note_end(&live.wish, end.result.as_ref().ok());
        self.step(Event::Ended(pull), Some(end));
    }

    /// Has the end of a pull written down.
    fn note_end(&mut self, wish: &PullWish, pulled: Option<&Pulled>) {
        let Some(book) = &mut self.book else { return };
        let (image, now) = (&wish.spec.user_specified_image, self.outside.clock.wall());
        let record = pulled.and_then(|pulled| {
            let Pulled { image_ref, access } = pulled;
            book.pulled(image, Arrival { image_ref, access, now })
        });
        let intent = book.ended(image).then(|| image.clone());
        self.keep(record, intent);
    }

    /// Has a record written and an intent removed.
    fn keep(&mut self, record: Option<PulledRecord>, intent: Option<String>) {
        match (record, intent) {
            (Some(record), intent) => self.keeper.push(Job::Record { record, intent }),
            (None, Some(intent)) => self.keeper.push(Job::RemoveIntent(intent)),
            (None, None) => {}
        }
        let Some(book) = &mut self.book else { return };
        for image_ref in book.drop_oldest() {
            self.keeper.push(Job::RemoveRecord(image_ref));
        }
        self.metrics.kept(book.intents(), book.records());
    }

    fn take_done(&mut self, (job, result): Done) {
        match (job, result) {
            (Job::Intent { pull, .. }, Ok(())) => self.spawn(pull),
            (Job::Intent { pull, image }, Err(error)) => {
                let why =
                    format!("Failed to record image pull intent for container image {image:?}: {error}");
                self.end(pull, &PullEnd::failed(why));
            }
            (_, Ok(())) => {}
            (job, Err(error)) => {
                tracing::warn!(%error, ?job, "a file about a pull cannot be written; the image may have to be pulled once more");
            }
        }
    }

    fn step(&mut self, event: Event, end: Option<&PullEnd>) {
        let now = self.outside.clock.now();
        for effect in self.scheduler.step(now, event) {
            match (effect, end) {
                (Effect::Start { pull, ticket }, _) => self.start(pull, ticket),
                (Effect::Abort(pull), _) => self.abort(pull),
                (Effect::Refuse(ticket), _) => self.answer(ticket, PullEnd::failed(RATE_EXCEEDED)),
                (Effect::Answer { ticket, .. }, Some(end)) => self.answer(ticket, end.clone()),
                // There are answers only at the end of a pull.
                (Effect::Answer { .. }, None) => {}
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, end: PullEnd) {
        if let Some(open) = self.open.remove(&ticket) {
            let _ = open.answer.send(end);
        }
    }

    fn abort(&mut self, pull: PullId) {
        let Some(live) = self.live.remove(&pull) else { return };
        if let Some(handle) = &live.handle {
            handle.abort();
        }
        self.note_end(&live.wish, None);
    }

    fn start(&mut self, pull: PullId, ticket: Ticket) {
        let Some(Open { wish, .. }) = self.open.get(&ticket) else { return };
        let image = wish.spec.user_specified_image.clone();
        self.live.insert(pull, Live { wish: Arc::clone(wish), handle: None });
        match &mut self.book {
            Some(book) => {
                book.begin(&image);
                self.metrics.kept(book.intents(), book.records());
                self.keeper.push(Job::Intent { pull, image });
            }
            None => self.spawn(pull),
        }
    }

    /// Begins a pull, if it is still wanted.
    fn spawn(&mut self, pull: PullId) {
        let Some(live) = self.live.get_mut(&pull) else { return };
        let (outside, wish) = (self.outside.clone(), Arc::clone(&live.wish));
        live.handle = Some(self.running.spawn(async move {
            let begun_at = outside.clock.now();
            let result = pull_once(&outside, &wish).await;
            (pull, PullEnd { result, took: outside.clock.now().since(begun_at) })
        }));
    }
}

impl Live {
    fn is(&self, broken: &JoinError) -> bool {
        self.handle.as_ref().is_some_and(|handle| handle.id() == broken.id())
    }
}
