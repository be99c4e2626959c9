//! The accept loop, one connection, and the bounds of both; [`crate::seats`] says who makes room.
//!
//! ```text
//! bind -> accept loop -> connection task (hyper) -> handler
//!              |               |
//!            stop: no more   stop: finishes its requests; abort: dropped
//! ```
//! Every task belongs to the tracker of its [`ServerHandle`]; [`ServerHandle::shutdown`] waits for them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ServeError;
use crate::body::{Body, guarded};
use crate::seats::{Seat, Seats};

/// A connection without a request is closed after this, as upstream does. It also bounds the time for one head.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Size of a request head, as upstream; only a connection that sends so much uses so much.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Header fields of a request. Browsers and Go clients send fewer than 30.
const MAX_HEADERS: usize = 128;
/// Concurrent HTTP/2 streams of one connection; Go's default.
const MAX_HTTP2_STREAMS: u32 = 250;
/// Pause after the system refused a connection (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// HTTP versions of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/1.1 alone: without TLS there is nobody who speaks HTTP/2.
    Http1,
    /// Both, the client chooses.
    Http1And2,
}

/// A running listener. Dropping it does not stop the listener; [`ServerHandle::shutdown`] does.
#[derive(Debug)]
pub struct ServerHandle {
    address: String,
    socket_address: Option<SocketAddr>,
    tasks: Tasks,
}

impl ServerHandle {
    pub(crate) fn new(address: String, socket_address: Option<SocketAddr>, tasks: Tasks) -> Self {
        Self { address, socket_address, tasks }
    }

    /// Where it listens: `address:port` or a path.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bound TCP address; tells the port when port 0 was asked for. `None` for a unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.socket_address
    }

    /// Stops accepting, lets open requests finish for at most `grace`, then drops them.
    pub async fn shutdown(self, grace: Duration) {
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        if tokio::time::timeout(grace, self.tasks.tracker.wait()).await.is_err() {
            self.tasks.abort.cancel();
            self.tasks.tracker.wait().await;
        }
    }
}

/// The tasks of one listener and the two signals that end them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    /// Runs what the listener has started.
    pub(crate) tracker: TaskTracker,
    /// Finish.
    pub(crate) stop: CancellationToken,
    /// End at once.
    pub(crate) abort: CancellationToken,
}

impl Tasks {
    /// Starts a task that ends with the listener.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        self.tracker.spawn(async move {
            abort.run_until_cancelled(task).await;
        });
    }
}

/// Something that gives connections.
pub(crate) trait Accept: Send + 'static {
    /// A connection.
    type Io: Send + 'static;
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;
    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Binds a TCP address.
pub(crate) async fn bind(
    purpose: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind { purpose, address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A connection that was accepted.
pub(crate) struct Connection<I> {
    /// What is read and written.
    pub(crate) io: I,
    /// Its seat.
    pub(crate) seat: Seat,
}

/// Accepts until the stop signal, with at most `max_connections` at once; more make the longest idle leave, and wait in the
/// kernel's queue while all are busy.
pub(crate) async fn accept_loop<L, F, C>(listener: L, max_connections: usize, tasks: Tasks, connection: F)
where
    L: Accept,
    F: Fn(Connection<L::Io>) -> C + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let seats = Seats::new(max_connections);
    loop {
        match tasks.stop.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok(io)) => match tasks.stop.run_until_cancelled(seats.take()).await.flatten() {
                Some(seat) => tasks.spawn(connection(Connection { io, seat })),
                None => return,
            },
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection until it ends, is idle too long, has to make room, or the listener stops.
pub(crate) async fn serve_connection<I, H, F>(
    connection: Connection<I>,
    protocols: Protocols,
    tasks: Tasks,
    handler: H,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Connection { io, seat } = connection;
    let usage = Arc::new(Usage::new(seat));
    let counted = Arc::clone(&usage);
    let service = hyper::service::service_fn(move |request| {
        let in_flight = InFlight::new(&counted);
        let answer = handler(request);
        async move { Ok::<_, std::convert::Infallible>(guarded(answer.await, in_flight)) }
    });
    let builder = builder(protocols);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(error, "connection ended");
                }
                return;
            }
            () = tasks.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            // Who has not finished asking holds what others want.
            () = usage.seat.asked_to_leave() => return,
            () = tokio::time::sleep_until(usage.idle_at()), if !stopping => {
                if usage.is_idle() {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn builder(protocols: Protocols) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if protocols == Protocols::Http1 {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .max_concurrent_streams(MAX_HTTP2_STREAMS);
    builder
}

/// Requests in flight on one connection, and when the last one ended.
struct Usage {
    in_flight: AtomicUsize,
    last_end: Mutex<Instant>,
    seat: Seat,
}

impl Usage {
    fn new(seat: Seat) -> Self {
        Self { in_flight: AtomicUsize::new(0), last_end: Mutex::new(Instant::now()), seat }
    }

    fn idle_at(&self) -> Instant {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Instant::now() + IDLE_TIMEOUT;
        }
        *self.last_end.lock().unwrap_or_else(PoisonError::into_inner) + IDLE_TIMEOUT
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && self.idle_at() <= Instant::now()
    }
}

struct InFlight(Arc<Usage>);

impl InFlight {
    fn new(usage: &Arc<Usage>) -> Self {
        usage.in_flight.fetch_add(1, Ordering::Relaxed);
        usage.seat.is_busy();
        Self(Arc::clone(usage))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.last_end.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.seat.is_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::body::text;

    fn answer_ok(_: Request<Incoming>) -> std::future::Ready<Response<Body>> {
        std::future::ready(text(StatusCode::OK, "ok"))
    }

    async fn seated(io: DuplexStream) -> Connection<DuplexStream> {
        Connection { io, seat: Seats::new(1).take().await.expect("a seat") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed_after_90_s() {
        for protocols in [Protocols::Http1, Protocols::Http1And2] {
            let (_client, server) = duplex(4096);
            let began = Instant::now();
            serve_connection(seated(server).await, protocols, Tasks::default(), answer_ok).await;
            assert!((90..95).contains(&began.elapsed().as_secs()), "{protocols:?}: {:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_connection_is_closed_90_s_after_its_answer() {
        let (mut client, server) = duplex(4096);
        let began = Instant::now();
        let talk = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("write");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read");
            String::from_utf8(answer).expect("text")
        };
        let serve = serve_connection(seated(server).await, Protocols::Http1, Tasks::default(), answer_ok);
        let (answer, ()) = tokio::join!(talk, serve);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!((150..155).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn no_more_connections_than_allowed_are_served_at_once() {
        let (listener, address) = bind("test", crate::testing::ANY_PORT).await.expect("bind");
        let tasks = Tasks::default();
        let busy = Arc::new(AtomicUsize::new(0));
        let (seen, gate) = (Arc::clone(&busy), Arc::new(Semaphore::new(0)));
        let held = Arc::clone(&gate);
        tasks.tracker.spawn(accept_loop(
            listener,
            1,
            tasks.clone(),
            move |connection: Connection<TcpStream>| {
                let (busy, gate) = (Arc::clone(&seen), Arc::clone(&held));
                async move {
                    assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "a second connection at once");
                    let _ = gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
                    busy.fetch_sub(1, Ordering::SeqCst);
                    drop(connection);
                }
            },
        ));
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.expect("connect"));
        }
        for client in &mut clients {
            gate.add_permits(1);
            let mut nothing = [0];
            assert_eq!(client.read(&mut nothing).await.expect("closed"), 0);
        }
        ServerHandle::new(address.to_string(), Some(address), tasks).shutdown(Duration::from_secs(5)).await;
    }
}
