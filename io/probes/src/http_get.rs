//! One GET: headers, redirects on the same host, the verdict on the status.

use std::sync::Arc;

use bytes::Bytes;
use core_probes::{HttpRequest, HttpVersion, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ports::probes::{MAX_OUTPUT_BYTES, ProbeAnswer};
use rustls::ClientConfig;
use url::Url;

use crate::connect::{carried, has_chosen_http2, open};

/// Redirects in a row, as Go's client.
const MAX_REDIRECTS: usize = 10;

/// What a server answered to one request.
enum Answer {
    /// It is elsewhere.
    Redirect(Url),
    /// It is this.
    Verdict(ProbeAnswer),
}

/// Sends the request. The caller bounds its time.
pub(crate) async fn ask(request: &HttpRequest, user_agent: &str, config: &Arc<ClientConfig>) -> ProbeAnswer {
    let url = request.url();
    let (first, headers) = match (Url::parse(&url), headers(request, user_agent)) {
        (Ok(first), Ok(headers)) => (first, headers),
        (Err(error), _) => return ProbeAnswer::Unknown(format!("{url:?} is no URL: {error}")),
        (_, Err(error)) => return ProbeAnswer::Unknown(error),
    };
    let mut next = first.clone();
    for _ in 0..=MAX_REDIRECTS {
        let to = To { url: &next, first: &first, version: request.version };
        match get(&to, &headers, config).await {
            Ok(Answer::Redirect(to)) => next = to,
            Ok(Answer::Verdict(verdict)) => return verdict,
            Err(message) => return ProbeAnswer::Failure(format!("Get {:?}: {message}", next.as_str())),
        }
    }
    ProbeAnswer::Failure(format!("Get {:?}: stopped after {MAX_REDIRECTS} redirects", next.as_str()))
}

/// Where one request goes.
struct To<'a> {
    url: &'a Url,
    /// Where the first one went.
    first: &'a Url,
    version: HttpVersion,
}

impl To<'_> {
    fn is_https(&self) -> bool {
        self.url.scheme() == Scheme::Https.as_str()
    }
}

async fn get(to: &To<'_>, headers: &HeaderMap, config: &Arc<ClientConfig>) -> Result<Answer, String> {
    let host = to.url.host_str().ok_or("it names no host")?;
    let port = to.url.port_or_known_default().ok_or("it names no port")?;
    // An IPv6 address stands in brackets in a URL and without them everywhere else.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let authority = authority(to, host, headers);
    let path =
        to.url.query().map_or_else(|| to.url.path().to_owned(), |query| format!("{}?{query}", to.url.path()));
    let opened = open(bare, port, to.is_https().then_some(config)).await?;
    // Over TLS the server chooses; nothing but a plain connection speaks HTTP/2 unasked.
    let is_http2 = has_chosen_http2(&opened) || to.version == HttpVersion::Http2 && !to.is_https();
    let io = TokioIo::new(opened);
    let failed = |error: hyper::Error| error.to_string();
    if is_http2 {
        let request = request(&format!("{}://{authority}{path}", to.url.scheme()), headers)?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        carried(connection, async { answered(to, sender.send_request(request).await).await }).await
    } else {
        let mut request = request(&path, headers)?;
        let host = HeaderValue::try_from(authority).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
        carried(connection, async { answered(to, sender.send_request(request).await).await }).await
    }
}

/// The host that the request names: the pod's own, as long as it goes where it went at first.
fn authority(to: &To<'_>, host: &str, headers: &HeaderMap) -> String {
    let own = headers.get(header::HOST).and_then(|own| own.to_str().ok());
    match own.filter(|_| to.url.origin() == to.first.origin()) {
        Some(own) => own.to_owned(),
        None => to.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    }
}

/// A request without the headers that belong to the connection.
fn request(uri: &str, headers: &HeaderMap) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    *request.headers_mut() = headers.clone();
    request.headers_mut().remove(header::HOST);
    Ok(request)
}

async fn answered(to: &To<'_>, answer: hyper::Result<Response<Incoming>>) -> Result<Answer, String> {
    let answer = answer.map_err(|error| {
        // What Go says of a server that closes the connection instead of answering.
        if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
    })?;
    match redirect(to.url, &answer) {
        Some(next) if next.host_str() == to.first.host_str() => Ok(Answer::Redirect(next)),
        _ => Ok(Answer::Verdict(judge(answer).await)),
    }
}

/// The pod's headers over ours. An empty `User-Agent` or `Accept` removes ours.
fn headers(request: &HttpRequest, user_agent: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let key = HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is no HTTP header"))?;
        let value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the value of header {name:?} is not allowed in HTTP"))?;
        match key == header::HOST {
            true => drop(headers.insert(key, value)),
            false => drop(headers.append(key, value)),
        }
    }
    for (name, ours) in [(header::USER_AGENT, user_agent), (header::ACCEPT, "*/*")] {
        match headers.get(&name).map(HeaderValue::is_empty) {
            Some(true) => drop(headers.remove(&name)),
            Some(false) => {}
            None => {
                let ours = HeaderValue::try_from(ours).map_err(|error| error.to_string())?;
                headers.insert(name, ours);
            }
        }
    }
    if headers.get(header::HOST).is_some_and(HeaderValue::is_empty) {
        headers.remove(header::HOST);
    }
    Ok(headers)
}

/// Where a redirect leads; `None` for any other answer.
fn redirect(url: &Url, answer: &Response<Incoming>) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    url.join(location).ok().filter(|to| matches!(to.scheme(), "http" | "https"))
}

async fn judge(answer: Response<Incoming>) -> ProbeAnswer {
    let status = answer.status().as_u16();
    let body = match start_of(answer.into_body()).await {
        Ok(body) => body,
        Err(message) => return ProbeAnswer::Failure(message),
    };
    match status {
        200..300 => ProbeAnswer::Success(body),
        300..400 => ProbeAnswer::Warning(format!("Probe terminated redirects, Response body: {body}")),
        _ => ProbeAnswer::Failure(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// The start of a body; the rest is not read.
async fn start_of(mut body: Incoming) -> Result<String, String> {
    let mut start = Vec::new();
    while start.len() < MAX_OUTPUT_BYTES {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            start.extend_from_slice(&data);
        }
    }
    start.truncate(MAX_OUTPUT_BYTES);
    Ok(String::from_utf8_lossy(&start).into_owned())
}
