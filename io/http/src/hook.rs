//! Requests of lifecycle hooks (CONTRACT 3.14): one connection each, no certificate checks, and http where a server speaks
//! no TLS.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use core_types::{HttpGet, HttpScheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ports::{HookAnswer, HookDialError, HookDialer};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use url::Url;

use crate::connect::{ConnectError, connect, trusting_tls_config};

/// What is read of an answer, as upstream does.
const MAX_BODY_BYTES: usize = 10 << 10;
/// Requests in a row when a server redirects, as Go's client.
const MAX_REQUESTS: usize = 10;
/// The agent's name in requests.
const USER_AGENT: &str = "kube-lifecycle/1.37";

/// Makes the requests of hooks.
pub struct HttpHooks {
    tls: Arc<ClientConfig>,
}

/// Why one request has no answer.
enum GetError {
    /// The server does not speak TLS.
    NotTls(String),
    Other(String),
}

impl HttpHooks {
    /// # Errors
    /// TLS cannot be set up.
    pub fn new() -> Result<Self, String> {
        Ok(Self { tls: trusting_tls_config()? })
    }

    /// Requests and follows redirects to the same host. Any other answer ends it well.
    async fn follow(&self, mut url: Url, headers: &HeaderMap) -> Result<(), GetError> {
        // Drives the connections while answers are awaited and read; ends them with this request.
        let mut connections = JoinSet::new();
        for _ in 0..MAX_REQUESTS {
            let answer = self.ask(&url, headers, &mut connections).await?;
            let next = redirect(&url, &answer);
            // Read so that the server can finish; what it says, and whether it ends well, does not matter.
            let _ = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
            match next {
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
        Err(GetError::Other(format!("stopped after {MAX_REQUESTS} redirects")))
    }

    async fn ask(
        &self,
        url: &Url,
        headers: &HeaderMap,
        connections: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>, GetError> {
        let other = |error: &dyn ToString| GetError::Other(error.to_string());
        let io = connect(url, &self.tls).await.map_err(|error| match error {
            ConnectError::NotTls(_) => GetError::NotTls(error.to_string()),
            error => other(&error),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(|error| other(&error))?;
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| other(&error))?;
        *request.headers_mut() = headers.clone();
        connections.spawn(async move {
            // An error shows in the answer or its body.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|error| other(&error))
    }
}

#[async_trait]
impl HookDialer for HttpHooks {
    async fn get(&self, request: &HttpGet) -> Result<HookAnswer, HookDialError> {
        let shown = format!("{}://{}", request.scheme.as_str(), request.authority());
        let failed = |message: String| HookDialError { url: shown.clone(), message };
        let mut headers = request_headers(request).map_err(failed)?;
        let url = request_url(request, request.scheme).map_err(failed)?;
        match self.follow(url, &headers).await {
            Ok(()) => Ok(HookAnswer::AsAsked),
            Err(GetError::Other(message)) => Err(failed(message)),
            Err(GetError::NotTls(message)) => {
                // What was meant for an encrypted connection stays off a plain one.
                headers.remove(header::AUTHORIZATION);
                let url = request_url(request, HttpScheme::Http).map_err(failed)?;
                match self.follow(url, &headers).await {
                    Ok(()) => Ok(HookAnswer::OverHttpInstead),
                    Err(_) => Err(failed(message)),
                }
            }
        }
    }
}

/// The URL of a request. The path may hold a query.
fn request_url(request: &HttpGet, scheme: HttpScheme) -> Result<Url, String> {
    let slash = if request.path.starts_with('/') { "" } else { "/" };
    let text = format!("{}://{}{slash}{}", scheme.as_str(), request.authority(), request.path);
    Url::parse(&text).map_err(|error| error.to_string())
}

/// The hook's headers, with upstream's defaults for those that it does not set.
fn request_headers(request: &HttpGet) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        // The value may be a secret: it is not shown.
        let invalid = || format!("header {name:?} is no valid HTTP header");
        let key = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        headers.append(key, HeaderValue::try_from(value.as_str()).map_err(|_| invalid())?);
    }
    let host = HeaderValue::try_from(request.authority()).map_err(|error| error.to_string())?;
    if headers.get(header::HOST).is_none_or(HeaderValue::is_empty) {
        headers.insert(header::HOST, host);
    }
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    match headers.get(header::ACCEPT) {
        None => drop(headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"))),
        Some(value) if value.is_empty() => drop(headers.remove(header::ACCEPT)),
        Some(_) => {}
    }
    Ok(headers)
}

/// Where a redirect leads, on the same host; any other answer is the last one.
fn redirect(url: &Url, answer: &Response<Incoming>) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let next = url.join(location).ok()?;
    let is_same = next.host_str() == url.host_str() && matches!(next.scheme(), "http" | "https");
    is_same.then_some(next)
}

#[cfg(test)]
mod tests;
