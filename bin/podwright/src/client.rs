//! Requests to the agent: HTTP/1.1 over its unix socket, one connection each.

use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::{Buf, Bytes, BytesMut};
use core_status::Explanation;
use core_types::local::{ErrorReport, NodeReport, PodReports};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::commands::top::Usage;
use crate::error::CliError;

/// One pod with its explanation.
pub(crate) type PodReport = core_types::local::PodReport<Explanation>;
/// One line of a watch.
pub(crate) type WatchLine = core_types::local::WatchLine<Explanation>;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamProtocol {
    /// A remote command.
    Command,
    /// Connections to ports.
    PortForward,
}

impl StreamProtocol {
    fn name(self) -> &'static str {
        match self {
            Self::Command => "v4.channel.k8s.io",
            Self::PortForward => "portforward.k8s.io",
        }
    }
}

/// The agent on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    socket: PathBuf,
}

/// An answer whose body is still to come. Dropping it ends the connection.
pub(crate) struct Answer {
    response: Response<Incoming>,
    _connection: JoinSet<()>,
}

impl Agent {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// All pods.
    pub(crate) async fn pods(&self) -> Result<Vec<PodReport>, CliError> {
        Ok(self.get::<PodReports<Explanation>>("/v1/pods").await?.pods)
    }

    /// The node.
    pub(crate) async fn node(&self) -> Result<NodeReport, CliError> {
        self.get("/v1/node").await
    }

    /// What the node uses.
    pub(crate) async fn usage(&self) -> Result<Usage, CliError> {
        self.get("/v1/usage").await
    }

    /// A JSON answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.send(Method::GET, path, Bytes::new()).await?.json(&format!("GET {path}")).await
    }

    /// Sends a request; an answer of 400 or above is an error with the agent's words.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, CliError> {
        let request =
            Request::builder().method(method).uri(path).header(header::HOST, "agent").body(Full::new(body));
        self.ask(request.map_err(|error| CliError::Refused(error.to_string()))?).await
    }

    /// Asks for a SPDY stream.
    pub(crate) async fn open_stream(
        &self,
        path: &str,
        protocol: StreamProtocol,
    ) -> Result<TokioIo<Upgraded>, CliError> {
        let request = Request::post(path)
            .header(header::HOST, "agent")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "SPDY/3.1")
            .header("X-Stream-Protocol-Version", protocol.name())
            .body(Full::new(Bytes::new()));
        let answer = self.ask(request.map_err(|error| CliError::Refused(error.to_string()))?).await?;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(CliError::Stream(format!("the runtime answered {}", answer.response.status())));
        }
        // When it resolves, the connection has been handed over, and its task has ended.
        hyper::upgrade::on(answer.response)
            .await
            .map(TokioIo::new)
            .map_err(|error| CliError::Stream(error.to_string()))
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, CliError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                CliError::NoAgent { socket: self.socket.clone() }
            }
            ErrorKind::PermissionDenied => CliError::NotAllowed { socket: self.socket.clone() },
            _ => self.connection_error(&error),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.connection_error(&error))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // An error shows in the answer or its body.
            let _ = connection.with_upgrades().await;
        });
        let response = sender.send_request(request).await.map_err(|error| self.connection_error(&error))?;
        let answer = Answer { response, _connection: tasks };
        if answer.response.status().as_u16() < 400 { Ok(answer) } else { Err(answer.refusal().await) }
    }

    fn connection_error(&self, error: &dyn std::error::Error) -> CliError {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        CliError::Connection { socket: self.socket.clone(), problem: format!("{error}{cause}") }
    }
}

impl Answer {
    /// The next part of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(CliError::Stream(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The body as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self, request: &str) -> Result<T, CliError> {
        let body =
            self.response.into_body().collect().await.map_err(|error| CliError::Stream(error.to_string()))?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| CliError::Answer { request: request.to_owned(), problem: error.to_string() })
    }

    /// The body as lines of JSON.
    pub(crate) fn lines(self) -> Lines {
        Lines { answer: self, buffer: BytesMut::new() }
    }

    async fn refusal(self) -> CliError {
        let status = self.response.status();
        let body = self.response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        match serde_json::from_slice::<ErrorReport>(&body) {
            Ok(report) => CliError::Refused(report.message),
            Err(_) if body.is_empty() => CliError::Refused(format!("the agent answered {status}")),
            Err(_) => CliError::Refused(String::from_utf8_lossy(&body).trim().to_owned()),
        }
    }
}

/// Lines of JSON as they come.
pub(crate) struct Lines {
    answer: Answer,
    buffer: BytesMut,
}

impl Lines {
    /// The next line; `None` when the agent stops. Empty lines only show that it lives.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.is_empty() {
                    continue;
                }
                let line = serde_json::from_slice(&line);
                return line.map(Some).map_err(|error| CliError::Answer {
                    request: "GET /v1/watch".to_owned(),
                    problem: error.to_string(),
                });
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
