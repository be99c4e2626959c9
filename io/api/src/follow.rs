//! Follows a collection, or one object of it, for ever: list, watch, go on after whatever happens.
//!
//! ```text
//!            streaming list refused once (400, 422, 500): a plain list from then on
//!  no version --------------------------------------------> Replaced, version known
//!      ^                                                        |  watch from the version
//!      | 410: the version is too old                            v
//!      +--------------------------------------------------- events, bookmarks move the version on
//!                                                               |  ended, broken, refused: back-off, watch from the version again
//!                                                               +--> (same)
//! ```
//!
//! Keeps no objects but those of an unfinished streaming list: whoever follows has them anyway. Reads nothing but the server;
//! guarantees that the events, applied in order, give what the server has.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ports::{ApiError, ApiResult, Collection, ObjectEvent};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{ApiClient, ApiObject, Parts, Selector};
use crate::path::ObjectPath;
use crate::watch::{Initial, WatchEvent, WatchStream};

/// A watch lasts between once and twice this, as in client-go, so that a server that was replaced gets its clients back by and by.
const WATCH_TIME: Duration = Duration::from_secs(5 * 60);
/// A server that has not ended a watch this long after its time is not there any more.
const WATCH_SLACK: Duration = Duration::from_secs(60);
/// A watch that ends sooner than this without an event counts as a failure.
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// How the first list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListMode {
    /// As the first events of a watch.
    Streaming,
    /// By a request of its own: the server does not know the other.
    Plain,
}

/// Follows the objects of one path.
pub struct Follower<K> {
    client: ApiClient,
    path: ObjectPath,
    selector: Selector,
    mode: ListMode,
    /// What the follower was told last; `None` before the first list and after a 410.
    version: Option<String>,
    /// The objects of a streaming list that is not complete.
    initial: Option<BTreeMap<String, K>>,
    watch: Option<Watch<K>>,
    backoff: Backoff,
    pause: Duration,
}

struct Watch<K> {
    stream: WatchStream<K>,
    opened: Instant,
}

impl<K: ApiObject> Follower<K> {
    /// Nothing is asked before the first [`Follower::next`].
    pub fn new(client: ApiClient, path: ObjectPath, selector: Selector) -> Self {
        Self {
            client,
            path,
            selector,
            mode: ListMode::Streaming,
            version: None,
            initial: None,
            watch: None,
            backoff: Backoff::default(),
            pause: Duration::ZERO,
        }
    }

    /// What happens next. Waits as long as nothing does. May be dropped half-way; nothing is lost then.
    pub async fn next(&mut self) -> ObjectEvent<K> {
        loop {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
                self.pause = Duration::ZERO;
            }
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => {
                    if let Some(interruption) = self.interrupted(error) {
                        return ObjectEvent::Interrupted(interruption);
                    }
                }
            }
        }
    }

    /// As a stream that never ends.
    pub fn into_stream(self) -> BoxStream<'static, ObjectEvent<K>> {
        let next = |mut follower: Self| async move { Some((follower.next().await, follower)) };
        stream::unfold(self, next).boxed()
    }

    async fn step(&mut self) -> ApiResult<Option<ObjectEvent<K>>> {
        let Some(watch) = &mut self.watch else { return self.open().await };
        match watch.stream.next().await {
            Some(event) => {
                let event = event?;
                self.backoff.reset();
                Ok(self.take(event))
            }
            None => {
                if watch.opened.elapsed() < SHORT_WATCH {
                    self.pause = self.backoff.next();
                }
                self.watch = None;
                // A streaming list that ends early starts over.
                if self.initial.take().is_some() {
                    self.version = None;
                }
                Ok(None)
            }
        }
    }

    /// Lists, or opens the next watch.
    async fn open(&mut self) -> ApiResult<Option<ObjectEvent<K>>> {
        if self.version.is_none() && self.mode == ListMode::Plain {
            let list = self.client.list(&self.path, &self.selector).await?;
            self.version = Some(list.resource_version);
            return Ok(Some(ObjectEvent::Replaced(list.items)));
        }
        let time = WATCH_TIME.mul_f64(1.0 + fastrand::f64());
        let seconds = time.as_secs().to_string();
        let mut pairs = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds.as_str()),
            ("fieldSelector", self.selector.fields.as_str()),
            ("labelSelector", self.selector.labels.as_str()),
        ];
        match &self.version {
            Some(version) => pairs.push(("resourceVersion", version.as_str())),
            None => pairs.extend([("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]),
        }
        let stream =
            WatchStream::open(&self.client, Parts::get(&self.path, &pairs), time + WATCH_SLACK).await?;
        self.initial = self.version.is_none().then(BTreeMap::new);
        self.watch = Some(Watch { stream, opened: Instant::now() });
        Ok(None)
    }

    fn take(&mut self, event: WatchEvent<K>) -> Option<ObjectEvent<K>> {
        match event {
            WatchEvent::Bookmark { version, completes } => {
                self.advance(version);
                if completes == Initial::Unmentioned {
                    return None;
                }
                let complete = self.initial.take()?;
                Some(ObjectEvent::Replaced(complete.into_values().collect()))
            }
            WatchEvent::Applied(object) => match &mut self.initial {
                Some(initial) => {
                    initial.insert(key(&object), object);
                    None
                }
                None => {
                    self.advance(version_of(&object));
                    Some(ObjectEvent::Applied(object))
                }
            },
            WatchEvent::Deleted(object) => match &mut self.initial {
                Some(initial) => {
                    initial.remove(&key(&object));
                    None
                }
                None => {
                    self.advance(version_of(&object));
                    Some(ObjectEvent::Deleted(object))
                }
            },
        }
    }

    /// Goes on from this version; the bookmark that completes a streaming list brings the first one.
    fn advance(&mut self, version: String) {
        if !version.is_empty() {
            self.version = Some(version);
        }
    }

    /// What an error means for the next step; gives it back when whoever follows should know of it.
    fn interrupted(&mut self, error: ApiError) -> Option<ApiError> {
        self.watch = None;
        if self.initial.take().is_some() || error.is_expired() {
            self.version = None;
        }
        if self.version.is_none() && self.mode == ListMode::Streaming && cannot_stream_lists(&error) {
            self.mode = ListMode::Plain;
            return None;
        }
        self.pause = self.backoff.next();
        if let Some(asked) = error.status().and_then(|status| status.retry_after) {
            self.pause = self.pause.max(asked);
        }
        (!error.is_expired()).then_some(error)
    }
}

/// Every object of each kind that is asked for.
#[derive(Clone, Debug)]
pub struct ApiCollections {
    client: ApiClient,
}

impl ApiCollections {
    /// Follows through this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }
}

impl<K: ApiObject> Collection<K> for ApiCollections {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<K>> {
        Follower::new(self.client.clone(), ObjectPath::all::<K>(), Selector::default()).into_stream()
    }
}

/// Whether the server does not know streaming lists (400, 422), or cannot make them on its storage (500: an etcd before 3.5).
fn cannot_stream_lists(error: &ApiError) -> bool {
    error.status().is_some_and(|status| matches!(status.code, 400 | 422 | 500))
}

fn key<K: ApiObject>(object: &K) -> String {
    let meta = object.metadata();
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn version_of<K: ApiObject>(object: &K) -> String {
    object.metadata().resource_version.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests;
