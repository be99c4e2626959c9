//! One GET: headers, redirects on the same host, the verdict on the status.

use std::sync::Arc;

use bytes::Bytes;
use core_probes::{HttpRequest, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ports::probes::{MAX_OUTPUT_BYTES, ProbeAnswer};
use rustls::ClientConfig;
use url::Url;

use crate::connect::{Io, carried, tcp, tls};

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
        match get(&next, &first, &headers, config).await {
            Ok(Answer::Redirect(to)) => next = to,
            Ok(Answer::Verdict(verdict)) => return verdict,
            Err(message) => return ProbeAnswer::Failure(format!("Get {:?}: {message}", next.as_str())),
        }
    }
    ProbeAnswer::Failure(format!("Get {:?}: stopped after {MAX_REDIRECTS} redirects", next.as_str()))
}

async fn get(
    url: &Url,
    first: &Url,
    headers: &HeaderMap,
    config: &Arc<ClientConfig>,
) -> Result<Answer, String> {
    let host = url.host_str().ok_or("it names no host")?;
    let port = url.port_or_known_default().ok_or("it names no port")?;
    // An IPv6 address stands in brackets in a URL and without them everywhere else.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let io: Box<dyn Io> = match url.scheme() {
        scheme if scheme == Scheme::Https.as_str() => tls(bare, port, config).await?,
        _ => Box::new(tcp(bare, port).await?),
    };
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    *request.headers_mut() = headers.clone();
    if url.origin() != first.origin() || !headers.contains_key(header::HOST) {
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let host = HeaderValue::try_from(host).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
    }
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| {
            // What Go says of a server that closes the connection instead of answering.
            if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
        })?;
        match redirect(url, &answer) {
            Some(to) if to.host_str() == first.host_str() => Ok(Answer::Redirect(to)),
            _ => Ok(Answer::Verdict(judge(answer).await)),
        }
    };
    carried(connection, exchange).await
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
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
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
