//! Connects a client to the container runtime's streaming server, byte for byte (CONTRACT 2.6).
//!
//! The upgrade request is forwarded as it is, so the two ends choose the protocol (SPDY/3.1 or WebSocket) by themselves.
//! Holds two connections for each stream, both ended with the listener.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::body::{Body, text};
use crate::listener::Tasks;

/// Time to connect to the runtime and get its answer: it is a process on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of a refusal of the runtime that is passed on.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// Headers that make up the upgrade. Nothing else of the client's request concerns the runtime.
const FORWARDED: [HeaderName; 7] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    HeaderName::from_static("x-stream-protocol-version"),
];

/// Why no stream came about; the message is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The client asked for a stream without an upgrade.
    #[error(
        "a stream needs an upgraded connection: send Connection: Upgrade and Upgrade: SPDY/3.1 or websocket"
    )]
    NoUpgrade,
    /// The URL is not one that can be reached.
    #[error("the container runtime gave the stream address {url:?}, which cannot be used: {problem}")]
    Address {
        /// URL without its token.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The streaming server does not answer.
    #[error("the container runtime's streaming server at {address}: {problem}")]
    Runtime {
        /// Host and port.
        address: String,
        /// What went wrong.
        problem: String,
    },
}

impl ProxyError {
    /// Status that goes with it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoUpgrade => StatusCode::BAD_REQUEST,
            Self::Address { .. } | Self::Runtime { .. } => StatusCode::BAD_GATEWAY,
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

/// Forwards the upgrade to `url` and, if the runtime takes it, copies bytes both ways in a task of the listener.
pub(crate) async fn upgrade(
    request: Request<Incoming>,
    url: &str,
    tasks: &Tasks,
) -> Result<Response<Body>, ProxyError> {
    if !is_upgrade(request.headers()) {
        return Err(ProxyError::NoUpgrade);
    }
    let target = Target::parse(url)?;
    let answer = tokio::time::timeout(CONNECT_TIMEOUT, target.ask(&request, tasks))
        .await
        .unwrap_or_else(|_elapsed| Err(target.error(format!("no answer within {CONNECT_TIMEOUT:?}"))))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let refusal = Limited::new(answer.into_body(), MAX_REFUSAL_BYTES).collect().await;
        let refusal = refusal.map_err(|error| target.error(error.to_string()))?.to_bytes();
        return Ok(text(status, refusal));
    }
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, Bytes::new());
    *response.headers_mut() = answer.headers().clone();
    let runtime = hyper::upgrade::on(answer);
    let client = hyper::upgrade::on(request);
    tasks.spawn(async move {
        let (client, runtime) = match tokio::try_join!(client, runtime) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "a stream was not taken up"),
        };
        if let Err(error) =
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(runtime)).await
        {
            tracing::debug!(%error, "a stream broke off");
        }
    });
    Ok(response)
}

/// The runtime's streaming server and the path of one stream.
struct Target {
    address: String,
    path: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, ProxyError> {
        // The path holds a one-time token, so it stays out of messages.
        let refused = |url: &str, problem| ProxyError::Address { url: url.to_owned(), problem };
        let url = Url::parse(text).map_err(|_| refused("(not a URL)", "it is not an absolute URL"))?;
        let shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        if url.scheme() != "http" {
            return Err(refused(
                &shown,
                "only http is supported; turn TLS off in the runtime's streaming settings",
            ));
        }
        let host = url.host_str().ok_or_else(|| refused(&shown, "it names no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { address: format!("{host}:{port}"), path })
    }

    fn error(&self, problem: String) -> ProxyError {
        ProxyError::Runtime { address: self.address.clone(), problem }
    }

    async fn ask(
        &self,
        request: &Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Incoming>, ProxyError> {
        let failed = |error: &dyn std::fmt::Display| self.error(error.to_string());
        let stream = TcpStream::connect(&self.address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to the streaming server ended");
            }
        });
        let mut forwarded = Request::new(Empty::<Bytes>::new());
        *forwarded.method_mut() = request.method().clone();
        *forwarded.uri_mut() = self.path.parse().map_err(|error| failed(&error))?;
        let host = HeaderValue::from_str(&self.address).map_err(|error| failed(&error))?;
        forwarded.headers_mut().insert(header::HOST, host);
        for name in &FORWARDED {
            for value in request.headers().get_all(name) {
                forwarded.headers_mut().append(name, value.clone());
            }
        }
        sender.send_request(forwarded).await.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_addresses_are_used() {
        let target = Target::parse("http://127.0.0.1:4321/exec/token?a=b").expect("usable");
        assert_eq!((target.address.as_str(), target.path.as_str()), ("127.0.0.1:4321", "/exec/token?a=b"));
        for bad in ["/exec/token", "https://127.0.0.1/exec/token"] {
            let error = Target::parse(bad).err().expect("refused").to_string();
            assert!(!error.contains("token"), "{error}");
        }
    }
}
