//! Opens the connection to a socket when a call needs it, and spaces failed attempts (CONTRACT 0.3).
//!
//! ```text
//! open --connection breaks--> closed --call--> connecting --ok--> open
//!                               ^                  | fails: the call fails, next attempt after a delay of
//!                               +------------------+ 100 ms growing to 3 s
//! ```
//!
//! While the delay runs, calls fail at once with the last cause. A new socket file ends the delay: a runtime
//! that has just started is used by the very next call. There is no timer and no task: nothing happens
//! without a call.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint as Transport, Uri};

use crate::endpoint::Endpoint;

/// Delay after the first failed attempt.
const BASE_DELAY: Duration = Duration::from_millis(100);
/// Upper bound of the delay.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// Growth of the delay per failed attempt, gRPC's own.
const DELAY_FACTOR: f64 = 1.6;
/// How long one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Unread bytes that one call may have under way.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for the connection: many times a call's, so that an event stream that nobody reads for a while
/// holds up no other call.
const CONNECTION_WINDOW_BYTES: u32 = 16 * STREAM_WINDOW_BYTES;

/// A channel to the socket that connects when first used. Must be called inside a tokio runtime, which then
/// drives the connection.
pub(crate) fn channel(endpoint: &Endpoint) -> Channel {
    let path: Arc<Path> = endpoint.path().into();
    let backoff = Arc::new(Mutex::new(Backoff::default()));
    let connector = tower::service_fn(move |_: Uri| connect(Arc::clone(&path), Arc::clone(&backoff)));
    // The URI never leaves this machine; its host is what the server sees as `:authority`, and servers insist
    // on a valid one, which a path is not.
    Transport::from_static("http://localhost")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(connector)
}

/// Looks at the socket file without leaving the thread: `connect(2)` walks the same path in the same way. So
/// an attempt is over when it is first polled, and the channel never keeps one whose call was given up for a
/// later call to fail by.
async fn connect(path: Arc<Path>, backoff: Arc<Mutex<Backoff>>) -> io::Result<TokioIo<UnixStream>> {
    let socket = SocketId::of(&path);
    lock(&backoff).check(Instant::now(), socket)?;
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(&path)).await;
    let connected = connecting.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_TIMEOUT:?}")))
    });
    match connected {
        Ok(stream) => {
            *lock(&backoff) = Backoff::default();
            Ok(TokioIo::new(stream))
        }
        Err(error) => {
            lock(&backoff).failed(Instant::now(), socket, &error);
            Err(error)
        }
    }
}

fn lock(backoff: &Mutex<Backoff>) -> MutexGuard<'_, Backoff> {
    backoff.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What tells one socket file from the one that a restarted server puts in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SocketId {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl SocketId {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) })
    }
}

/// Failed attempts since the last connection.
#[derive(Debug, Default)]
struct Backoff {
    failures: i32,
    last: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    retry_at: Instant,
    socket: Option<SocketId>,
    kind: io::ErrorKind,
    message: String,
}

impl Backoff {
    /// The last failure again, if the next attempt is not due and the socket is still the same.
    fn check(&self, now: Instant, socket: Option<SocketId>) -> io::Result<()> {
        match &self.last {
            Some(last) if now < last.retry_at && last.socket == socket => {
                Err(io::Error::new(last.kind, last.message.clone()))
            }
            _ => Ok(()),
        }
    }

    fn failed(&mut self, now: Instant, socket: Option<SocketId>, error: &io::Error) {
        let delay = MAX_DELAY.min(BASE_DELAY.mul_f64(DELAY_FACTOR.powi(self.failures.min(16))));
        self.failures = self.failures.saturating_add(1);
        self.last =
            Some(Failure { retry_at: now + delay, socket, kind: error.kind(), message: error.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<SocketId> = Some(SocketId { device: 1, inode: 7, changed: (1, 0) });
    const NEW: Option<SocketId> = Some(SocketId { device: 1, inode: 7, changed: (2, 0) });

    fn refused() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionRefused, "refused")
    }

    #[test]
    fn delay_grows_from_100_ms_to_3_s() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..40 {
            backoff.failed(start, OLD, &refused());
            delays.push(backoff.last.as_ref().unwrap().retry_at - start);
        }
        assert_eq!(delays[..3], [100, 160, 256].map(Duration::from_millis));
        assert!(delays.is_sorted());
        assert_eq!(delays[39], MAX_DELAY);
    }

    #[test]
    fn attempts_wait_for_the_delay_or_for_a_new_socket() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.check(start, OLD).is_ok());
        backoff.failed(start, OLD, &refused());
        let early = start + Duration::from_millis(99);
        assert_eq!(backoff.check(early, OLD).unwrap_err().to_string(), "refused");
        assert!(backoff.check(early, NEW).is_ok());
        assert!(backoff.check(early, None).is_ok());
        assert!(backoff.check(start + BASE_DELAY, OLD).is_ok());
    }
}
