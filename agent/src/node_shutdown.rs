//! Graceful shutdown of the node: when the machine goes down, it waits until pods have ended in order and the API server knows
//! (CONTRACT 4.9).
//!
//! Reads: the word of the machine, through [`line`]; the node view. Publishes: whether the machine goes down, and which pods end,
//! to the sync loop; the time of the last shutdown, as a metric and in a file. Which pods end when, [`GracefulShutdown`] decides.
//!
//! ```text
//! goes down > event > shown by the view (not ready, no pod is admitted) > the pods of that view, group after group > let go
//! stays up  > event > shown by the view > hold the next one
//! ```
//! Guarantees: pods are taken from a view that shows the shutdown, so none slips in between. A connection that breaks meanwhile
//! stops nothing of this. Pods that upstream would leave without their last status when the API server is slow are waited for, in
//! the time that there is.

mod line;

use std::collections::BTreeMap;
use std::sync::Arc;

use core_metrics::{Desc, Gauge, Registry};
use core_node::GracefulShutdown;
use core_node::shutdown::{Left, ShutdownEffect, ShutdownEvent, ShutdownPod};
use core_types::view::{Lifecycle, NodeView, PodSource, PodView};
use core_types::{PodExt, PodUid, Shutdown, WallTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::{Happening, Recorder};
use crate::outside::Outside;
use crate::settings::{ShutdownRecord, ShutdownSettings};
use crate::{checkpoints, status, task, timer};

use line::{Line, LineEnds, Wish};

/// The file with the times of the last shutdown, which is upstream's.
const STATE: &str = "graceful_node_shutdown_state";
/// Reason of the node's events.
const SHUTDOWN: &str = "Shutdown";

/// What the sync loop is told.
#[derive(Clone, Debug)]
pub(crate) enum ShutdownNews {
    /// Whether the machine goes down.
    Changed(Shutdown),
    /// A pod ends for it.
    Stop { uid: PodUid, grace_secs: i64 },
}

/// Starts the tasks.
pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    settings: ShutdownSettings,
    (outside, recorder, news): (Outside, Recorder, mpsc::Sender<ShutdownNews>),
    (view, registry): (watch::Receiver<Arc<NodeView>>, &Registry),
    stop: &CancellationToken,
) {
    let (ends, line) = line::line();
    let port = Arc::clone(&outside.usage.machine.shutdown);
    let line = Line::new(port, Arc::clone(&outside.clock), settings.periods.total(), line);
    tasks.spawn(line.run(stop.clone()));
    let record = Record::new(outside.clone(), settings.record, registry);
    let machine = GracefulShutdown::new(settings.periods);
    tasks
        .spawn(ShutdownTask { outside, recorder, news, machine, record, line: ends }.run(view, stop.clone()));
}

/// The task.
struct ShutdownTask {
    outside: Outside,
    recorder: Recorder,
    news: mpsc::Sender<ShutdownNews>,
    machine: GracefulShutdown,
    record: Record,
    line: LineEnds,
}

impl ShutdownTask {
    async fn run(mut self, view: watch::Receiver<Arc<NodeView>>, stop: CancellationToken) {
        task::until_stopped(&stop, self.live(view)).await;
    }

    async fn live(&mut self, mut view: watch::Receiver<Arc<NodeView>>) {
        self.record.restore().await;
        loop {
            let clock = Arc::clone(&self.outside.clock);
            let due = self.machine.next_deadline();
            tokio::select! {
                biased;
                word = self.line.words.recv() => match word {
                    Some(word) => self.hear(word, &mut view).await,
                    None => return,
                },
                changed = view.changed(), if self.machine.is_at_work() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = timer::until(clock.as_ref(), due) => {}
            }
            if self.machine.is_at_work() {
                let left = left(&view.borrow_and_update());
                self.step(ShutdownEvent::Looked(left)).await;
            }
        }
    }

    async fn hear(&mut self, word: Shutdown, view: &mut watch::Receiver<Arc<NodeView>>) {
        let goes_down = word == Shutdown::InProgress;
        if goes_down == self.machine.goes_down() {
            return;
        }
        let message = match word {
            Shutdown::InProgress => "Shutdown manager detected shutdown event",
            Shutdown::None => "Shutdown manager detected shutdown cancellation",
        };
        tracing::info!("{message}");
        self.recorder.node(&Happening::normal(SHUTDOWN, message));
        self.tell(ShutdownNews::Changed(word)).await;
        match word {
            Shutdown::InProgress => {
                self.record.begins().await;
                let shown = view.wait_for(|node| node.shutdown == word).await.map(|node| pods(&node));
                let Ok(pods) = shown else { return };
                self.step(ShutdownEvent::GoesDown(pods)).await;
            }
            Shutdown::None => {
                if self.machine.is_at_work() {
                    self.record.ends().await;
                }
                self.step(ShutdownEvent::StaysUp).await;
                self.line.wish(Wish::Hold).await;
            }
        }
    }

    async fn step(&mut self, event: ShutdownEvent) {
        for effect in self.machine.step(self.outside.clock.now(), event) {
            match effect {
                ShutdownEffect::Stop { uid, grace_secs } => {
                    tracing::info!(pod_uid = %uid, grace_secs, "a pod ends because the machine goes down");
                    self.tell(ShutdownNews::Stop { uid, grace_secs }).await;
                }
                ShutdownEffect::LetGo => {
                    tracing::info!("pods have ended, or their time is over: the machine may go down");
                    self.record.ends().await;
                    self.line.wish(Wish::LetGo).await;
                }
            }
        }
    }

    async fn tell(&self, news: ShutdownNews) {
        if self.news.send(news).await.is_err() {
            tracing::debug!("the sync loop has ended; nothing is stopped any more");
        }
    }
}

/// Pods of which something may run.
fn pods(node: &NodeView) -> Vec<ShutdownPod> {
    let active = node.pods.iter().filter(|(_, pod)| pod.lifecycle < Lifecycle::Terminated);
    let of = |(uid, view): (&PodUid, &Arc<PodView>)| ShutdownPod {
        uid: uid.clone(),
        priority: view.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
        grace_secs: view.pod.grace_period_secs(),
    };
    active.map(of).collect()
}

/// What is left of each pod.
fn left(node: &NodeView) -> BTreeMap<PodUid, Left> {
    let of = |(uid, pod): (&PodUid, &Arc<PodView>)| {
        let holds = pod.lifecycle < Lifecycle::Terminated || !pod.is_released;
        let left = if holds { Left::Something } else { Left::Untold };
        (holds || !is_told(node, pod)).then(|| (uid.clone(), left))
    };
    node.pods.iter().filter_map(of).collect()
}

/// Whether the API server knows the end of a pod, if it knows the pod.
fn is_told(node: &NodeView, pod: &PodView) -> bool {
    let server = match pod.source {
        Some(PodSource::Api) => Some(&pod.pod),
        Some(PodSource::File | PodSource::Http | PodSource::Local) => {
            node.mirrors.as_ref().and_then(|mirrors| mirrors.get(&pod.pod.key()))
        }
        None => None,
    };
    server.is_none_or(|server| server.status.as_ref().is_some_and(status::is_terminal))
}

/// When the last shutdown began and ended; the form is upstream's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    #[serde(with = "go_time")]
    start_time: Option<WallTime>,
    #[serde(with = "go_time")]
    end_time: Option<WallTime>,
}

/// Go writes a time that is not set as the first of the year one.
mod go_time {
    use core_types::WallTime;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    const UNSET: &str = "0001-01-01T00:00:00Z";

    pub(super) fn serialize<S: Serializer>(time: &Option<WallTime>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => time.serialize(to),
            None => UNSET.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WallTime>, D::Error> {
        let text = String::deserialize(from)?;
        if text == UNSET {
            return Ok(None);
        }
        let time =
            serde_json::from_value(serde_json::Value::String(text)).map_err(serde::de::Error::custom)?;
        Ok(Some(time))
    }
}

/// Where the times go.
struct Record {
    outside: Outside,
    is_kept: bool,
    times: Times,
    start: Gauge,
    end: Gauge,
}

impl Record {
    fn new(outside: Outside, record: ShutdownRecord, registry: &Registry) -> Self {
        let gauge = |name, help| registry.gauge(Desc { name, help, labels: &[] });
        let this = Self {
            outside,
            is_kept: record == ShutdownRecord::Kept,
            times: Times::default(),
            start: gauge(
                "kubelet_graceful_shutdown_start_time_seconds",
                "[ALPHA] Last graceful shutdown start time since unix epoch in seconds",
            ),
            end: gauge(
                "kubelet_graceful_shutdown_end_time_seconds",
                "[ALPHA] Last graceful shutdown start time since unix epoch in seconds",
            ),
        };
        this.show();
        this
    }

    /// Reads what an earlier life left.
    async fn restore(&mut self) {
        if !self.is_kept {
            return;
        }
        let without = "the times of the last shutdown are not known";
        let times = checkpoints::load_json(&*self.outside.checkpoints, STATE, without).await;
        self.times = times.unwrap_or(self.times);
        self.show();
    }

    async fn begins(&mut self) {
        self.keep(Times { start_time: Some(self.outside.clock.wall()), end_time: None }).await;
    }

    async fn ends(&mut self) {
        self.keep(Times { end_time: Some(self.outside.clock.wall()), ..self.times }).await;
    }

    async fn keep(&mut self, times: Times) {
        if !self.is_kept {
            return;
        }
        self.times = times;
        self.show();
        let without = "the times of this shutdown are forgotten at the next start";
        checkpoints::store_json(&*self.outside.checkpoints, STATE, without, &times).await;
    }

    fn show(&self) {
        let secs = |time: Option<WallTime>| time.map_or(0.0, |time| time.unix_secs() as f64);
        self.start.set(&[], secs(self.times.start_time));
        self.end.set(&[], secs(self.times.end_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_upstreams() {
        let start = WallTime::from_unix_nanos(1_764_410_400_123_000_000);
        let times = Times { start_time: Some(start), end_time: None };
        let text = r#"{"startTime":"2025-11-29T10:00:00.123Z","endTime":"0001-01-01T00:00:00Z"}"#;
        assert_eq!(serde_json::to_string(&times).unwrap(), text);
        assert_eq!(serde_json::from_str::<Times>(text).unwrap(), times);
        // Go writes the zone of the machine.
        let text = r#"{"startTime":"2025-11-29T11:00:00.123+01:00","endTime":"0001-01-01T00:00:00Z"}"#;
        assert_eq!(serde_json::from_str::<Times>(text).unwrap(), times);
        assert_eq!(serde_json::from_str::<Times>("{}").unwrap(), Times::default());
    }
}
