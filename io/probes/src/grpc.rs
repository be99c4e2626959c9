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

use crate::connect::{Opened, address, carried, open};

/// gRPC status codes that have a text of their own.
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";
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

/// Asks within the time.
pub(crate) async fn ask(question: &Question<'_>, user_agent: &str, timeout: Duration) -> ProbeAnswer {
    let server = address(question.host, question.port);
    let within = tokio::time::Instant::now() + timeout;
    let opened = open(question.host, question.port, question.tls);
    let connection = match tokio::time::timeout_at(within, opened).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return ProbeAnswer::Failure(format!("error: failed to connect service at {server:?}: {error}"));
        }
        Err(_elapsed) => {
            let text = format!(
                "timeout: failed to connect service {server:?} within {timeout:?}: context deadline exceeded"
            );
            return ProbeAnswer::TimedOut(text);
        }
    };
    let call = async {
        let request = request(question, &server, user_agent).map_err(|error| error.to_string())?;
        check(connection, request).await
    };
    match tokio::time::timeout_at(within, call).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => ProbeAnswer::Failure(format!("error: health rpc probe failed: {error}")),
        Err(_elapsed) => {
            ProbeAnswer::TimedOut(format!("timeout: health rpc did not complete within {timeout:?}"))
        }
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

async fn check(connection: Opened, request: Request<Full<Bytes>>) -> Result<ProbeAnswer, String> {
    let failed = |error: hyper::Error| error.to_string();
    let io = TokioIo::new(connection);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
    let exchange = async { read(sender.send_request(request).await.map_err(failed)?).await };
    carried(connection, exchange).await
}

async fn read(answer: Response<Incoming>) -> Result<ProbeAnswer, String> {
    if answer.status() != http::StatusCode::OK {
        return Err(format!("unexpected HTTP status code received from server: {}", answer.status()));
    }
    let in_headers = answer.headers().clone();
    let body = Limited::new(answer.into_body(), MAX_OUTPUT_BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let text = |name: &str| {
        let value = trailers.get(name).or_else(|| in_headers.get(name))?;
        Some(value.to_str().unwrap_or_default().to_owned())
    };
    let code = text("grpc-status").ok_or("the server sent no grpc-status")?;
    let said = text("grpc-message").unwrap_or_default();
    match code.as_str() {
        OK => judge(&body.to_bytes()),
        UNIMPLEMENTED => Ok(ProbeAnswer::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {said}"
        ))),
        _ => Err(format!("rpc error: code = {code} desc = {said}")),
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
