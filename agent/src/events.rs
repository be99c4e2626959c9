//! The recorder: everything that happens to a pod or to the node goes through it, once, and becomes an event, a line of the
//! log and counts in the metrics.
//!
//! Any task may hold it and record; the book behind it is locked for moments only. Readers ask for what is newer than a
//! revision and wait on [`Recorder::revisions`].
//!
//! Beside it two tasks: [`keep_journal`] writes what changed behind everybody's back, so that a restart forgets nothing, and
//! [`tell`] brings events to the API server as fast as their [`Budget`] allows, and with [`Courtesy`] towards pods that start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use core_events::{Book, Budget, Courtesy, Limits, journal};
use core_metrics::Registry;
use core_types::{EventRecord, EventType, Invariant, ObjectKind, ObjectRef, PodUid};
use ports::control::EventNews;
use ports::{Clock, EventJournal, EventSink, EventSinkError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use core_events::{Happening, Tally};

use crate::metrics::{EventMetrics, WorkMetrics};
use crate::timer;
use crate::turns::Turns;

/// Changes within this time go into one write of the journal: a pod's start tells several things.
const GATHER: Duration = Duration::from_millis(200);
/// Wait after a write or a sending that failed. A full disk or a server that is away does not get better by haste.
const RETRY: Duration = Duration::from_secs(10);
/// Size at which a file of the journal is followed by a new one; what the book keeps fits in several times.
const TURN_AT_BYTES: u64 = 8 << 20;

/// Where happenings go.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    node: ObjectRef,
    book: Mutex<Book>,
    revisions: watch::Sender<u64>,
    /// What an earlier life left is in the book.
    is_restored: watch::Sender<bool>,
    metrics: EventMetrics,
    work: WorkMetrics,
}

impl Recorder {
    pub(crate) fn new(clock: Arc<dyn Clock>, node_name: &str, metrics: &Registry) -> Self {
        Self(Arc::new(Inner {
            clock,
            node: ObjectRef::node(node_name),
            book: Mutex::default(),
            revisions: watch::Sender::new(Book::BEGINNING),
            is_restored: watch::Sender::new(false),
            metrics: EventMetrics::new(metrics),
            work: WorkMetrics::new(metrics),
        }))
    }

    /// Records what happened to an object.
    pub(crate) fn record(&self, object: &ObjectRef, happening: &Happening) {
        let Happening { event_type, reason, message, field_path, .. } = happening;
        tracing::info!(object = %object, uid = object.uid, kind = event_type.as_str(), %reason, field_path, "{message}");
        self.0.metrics.count(happening);
        let revision = {
            let mut book = self.book();
            book.record(object, happening, self.0.clock.wall());
            book.revision()
        };
        self.0.revisions.send_replace(revision);
    }

    /// Records what happened to the node.
    pub(crate) fn node(&self, happening: &Happening) {
        self.record(&self.0.node, happening);
    }

    /// A rule of ours that does not hold: a line of the log and a count.
    pub(crate) fn broken(&self, invariant: Invariant) {
        tracing::error!("broken invariant {invariant}: this is an error of the agent, please report it");
        self.0.metrics.broken(invariant);
    }

    /// Counts of what happens.
    pub(crate) fn metrics(&self) -> &EventMetrics {
        &self.0.metrics
    }

    /// Times of work on pods.
    pub(crate) fn work(&self) -> &WorkMetrics {
        &self.0.work
    }

    /// Events of a pod, least recent first.
    pub(crate) fn of_pod(&self, uid: &PodUid) -> Arc<[Arc<EventRecord>]> {
        self.book().of(ObjectKind::Pod, uid.as_str()).cloned().collect()
    }

    /// Waits until what an earlier life wrote is in the book, or is known to be lost.
    pub(crate) async fn restored(&self) {
        // The sender lives as long as this recorder does, so there is no error to tell of.
        let _ = self.0.is_restored.subscribe().wait_for(|is_restored| *is_restored).await;
    }

    /// Events that changed after a revision.
    pub(crate) fn since(&self, revision: u64) -> EventNews {
        let book = self.book();
        EventNews { events: book.since(revision).cloned().collect(), revision: book.revision() }
    }

    /// The newest revision, for waiting.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.0.revisions.subscribe()
    }

    /// Reads what an earlier life of the agent wrote. What is broken is kept aside; the rest is used.
    pub(crate) async fn restore(&self, journal: &dyn EventJournal) {
        match journal.load().await {
            Ok(files) => {
                let read = journal::read(files.iter().map(AsRef::as_ref));
                if read.bad_lines > 0 {
                    let problem = format!("{} of its lines cannot be used", read.bad_lines);
                    self.set_aside(journal, &problem).await;
                }
                self.book().restore(read.events);
            }
            Err(error) => self.set_aside(journal, &error.to_string()).await,
        }
        self.0.is_restored.send_replace(true);
    }

    async fn set_aside(&self, journal: &dyn EventJournal, problem: &str) {
        let place = match journal.keep_broken().await {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(problem, place, "the journal of events is broken; what cannot be used is kept aside");
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what changed until it is stopped, and then once more. Each life of the agent begins a file with all that is kept, so
/// that the one before, whatever its end looks like, is only read.
pub(crate) async fn keep_journal(
    recorder: Recorder,
    journal: Arc<dyn EventJournal>,
    stop: CancellationToken,
) {
    let (mut revisions, clock) = (recorder.revisions(), Arc::clone(&recorder.0.clock));
    let (mut written, mut size_bytes) = (0, None);
    tokio::select! {
        () = stop.cancelled() => return,
        () = recorder.restored() => revisions.mark_changed(),
    }
    loop {
        let is_last = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            _ = revisions.changed() => false,
        };
        if !is_last {
            pause(clock.as_ref(), GATHER, &stop).await;
        }
        revisions.mark_unchanged();
        match write_news(&recorder, journal.as_ref(), written, size_bytes).await {
            Ok((revision, size)) => (written, size_bytes) = (revision, size),
            Err(error) if is_last => tracing::warn!(%error, "the last events are not in the journal"),
            Err(error) => {
                tracing::warn!(%error, "the journal of events cannot be written; it is tried again in {RETRY:?}");
                pause(clock.as_ref(), RETRY, &stop).await;
                revisions.mark_changed();
            }
        }
        if is_last {
            return;
        }
    }
}

/// Writes what is newer than a revision; gives the revision that is written and the size of the current file.
async fn write_news(
    recorder: &Recorder,
    journal: &dyn EventJournal,
    written: u64,
    size_bytes: Option<u64>,
) -> Result<(u64, Option<u64>), ports::FileError> {
    let is_same_file = size_bytes.is_some_and(|size| size < TURN_AT_BYTES);
    let news = recorder.since(if is_same_file { written } else { 0 });
    if news.events.is_empty() {
        return Ok((news.revision, size_bytes));
    }
    let mut lines = Vec::new();
    news.events.iter().for_each(|event| journal::write(event, &mut lines));
    let size_bytes = match is_same_file {
        true => journal.append(&lines).await?,
        false => {
            journal.begin_anew(&lines).await?;
            lines.len() as u64
        }
    };
    Ok((news.revision, Some(size_bytes)))
}

/// Tells events to the API server within their budget; those of what is normal when no pod is brought up, or when they may wait no
/// longer. What an earlier life told is not told again.
pub(crate) async fn tell(
    recorder: Recorder,
    sink: Arc<dyn EventSink>,
    (limits, turns): (Limits, Turns),
    stop: CancellationToken,
) {
    let (mut revisions, clock) = (recorder.revisions(), Arc::clone(&recorder.0.clock));
    let (mut budget, mut courtesy) = (Budget::new(limits), Courtesy::default());
    // Revisions up to which bad and good news was offered.
    let (mut bad, mut good) = (Book::BEGINNING, Book::BEGINNING);
    loop {
        let news = recorder.since(bad);
        bad = news.revision;
        for event in news.events {
            match event.event_type {
                EventType::Warning => budget.offer(clock.now(), event),
                EventType::Normal => courtesy.wait(clock.now()),
            }
        }
        if courtesy.ends(clock.now(), turns.are_free()) {
            let news = recorder.since(good);
            good = news.revision;
            let events = news.events.into_iter().filter(|event| event.event_type == EventType::Normal);
            events.for_each(|event| budget.offer(clock.now(), event));
        }
        recorder.0.metrics.dropped(budget.dropped());
        while let Some(event) = budget.next(clock.now()) {
            match sink.send(&event).await {
                Ok(()) => {}
                Err(error @ EventSinkError::Refused(_)) => {
                    tracing::warn!(%error, name = event.name, "an event is given up");
                }
                Err(error @ EventSinkError::Unavailable(_)) => {
                    tracing::debug!(%error, name = event.name, "an event is sent again in {RETRY:?}");
                    budget.put_back(event);
                    pause(clock.as_ref(), RETRY, &stop).await;
                    break;
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = revisions.changed() => {}
            () = turns.quiet(), if courtesy.until().is_some() => {}
            () = timer::until(clock.as_ref(), courtesy.until()) => {}
            () = timer::until(clock.as_ref(), budget.next_deadline()) => {}
        }
    }
}

/// Waits, but not when the agent stops.
async fn pause(clock: &dyn Clock, time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = timer::until(clock, Some(clock.now() + time)) => {}
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::timer::TokioClock;

    /// Reasons of the events that were sent.
    #[derive(Default)]
    struct Sent(Mutex<Vec<String>>);

    impl Sent {
        async fn soon(&self) -> Vec<String> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.0.lock().expect("lock").clone()
        }
    }

    #[async_trait]
    impl EventSink for Sent {
        async fn send(&self, event: &EventRecord) -> Result<(), EventSinkError> {
            self.0.lock().expect("lock").push(event.reason.clone());
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_give_way_to_pods_that_are_brought_up() {
        let recorder = Recorder::new(Arc::new(TokioClock::new()), "node", &Registry::new());
        let (sent, turns, stop) = (Arc::new(Sent::default()), Turns::new(1), CancellationToken::new());
        let means = (Limits::of(0, 1), turns.clone());
        let task = tokio::spawn(tell(recorder.clone(), sent.clone(), means, stop.clone()));
        recorder.node(&Happening::normal("One", "at once"));
        assert_eq!(sent.soon().await, ["One"]);

        let turn = turns.try_take();
        recorder.node(&Happening::normal("Two", "when the pod is up"));
        assert_eq!(sent.soon().await, ["One"]);
        drop(turn);
        assert_eq!(sent.soon().await, ["One", "Two"]);

        let mut turn = turns.try_take();
        recorder.node(&Happening::normal("Three", "in 10 s, although pods are brought up all the time"));
        recorder.node(&Happening::warning("Four", "at once"));
        for _ in 0..3 {
            assert_eq!(sent.soon().await, ["One", "Two", "Four"]);
            tokio::time::sleep(Duration::from_secs(3)).await;
            turn = turns.try_take();
        }
        assert_eq!(sent.soon().await.len(), 3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(sent.soon().await, ["One", "Two", "Four", "Three"]);
        drop(turn);
        stop.cancel();
        task.await.expect("it ends");
    }
}
