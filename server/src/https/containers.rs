//! What reaches into containers: exec, attach, port-forward, run (CONTRACT 2.5, 2.6). Codes and texts are upstream's, for
//! kubectl shows them.
//!
//! ```text
//! query right? -no-> 400    pod known? -no-> 404    container runs? -no-> 500    runtime gives a URL? -no-> 404, 429, 500    stream
//! ```

use core_metrics::{Counter, Desc, Registry};
use core_spdy::Wanted;
use core_types::runtime::{ContainerState, StreamRequest};
use core_types::view::{NodeView, PodView};
use core_types::{ContainerId, PodUid};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use ports::RuntimeError;

use crate::ServerContext;
use crate::body::{Body, error_text, respond, text};
use crate::pods;
use crate::query::Query;
use crate::routes::{ContainerPath, PodPath};
use crate::streams::{self, StreamError, Streams, is_upgrade};

/// Seconds after which a client may ask again when the runtime or the node has too many streams: as long as the runtime keeps a
/// URL that nobody uses.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("60");

/// `ExtendWebSocketsToKubelet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSockets {
    /// `v5.channel.k8s.io` and tunnels of SPDY end here; the runtime gets SPDY.
    Translated,
    /// Every WebSocket is the runtime's business.
    PassedOn,
}

/// Answers the requests.
pub(super) struct Containers {
    context: ServerContext,
    streams: Streams,
    websockets: WebSockets,
    websocket_requests: Counter,
}

/// Why a request is refused.
#[derive(Debug)]
enum Refusal {
    /// The request is wrong.
    Invalid(String),
    /// The pod is not known.
    NoPod(&'static str),
    /// The container is not there, or a command in it failed.
    Failed(String),
    /// The runtime refused.
    Runtime(RuntimeError),
    /// No stream came about.
    Stream(StreamError),
}

impl From<RuntimeError> for Refusal {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}

impl From<StreamError> for Refusal {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl Refusal {
    fn response(self) -> Response<Body> {
        match self {
            Self::Invalid(words) => text(StatusCode::BAD_REQUEST, words),
            Self::NoPod(words) => text(StatusCode::NOT_FOUND, words),
            Self::Failed(words) => text(StatusCode::INTERNAL_SERVER_ERROR, words),
            Self::Runtime(error) if error.is_not_found() => text(StatusCode::NOT_FOUND, error.grpc_text()),
            Self::Runtime(error) if error.is_exhausted() => try_later(error.grpc_text()),
            Self::Runtime(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.grpc_text()),
            Self::Stream(error @ StreamError::TooMany) => try_later(error.to_string()),
            Self::Stream(error) => error_text(error.status(), &error.to_string()),
        }
    }
}

fn try_later(words: String) -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, words);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECS);
    response
}

impl Containers {
    pub(super) fn new(context: ServerContext, streams: Streams, websockets: WebSockets) -> Self {
        let websocket_requests = websocket_requests(&context.registry);
        Self { context, streams, websockets, websocket_requests }
    }

    /// Exec: a command in a running container.
    pub(super) async fn exec(&self, path: &ContainerPath, request: Request<Incoming>) -> Response<Body> {
        self.try_exec(path, request).await.unwrap_or_else(Refusal::response)
    }

    async fn try_exec(
        &self,
        path: &ContainerPath,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let query = Query::parse(request.uri().query());
        let wanted = wanted(&query)?;
        let id = {
            let view = self.context.control.view();
            let (uid, _) = known(&view, &path.namespace, &path.pod)?;
            running(&view, uid, &path.container)
                .ok_or_else(|| Refusal::Failed(format!("container not found ({:?})", path.container)))?
        };
        let wish = self.wish(request.headers(), "exec", streams::asks_to_translate)?;
        let command = query.all("command").map(str::to_owned).collect();
        let url = self.context.control.exec_url(&id, &stream_request(command, wanted)).await?;
        self.connect(wish, request, url, wanted).await
    }

    /// Attach: the streams of a container's own process. Whether that has a terminal is the container's matter.
    pub(super) async fn attach(&self, path: &ContainerPath, request: Request<Incoming>) -> Response<Body> {
        self.try_attach(path, request).await.unwrap_or_else(Refusal::response)
    }

    async fn try_attach(
        &self,
        path: &ContainerPath,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let wanted = wanted(&Query::parse(request.uri().query()))?;
        let (id, tty) = {
            let view = self.context.control.view();
            let (uid, pod) = known(&view, &path.namespace, &path.pod)?;
            let full_name = format!("{}_{}", path.pod, path.namespace);
            let missing = || format!("container {} not found in pod {full_name}", path.container);
            let id = running(&view, uid, &path.container).ok_or_else(|| Refusal::Failed(missing()))?;
            if path.uid.as_ref().is_some_and(|asked| asked != uid) {
                return Err(Refusal::Failed(format!("pod {full_name} not found")));
            }
            (id, pods::has_terminal(pod, &path.container))
        };
        let wish = self.wish(request.headers(), "attach", streams::asks_to_translate)?;
        let url = self
            .context
            .control
            .attach_url(&id, &stream_request(Vec::new(), Wanted { tty, ..wanted }))
            .await?;
        self.connect(wish, request, url, wanted).await
    }

    /// Port-forward: connections to ports of a pod.
    pub(super) async fn port_forward(&self, path: &PodPath, request: Request<Incoming>) -> Response<Body> {
        self.try_port_forward(path, request).await.unwrap_or_else(Refusal::response)
    }

    async fn try_port_forward(
        &self,
        path: &PodPath,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let is_tunnel =
            self.websockets == WebSockets::Translated && streams::asks_to_tunnel(request.headers());
        let ports = match streams::is_websocket(request.headers()) && !is_tunnel {
            true => ports_of(&Query::parse(request.uri().query())).map_err(Refusal::Invalid)?,
            false => Vec::new(),
        };
        let id = {
            let view = self.context.control.view();
            let (uid, _) = known(&view, &path.namespace, &path.pod)?;
            if path.uid.as_ref().is_some_and(|asked| asked != uid) {
                return Err(Refusal::NoPod("pod not found"));
            }
            let full_name = format!("{}_{}", path.pod, path.namespace);
            pods::sandbox(&view, uid)
                .ok_or_else(|| Refusal::Failed(format!("pod not found ({full_name:?})")))?
        };
        let wish = self.wish(request.headers(), "portforward", streams::asks_to_tunnel)?;
        let url = self.context.control.port_forward_url(&id, &ports).await?;
        Ok(match wish {
            Wish::Pass => self.streams.pass(request, &url).await?,
            Wish::Translate => self.streams.tunnel(request, &url).await?,
        })
    }

    /// Run: a command to its end, and its output as the answer.
    pub(super) async fn run(&self, path: &ContainerPath, query: &Query) -> Response<Body> {
        self.try_run(path, query).await.unwrap_or_else(Refusal::response)
    }

    async fn try_run(&self, path: &ContainerPath, query: &Query) -> Result<Response<Body>, Refusal> {
        let id = {
            let view = self.context.control.view();
            let (uid, _) = known(&view, &path.namespace, &path.pod)?;
            running(&view, uid, &path.container)
                .ok_or_else(|| Refusal::Failed(format!("container not found ({:?})", path.container)))?
        };
        // The output is kept until the end, so these commands are counted like streams.
        let _slot = self.streams.slot()?;
        let text = query.first("cmd").unwrap_or_default();
        let command: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let output = self.context.control.exec(&id, &command).await?;
        if output.exit_code != 0 {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(Refusal::Failed(format!(
                "command '{text}' exited with {}: {stderr}",
                output.exit_code
            )));
        }
        let mut all = output.stdout;
        all.extend_from_slice(&output.stderr);
        Ok(respond(StatusCode::OK, "application/json", all))
    }

    /// What becomes of the stream that these headers ask for.
    fn wish(
        &self,
        headers: &HeaderMap,
        subresource: &'static str,
        asks: fn(&HeaderMap) -> bool,
    ) -> Result<Wish, StreamError> {
        if !is_upgrade(headers) {
            return Err(StreamError::NoUpgrade);
        }
        if self.websockets == WebSockets::Translated && asks(headers) {
            self.websocket_requests.inc(&[subresource]);
            return Ok(Wish::Translate);
        }
        Ok(Wish::Pass)
    }

    async fn connect(
        &self,
        wish: Wish,
        request: Request<Incoming>,
        url: String,
        wanted: Wanted,
    ) -> Result<Response<Body>, Refusal> {
        Ok(match wish {
            Wish::Pass => self.streams.pass(request, &url).await?,
            Wish::Translate => self.streams.translate(request, url, wanted)?,
        })
    }
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Pass,
    Translate,
}

fn websocket_requests(registry: &Registry) -> Counter {
    registry.counter(Desc {
        name: "kubelet_websocket_streaming_requests_total",
        help: "[ALPHA] Total number of WebSocket streaming requests (exec/attach/portforward) received by the kubelet.",
        labels: &["subresource"],
    })
}

/// Reads which streams are wanted. A terminal has one output, so with it there is no standard error.
fn wanted(query: &Query) -> Result<Wanted, Refusal> {
    let is_one = |key| query.first(key) == Some("1");
    let tty = is_one("tty");
    let wanted =
        Wanted { stdin: is_one("input"), stdout: is_one("output"), stderr: is_one("error") && !tty, tty };
    if wanted.stdin || wanted.stdout || wanted.stderr {
        return Ok(wanted);
    }
    Err(Refusal::Invalid("you must specify at least 1 of stdin, stdout, stderr".to_owned()))
}

fn stream_request(command: Vec<String>, wanted: Wanted) -> StreamRequest {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    StreamRequest { command, stdin, stdout, stderr, tty }
}

/// The ports in the query of a WebSocket request.
fn ports_of(query: &Query) -> Result<Vec<i32>, String> {
    let texts: Vec<&str> = query.all("port").collect();
    if texts.is_empty() {
        return Err(r#"query parameter "port" is required"#.to_owned());
    }
    let mut ports = Vec::new();
    for text in texts {
        if text.is_empty() {
            return Err(r#"query parameter "port" cannot be empty"#.to_owned());
        }
        for part in text.split(',') {
            let port = parse_port(part).map_err(|why| {
                format!("unable to parse {text:?} as a port: strconv.ParseUint: parsing {part:?}: {why}")
            })?;
            if port < 1 {
                return Err(format!("port {text:?} must be > 0"));
            }
            ports.push(i32::from(port));
        }
    }
    Ok(ports)
}

/// A port in decimal, with Go's words for what is none.
fn parse_port(text: &str) -> Result<u16, &'static str> {
    match text.parse() {
        _ if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => Err("invalid syntax"),
        Ok(port) => Ok(port),
        Err(_) => Err("value out of range"),
    }
}

/// The pod of that name, as its sources have it.
fn known<'a>(view: &'a NodeView, namespace: &str, name: &str) -> Result<(&'a PodUid, &'a PodView), Refusal> {
    let found = pods::find(view, namespace, name).filter(|(_, pod)| pod.source.is_some());
    found.map(|(uid, pod)| (uid, &**pod)).ok_or(Refusal::NoPod("pod does not exist"))
}

/// The container of that name that runs.
pub(super) fn running(view: &NodeView, uid: &PodUid, name: &str) -> Option<ContainerId> {
    let containers = &view.observed.get(uid)?.containers;
    let mut live =
        containers.iter().filter(|one| one.state() == ContainerState::Running && one.name() == name);
    live.next().map(|one| one.id().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_web_socket_are_read_with_upstreams_texts() {
        let read = |query: &str| ports_of(&Query::parse(Some(query)));
        assert_eq!(read("port=80&port=443,8080"), Ok(vec![80, 443, 8080]));
        for (query, words) in [
            ("", "query parameter \"port\" is required"),
            ("port=", "query parameter \"port\" cannot be empty"),
            ("port=x", "unable to parse \"x\" as a port: strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("port=1,", "unable to parse \"1,\" as a port: strconv.ParseUint: parsing \"\": invalid syntax"),
            (
                "port=65536",
                "unable to parse \"65536\" as a port: strconv.ParseUint: parsing \"65536\": value out of range",
            ),
            ("port=0", "port \"0\" must be > 0"),
        ] {
            assert_eq!(read(query), Err(words.to_owned()), "{query}");
        }
    }
}
