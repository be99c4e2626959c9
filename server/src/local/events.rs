//! `GET /v1/events`: the events that are kept, and with `follow` those that come, a line of JSON each time.

use std::sync::Arc;

use bytes::Bytes;
use core_types::local::EventsLine;
use ports::Control;
use tokio_util::sync::CancellationToken;

use super::api::{WATCH_HEARTBEAT, WATCH_PAUSE};
use crate::ServerContext;

/// Whether a reader stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It wants what there is.
    Once,
    /// It wants what comes, too.
    Following,
}

/// One reader: up to where it has read.
pub(super) struct Reader {
    pub(super) context: ServerContext,
    pub(super) stop: CancellationToken,
    pub(super) reading: Reading,
    pub(super) revision: Option<u64>,
}

impl Reader {
    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let control: Arc<dyn Control> = Arc::clone(&self.context.control);
        if let Some(revision) = self.revision {
            if self.reading == Reading::Once {
                return None;
            }
            let news = async {
                control.events_after(revision).await;
                // What comes together goes into one line.
                tokio::time::sleep(WATCH_PAUSE).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = news => {}
                () = tokio::time::sleep(WATCH_HEARTBEAT) => return Some(Bytes::from_static(b"\n")),
            }
        }
        let news = tokio::select! {
            () = self.stop.cancelled() => return None,
            news = control.events_since(self.revision.unwrap_or(0)) => news,
        };
        self.revision = Some(news.revision);
        let line = EventsLine { events: news.events, now: self.context.clock.wall() };
        let mut line = serde_json::to_vec(&line).ok()?;
        line.push(b'\n');
        Some(line.into())
    }
}
