//! One request to the runtime's streaming server.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::{SPDY, STREAM_PROTOCOL, StreamError};
use crate::listener::Tasks;

/// Time to connect to the runtime and get its answer: it is a process on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers that make up the upgrade. Nothing else of the client's request concerns the runtime, least of all who asks.
const FORWARDED: [HeaderName; 7] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    STREAM_PROTOCOL,
];

/// What the runtime is asked.
pub(super) struct Asking {
    method: Method,
    headers: HeaderMap,
}

impl Asking {
    /// What the client asked for.
    pub(super) fn forwarded(request: &Request<Incoming>) -> Self {
        let mut headers = HeaderMap::new();
        for name in &FORWARDED {
            for value in request.headers().get_all(name) {
                headers.append(name, value.clone());
            }
        }
        Self { method: request.method().clone(), headers }
    }

    /// A SPDY connection with one of these protocols.
    pub(super) fn spdy<'a>(protocols: impl IntoIterator<Item = &'a str>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
        for protocol in protocols.into_iter().filter_map(|name| HeaderValue::from_str(name).ok()) {
            headers.append(STREAM_PROTOCOL, protocol);
        }
        Self { method: Method::POST, headers }
    }
}

/// The runtime's streaming server and the path of one stream.
pub(super) struct Target {
    address: String,
    path: String,
}

impl Target {
    /// Reads the URL that the runtime gave.
    pub(super) fn parse(text: &str) -> Result<Self, StreamError> {
        // The path holds a one-time token, so it stays out of messages.
        let refused = |url: &str, problem| StreamError::Address { url: url.to_owned(), problem };
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

    /// Asks, and gives the answer. Its connection ends with the listener.
    pub(super) async fn ask(&self, asking: Asking, tasks: &Tasks) -> Result<Response<Incoming>, StreamError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.try_ask(asking, tasks))
            .await
            .unwrap_or_else(|_elapsed| Err(self.error(format!("no answer within {CONNECT_TIMEOUT:?}"))))
    }

    fn error(&self, problem: String) -> StreamError {
        StreamError::Runtime { address: self.address.clone(), problem }
    }

    async fn try_ask(&self, asking: Asking, tasks: &Tasks) -> Result<Response<Incoming>, StreamError> {
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
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = asking.method;
        *request.uri_mut() = self.path.parse().map_err(|error| failed(&error))?;
        *request.headers_mut() = asking.headers;
        let host = HeaderValue::from_str(&self.address).map_err(|error| failed(&error))?;
        request.headers_mut().insert(header::HOST, host);
        sender.send_request(request).await.map_err(|error| failed(&error))
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
