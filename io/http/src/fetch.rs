//! One fetch: request, redirects on the same origin, bounded answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ports::ManifestFetcher;
use ports::sources::FetchError;
use rustls::ClientConfig;
use tokio::task::JoinSet;
use url::Url;

use crate::connect::{connect, tls_config};

/// Time for one fetch with everything in it, as upstream's.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Size of an answer; as for manifest files.
const MAX_BODY_BYTES: usize = 10 << 20;
/// Redirects in a row, as Go's client.
const MAX_REDIRECTS: usize = 10;

/// Why a manifest URL and its headers cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ManifestUrlError {
    /// Not a URL that can be fetched.
    #[error("staticPodURL {url:?} cannot be used: {problem}")]
    Url {
        /// URL without user info and query.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// A header that HTTP does not allow. Its value is not shown: it may be a secret.
    #[error("staticPodURLHeader {name:?} is no valid HTTP header")]
    Header {
        /// Name.
        name: String,
    },
    /// TLS cannot be set up.
    #[error("TLS for staticPodURL: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
}

/// The manifest URL.
pub struct HttpManifests {
    url: Url,
    origin: String,
    headers: HeaderMap,
    tls: Arc<ClientConfig>,
    retry_after: Duration,
}

impl HttpManifests {
    /// `staticPodURL` with `staticPodURLHeader`; `retry_after` is `httpCheckFrequency`, for messages.
    pub fn new(
        url: &str,
        headers: &[(String, Vec<String>)],
        retry_after: Duration,
    ) -> Result<Self, ManifestUrlError> {
        let tls = tls_config().map_err(|problem| ManifestUrlError::Tls { problem })?;
        Self::with_tls(url, headers, retry_after, tls)
    }

    fn with_tls(
        url: &str,
        headers: &[(String, Vec<String>)],
        retry_after: Duration,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, ManifestUrlError> {
        let refused = |shown: &str, problem: String| ManifestUrlError::Url { url: shown.to_owned(), problem };
        let url = Url::parse(url).map_err(|error| refused("(unreadable)", error.to_string()))?;
        let origin = shown(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(&origin, format!("the scheme {:?} is neither http nor https", url.scheme())));
        }
        let headers = request_headers(&url, headers)?;
        Ok(Self { url, origin, headers, tls, retry_after })
    }

    async fn follow(&self) -> Result<Bytes, String> {
        let mut url = self.url.clone();
        // Drives the connections while answers are awaited and read; ends them with this fetch.
        let mut connections = JoinSet::new();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get(&url, &mut connections).await?;
            match next_url(&url, &answer)? {
                Some(next) => url = next,
                None => return body_of(answer).await,
            }
        }
        Err(format!("more than {MAX_REDIRECTS} redirects"))
    }

    async fn get(&self, url: &Url, connections: &mut JoinSet<()>) -> Result<Response<Incoming>, String> {
        let io = connect(url, &self.tls).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        *request.headers_mut() = self.headers.clone();
        connections.spawn(async move {
            // An error shows in the answer or its body.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl ManifestFetcher for HttpManifests {
    fn origin(&self) -> &str {
        &self.origin
    }

    async fn fetch(&self) -> Result<Bytes, FetchError> {
        let result = tokio::time::timeout(TIMEOUT, self.follow()).await;
        let result = result.unwrap_or_else(|_elapsed| Err(format!("no complete answer within {TIMEOUT:?}")));
        result.map_err(|message| FetchError {
            url: self.origin.clone(),
            message,
            retry_after: self.retry_after,
        })
    }
}

/// The URL without what may be secret.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that cannot have these parts.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

fn request_headers(url: &Url, configured: &[(String, Vec<String>)]) -> Result<HeaderMap, ManifestUrlError> {
    let mut headers = HeaderMap::new();
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let invalid = |name: &str| ManifestUrlError::Header { name: name.to_owned() };
    headers.insert(header::HOST, HeaderValue::try_from(host).map_err(|_| invalid("Host"))?);
    for (name, values) in configured {
        let key = HeaderName::try_from(name.as_str()).map_err(|_| invalid(name))?;
        let mut is_first = true;
        for value in values {
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| invalid(name))?;
            value.set_sensitive(true);
            // A configured Host replaces ours.
            if std::mem::take(&mut is_first) {
                headers.insert(key.clone(), value);
            } else {
                headers.append(key.clone(), value);
            }
        }
    }
    Ok(headers)
}

/// Where a redirect leads; `None` for any other answer.
fn next_url(url: &Url, answer: &Response<Incoming>) -> Result<Option<Url>, String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    let next = next.ok_or_else(|| format!("status {} without a usable Location", answer.status()))?;
    if next.origin() != url.origin() {
        return Err(format!(
            "redirected to another server ({}), which would get the configured headers; name that URL in staticPodURL if it is meant",
            shown(&next)
        ));
    }
    Ok(Some(next))
}

async fn body_of(answer: Response<Incoming>) -> Result<Bytes, String> {
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            format!("the answer is larger than {} MiB", MAX_BODY_BYTES >> 20)
        } else {
            format!("reading the answer: {error}")
        }
    })?;
    let bytes = body.to_bytes();
    if bytes.is_empty() { Err("the answer is empty".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
