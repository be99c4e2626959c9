//! `grpc.health.v1.Health/Check`: one call whose two messages have one field each, so they are written and read here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ports::probes::{MAX_OUTPUT_BYTES, ProbeAnswer};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::connect::{Opened, address, carried, open};

/// Delay before a server that refused the connection is tried again, and how it grows: the back-off of gRPC clients
/// (<https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md>), which upstream's probe is.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
const RECONNECT_FACTOR: f64 = 1.6;
/// `ServingStatus` by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// Tag of the only field of request (`service`, text) and answer (`status`, number).
const SERVICE_TAG: u8 = 0x0a;
const STATUS_TAG: u8 = 0x08;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A question to a server.
pub(crate) struct Question<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Empty for the server as a whole.
    pub(crate) service: &'a str,
    /// Settings of TLS; without them it is asked plainly.
    pub(crate) tls: Option<&'a Arc<ClientConfig>>,
}

/// Why there is no connection, or no answer on it.
enum Unanswered {
    Failed(String),
    TimedOut,
}

impl From<hyper::Error> for Unanswered {
    fn from(error: hyper::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Asks within the time.
pub(crate) async fn ask(question: &Question<'_>, user_agent: &str, timeout: Duration) -> ProbeAnswer {
    let server = address(question.host, question.port);
    let within = Instant::now() + timeout;
    let connection = match connect(question, within).await {
        Ok(connection) => connection,
        Err(Unanswered::Failed(error)) => {
            return ProbeAnswer::Failure(format!("error: failed to connect service at {server:?}: {error}"));
        }
        Err(Unanswered::TimedOut) => {
            let text = format!(
                "timeout: failed to connect service {server:?} within {timeout:?}: context deadline exceeded"
            );
            return ProbeAnswer::TimedOut(text);
        }
    };
    let call = async {
        let request = request(question, &server, user_agent);
        check(connection, request.map_err(|error| Unanswered::Failed(error.to_string()))?).await
    };
    match timeout_at(within, call).await.unwrap_or(Err(Unanswered::TimedOut)) {
        Ok(answer) => answer,
        Err(Unanswered::Failed(error)) => {
            ProbeAnswer::Failure(format!("error: health rpc probe failed: {error}"))
        }
        Err(Unanswered::TimedOut) => {
            ProbeAnswer::TimedOut(format!("timeout: health rpc did not complete within {timeout:?}"))
        }
    }
}

/// Connects, and tries again while there is time: a server that is about to listen is waited for.
async fn connect(question: &Question<'_>, within: Instant) -> Result<Opened, Unanswered> {
    let mut delay = RECONNECT_DELAY;
    loop {
        match timeout_at(within, open(question.host, question.port, question.tls)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if Instant::now() + delay >= within => return Err(Unanswered::Failed(error)),
            Ok(Err(_error)) => sleep(delay).await,
            Err(_elapsed) => return Err(Unanswered::TimedOut),
        }
        delay = delay.mul_f64(RECONNECT_FACTOR);
    }
}

fn request(question: &Question<'_>, server: &str, user_agent: &str) -> http::Result<Request<Full<Bytes>>> {
    let scheme = if question.tls.is_some() { "https" } else { "http" };
    Request::post(format!("{scheme}://{server}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, user_agent)
        .body(Full::new(message(question.service)))
}

async fn check(connection: Opened, request: Request<Full<Bytes>>) -> Result<ProbeAnswer, Unanswered> {
    let io = TokioIo::new(connection);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    let exchange = async { read(sender.send_request(request).await?).await };
    carried(connection, exchange).await
}

async fn read(answer: Response<Incoming>) -> Result<ProbeAnswer, Unanswered> {
    let failed = |text: String| Err(Unanswered::Failed(text));
    if answer.status() != http::StatusCode::OK {
        return failed(format!("unexpected HTTP status code received from server: {}", answer.status()));
    }
    let in_headers = answer.headers().clone();
    let body = match Limited::new(answer.into_body(), MAX_OUTPUT_BYTES).collect().await {
        Ok(body) => body,
        Err(error) => return failed(error.to_string()),
    };
    let in_trailers = body.trailers().and_then(Status::from_header_map);
    let Some(status) = in_trailers.or_else(|| Status::from_header_map(&in_headers)) else {
        return failed("the server sent no grpc-status".to_owned());
    };
    match (status.code(), status.message()) {
        (Code::Ok, _) => judge(&body.to_bytes()).or_else(failed),
        (Code::Unimplemented, said) => Ok(ProbeAnswer::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {said}"
        ))),
        (Code::DeadlineExceeded, _) => Err(Unanswered::TimedOut),
        (code, said) => failed(format!("rpc error: code = {} desc = {said}", name(code))),
    }
}

/// Go's spelling of a code.
fn name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

fn judge(body: &[u8]) -> Result<ProbeAnswer, String> {
    let number = match body.get(PREFIX_BYTES..) {
        Some([]) => 0,
        Some([STATUS_TAG, number, ..]) => *number,
        _ => return Err("the server's answer is no health status".to_owned()),
    };
    match STATUSES.get(usize::from(number)) {
        Some(&"SERVING") => Ok(ProbeAnswer::Success("service healthy".to_owned())),
        Some(status) => Ok(ProbeAnswer::Failure(format!("service unhealthy (responded with {status:?})"))),
        None => Ok(ProbeAnswer::Failure(format!("service unhealthy (responded with \"{number}\")"))),
    }
}

/// The framed request.
fn message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE_TAG);
        let mut rest = service.len();
        while rest > 0x7f {
            message.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        message.push(rest as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.append(&mut message);
    Bytes::from(framed)
}
