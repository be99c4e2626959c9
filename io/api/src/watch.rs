//! One watch: lines of JSON on a body that goes on, until the server ends it.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::{ApiError, ApiResult};
use serde::Deserialize;
use tokio::time::Instant;

use crate::client::{ApiClient, ApiObject, Parts, lean};
use crate::codec::{self, Frame};
use crate::refusal;
use crate::transport::{Answer, root_cause};

/// Largest event. The API server keeps no object of more than some 3 MiB.
const MAX_EVENT_BYTES: usize = 8 << 20;

/// Annotation of the bookmark that ends the initial events of a streaming list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum WatchEvent<K> {
    /// New or changed.
    Applied(K),
    /// Gone.
    Deleted(K),
    /// Nothing happened up to this version.
    Bookmark { version: String, completes: Initial },
}

/// What a bookmark says of the initial events of a streaming list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    /// All have been sent.
    Complete,
    /// Nothing.
    Unmentioned,
}

#[derive(Default, Deserialize)]
struct Bookmark {
    #[serde(default)]
    metadata: ObjectMeta,
}

/// An open watch.
pub(crate) struct WatchStream<K> {
    client: ApiClient,
    parts: Parts,
    answer: Answer,
    buffer: BytesMut,
    /// Bytes at the start of the buffer that hold no end of line.
    searched: usize,
    /// The server should have ended it by then.
    deadline: Instant,
    kind: PhantomData<fn() -> K>,
}

impl<K: ApiObject> WatchStream<K> {
    /// Opens it; `limit` is how long it may go on.
    pub(crate) async fn open(client: &ApiClient, parts: Parts, limit: Duration) -> ApiResult<Self> {
        let deadline = Instant::now() + limit;
        let answer = client.begin(&parts).await?.into_body();
        Ok(Self {
            client: client.clone(),
            parts,
            answer,
            buffer: BytesMut::new(),
            searched: 0,
            deadline,
            kind: PhantomData,
        })
    }

    /// The next event; `None` when the server has ended the watch in order.
    pub(crate) async fn next(&mut self) -> Option<ApiResult<WatchEvent<K>>> {
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(self.event(&line));
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                return Some(Err(self
                    .parts
                    .malformed(format!("an event is larger than {MAX_EVENT_BYTES} bytes"))));
            }
            match tokio::time::timeout_at(self.deadline, self.answer.body.frame()).await {
                Err(_late) => return None,
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(error))) => {
                    return Some(Err(self.client.unreachable(&self.parts, root_cause(&error))));
                }
            }
        }
    }

    fn line(&mut self) -> Option<BytesMut> {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    fn event(&self, line: &[u8]) -> ApiResult<WatchEvent<K>> {
        let malformed = |problem| self.parts.malformed(problem);
        let frame = Frame::split(line).map_err(malformed)?;
        let object = frame.object.get().as_bytes();
        match frame.kind {
            "ADDED" | "MODIFIED" => {
                codec::decode(object).map(|k| WatchEvent::Applied(lean(k))).map_err(malformed)
            }
            "DELETED" => codec::decode(object).map(|k| WatchEvent::Deleted(lean(k))).map_err(malformed),
            "BOOKMARK" => codec::decode(object).map(bookmark).map_err(malformed),
            "ERROR" => Err(match refusal::of_object(object) {
                Some(status) => {
                    ApiError::Refused { request: self.parts.name().to_owned(), status: Box::new(status) }
                }
                None => malformed("the watch ended with an error that is no Status".to_owned()),
            }),
            other => Err(malformed(format!("the watch tells an event of the unknown type {other:?}"))),
        }
    }
}

fn bookmark<K>(bookmark: Bookmark) -> WatchEvent<K> {
    let annotations = bookmark.metadata.annotations.unwrap_or_default();
    let completes = match annotations.get(INITIAL_EVENTS_END).map(String::as_str) {
        Some("true") => Initial::Complete,
        _ => Initial::Unmentioned,
    };
    WatchEvent::Bookmark { version: bookmark.metadata.resource_version.unwrap_or_default(), completes }
}
