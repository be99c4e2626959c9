//! Connections to the API server: HTTP/2 over TLS, shared by all requests.
//!
//! ```text
//! no connection --dial--> open --all streams taken--> another one is dialled as well
//!                          | credentials replaced, or told to reconnect
//!                          v
//!                       retired: takes no new request; open streams have RETIRE_GRACE to end, then it is cut
//! ```
//!
//! A connection on which nothing arrives for 30 s is asked for a sign of life and given up after 15 s more, so a half-open one is
//! noticed while a watch is open (client-go's own times). Without open streams nothing is sent.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use core_types::Secret;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credentials, Token};
use crate::kubeconfig::read_bounded;
use crate::server::Server;

/// Quiet for this long: ask whether the other side is there.
const PING_AFTER: Duration = Duration::from_secs(30);
/// No sign of life for this long after that: the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Name lookup, TCP and TLS together. A server that is there needs milliseconds.
const DIAL_LIMIT: Duration = Duration::from_secs(15);
/// How long requests of a retired connection may take to end.
const RETIRE_GRACE: Duration = Duration::from_secs(10);
/// Streams on one connection: the API server allows 100, and one more would wait for another to end.
const MAX_STREAMS: usize = 96;
/// How old the content of a token file may be, as in client-go.
const TOKEN_AGE: Duration = Duration::from_secs(60);

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) message: String,
}

/// The body of an answer, with its place on the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Incoming,
    _place: OwnedSemaphorePermit,
}

/// What connections were made with.
#[derive(Debug)]
struct Session {
    credentials: Credentials,
    retired: CancellationToken,
}

#[derive(Debug)]
struct Connection {
    session: Arc<Session>,
    sender: SendRequest<Full<Bytes>>,
    streams: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Pool {
    open: Vec<Connection>,
    /// Drives the connections; ends them with the client.
    tasks: JoinSet<()>,
}

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Transport {
    server: Server,
    session: Mutex<Arc<Session>>,
    pool: tokio::sync::Mutex<Pool>,
    token: Mutex<Option<(Instant, HeaderValue)>>,
}

impl Transport {
    pub(crate) fn new(server: Server, credentials: Credentials) -> Self {
        let session = Session { credentials, retired: CancellationToken::new() };
        Self {
            server,
            session: Mutex::new(Arc::new(session)),
            pool: tokio::sync::Mutex::default(),
            token: Mutex::default(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// New requests use these; connections made with the old ones are retired.
    pub(crate) fn replace(&self, credentials: Credentials) {
        let fresh = Arc::new(Session { credentials, retired: CancellationToken::new() });
        let old = std::mem::replace(&mut *self.session.lock().unwrap_or_else(PoisonError::into_inner), fresh);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        old.retired.cancel();
    }

    /// Retires every connection.
    pub(crate) fn reconnect(&self) {
        let credentials = self.current().credentials.clone();
        self.replace(credentials);
    }

    /// Sends a request whose path stands in its URI, and gives the head of the answer. A request that never left because its
    /// connection was closed meanwhile goes over a new one.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Answer>, SendError> {
        if let Some(token) = self.authorization().await? {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let mut last = None;
        for _try in 0..2 {
            let (mut sender, place) = self.connection().await?;
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer.map(|body| Answer { body, _place: place })),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => {
                        request = unsent;
                        last = Some(failed(error.error()));
                    }
                    None => return Err(failed(error.error())),
                },
            }
        }
        Err(last.unwrap_or_else(|| SendError { message: "the connection closed".to_owned() }))
    }

    fn current(&self) -> Arc<Session> {
        Arc::clone(&self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection with a free stream. One is dialled at a time: whoever needs one too waits for it.
    async fn connection(&self) -> Result<(SendRequest<Full<Bytes>>, OwnedSemaphorePermit), SendError> {
        let mut pool = self.pool.lock().await;
        let session = self.current();
        pool.open.retain(|open| Arc::ptr_eq(&open.session, &session) && !open.sender.is_closed());
        for open in &pool.open {
            if let Ok(place) = Arc::clone(&open.streams).try_acquire_owned() {
                return Ok((open.sender.clone(), place));
            }
        }
        while pool.tasks.try_join_next().is_some() {}
        let dial = self.dial(&session, &mut pool.tasks);
        let sender = tokio::time::timeout(DIAL_LIMIT, dial)
            .await
            .map_err(|_elapsed| SendError { message: format!("no connection within {DIAL_LIMIT:?}") })??;
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let place = Arc::clone(&streams).try_acquire_owned();
        let place = place.map_err(|error| SendError { message: error.to_string() })?;
        pool.open.push(Connection { session, sender: sender.clone(), streams });
        Ok((sender, place))
    }

    async fn dial(
        &self,
        session: &Session,
        tasks: &mut JoinSet<()>,
    ) -> Result<SendRequest<Full<Bytes>>, SendError> {
        let told =
            |what: &str, error: &dyn Error| SendError { message: format!("{what}: {}", root_cause(error)) };
        let stream = TcpStream::connect((self.server.host.as_str(), self.server.port)).await;
        let stream = stream.map_err(|error| told("connect", &error))?;
        // Requests are small and wait for answers; Nagle's algorithm would only delay them.
        stream.set_nodelay(true).map_err(|error| told("connect", &error))?;
        let connector = TlsConnector::from(Arc::clone(&session.credentials.tls));
        let stream = connector.connect(self.server.tls_name.clone(), stream).await;
        let stream = stream.map_err(|error| told("TLS", &error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(SendError { message: "the server does not speak HTTP/2".to_owned() });
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let retired = session.retired.clone();
        tasks.spawn(async move {
            tokio::pin!(connection);
            tokio::select! {
                // How it ended shows in its requests.
                _ended = &mut connection => {}
                () = retired.cancelled() => {
                    let _ = tokio::time::timeout(RETIRE_GRACE, connection).await;
                }
            }
        });
        Ok(sender)
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, SendError> {
        let session = self.current();
        match &session.credentials.token {
            Token::None => Ok(None),
            Token::Fixed(token) => bearer(token).map(Some),
            Token::File(path) => {
                if let Some(kept) = self.kept_token() {
                    return Ok(Some(kept));
                }
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || read_bounded(&file)).await;
                let read = read.map_err(std::io::Error::other).and_then(|read| read);
                let bytes = read.map_err(|error| SendError {
                    message: format!("read the token file {}: {error}", path.display()),
                })?;
                let token = bearer(&Secret::new(String::from_utf8_lossy(&bytes).trim().to_owned()))?;
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), token.clone()));
                Ok(Some(token))
            }
        }
    }

    fn kept_token(&self) -> Option<HeaderValue> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(at, _)| at.elapsed() < TOKEN_AGE).map(|(_, token)| token.clone())
    }
}

fn bearer(token: &Secret<String>) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_error| SendError { message: "the token cannot be sent in a header".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn failed(error: &hyper::Error) -> SendError {
    SendError { message: root_cause(error) }
}

/// The innermost cause, which is the one that says something.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
