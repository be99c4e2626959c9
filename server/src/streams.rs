//! Streams of exec, attach and port-forward: a client on one side, the container runtime's streaming server on the other
//! (CONTRACT 2.6).
//!
//! ```text
//! SPDY, WebSocket v4  --- pass:      the upgrade is forwarded, then bytes go both ways ---------> runtime
//! WebSocket v5        --- translate: messages of channels become frames of SPDY streams -------> runtime
//! WebSocket SPDY/3.1+ --- tunnel:    what the messages hold is SPDY already ------------------> runtime
//! ```
//! Reads the address that the runtime gave. Holds two connections for each stream, at most [`MAX_STREAMS`] streams, and one
//! buffer for each direction: who does not read holds up who writes, and nobody else. A stream ends with either side, with
//! the listener, or when nothing moved for `streamingConnectionIdleTimeout`. No client is ever sent elsewhere.

mod runtime;
mod splice;
mod translate;
mod tunnel;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::runtime::{Asking, Target};
use self::splice::{Activity, splice};
pub(crate) use self::websocket::{asks_to_translate, asks_to_tunnel, is_websocket};
use crate::body::{Body, text};
use crate::listener::Tasks;

/// Streams at once on one listener: as many as connections, for each began as one.
const MAX_STREAMS: usize = 1024;
/// Size of a refusal of the runtime that is passed on.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// The protocol that is spoken with the runtime.
const SPDY: &str = "SPDY/3.1";
/// Names the protocol inside SPDY.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Why no stream came about; the message is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The client asked for a stream without an upgrade.
    #[error("Upgrade request required")]
    NoUpgrade,
    /// The client's WebSocket handshake is not right.
    #[error("{0}")]
    Handshake(&'static str),
    /// Too many streams are open.
    #[error("maximum number of in-flight requests exceeded")]
    TooMany,
    /// The URL is not one that can be reached.
    #[error("the container runtime gave the stream address {url:?}, which cannot be used: {problem}")]
    Address {
        /// URL without its token.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The streaming server does not answer.
    #[error("error dialing backend: the container runtime's streaming server at {address}: {problem}")]
    Runtime {
        /// Host and port.
        address: String,
        /// What went wrong.
        problem: String,
    },
    /// The runtime answered with what is neither an upgrade nor an error.
    #[error("invalid upgrade response: status code {0}")]
    NoUpgradeAnswer(u16),
}

impl StreamError {
    /// Status that goes with it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Handshake(_) => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoUpgrade | Self::Address { .. } | Self::Runtime { .. } | Self::NoUpgradeAnswer(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

/// True when the request asks for another protocol.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let upgrades = connection
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    upgrades && headers.contains_key(header::UPGRADE)
}

/// The streams of one listener.
#[derive(Clone)]
pub(crate) struct Streams {
    tasks: Tasks,
    idle_limit: Option<Duration>,
    slots: Arc<Semaphore>,
}

impl Streams {
    /// Streams that end with these tasks, or after this time without a byte; zero for no limit.
    pub(crate) fn new(tasks: Tasks, idle_limit: Duration) -> Self {
        let idle_limit = (!idle_limit.is_zero()).then_some(idle_limit);
        Self { tasks, idle_limit, slots: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// A place among the streams, until dropped.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit, StreamError> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_full| StreamError::TooMany)
    }

    /// Forwards the upgrade to `url` and, if the runtime takes it, copies bytes both ways.
    pub(crate) async fn pass(
        &self,
        request: Request<Incoming>,
        url: &str,
    ) -> Result<Response<Body>, StreamError> {
        if !is_upgrade(request.headers()) {
            return Err(StreamError::NoUpgrade);
        }
        let slot = self.slot()?;
        let answer = Target::parse(url)?.ask(Asking::forwarded(&request), &self.tasks).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return refusal(answer).await;
        }
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, Bytes::new());
        *response.headers_mut() = answer.headers().clone();
        let (client, runtime) = (hyper::upgrade::on(request), hyper::upgrade::on(answer));
        let activity = Activity::new(self.idle_limit);
        self.tasks.spawn(async move {
            let _slot = slot;
            match tokio::try_join!(client, runtime) {
                Ok((client, runtime)) => {
                    splice(TokioIo::new(client), TokioIo::new(runtime), &activity).await;
                }
                Err(error) => tracing::debug!(%error, "a stream was not taken up"),
            }
        });
        Ok(response)
    }
}

/// What the runtime says instead of an upgrade, passed on.
async fn refusal(answer: Response<Incoming>) -> Result<Response<Body>, StreamError> {
    let status = answer.status();
    if status.as_u16() < 400 {
        return Err(StreamError::NoUpgradeAnswer(status.as_u16()));
    }
    let body = Limited::new(answer.into_body(), MAX_REFUSAL_BYTES).collect().await;
    // What was too long or broke off is told by its status alone.
    Ok(text(status, body.map(|body| body.to_bytes()).unwrap_or_default()))
}
