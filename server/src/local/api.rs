//! The requests of the local socket.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use core_types::local::{ErrorReport, WatchLine};
use core_types::runtime::StreamRequest;
use core_types::view::{NodeView, PodView};
use core_types::{ContainerId, PodKey, PodUid};
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use ports::runtime::RuntimeResult;
use ports::{Control, ControlError};
use tokio_util::sync::CancellationToken;

use super::events::{Reader, Reading};
use super::report;
use crate::ServerContext;
use crate::body::{self, Body, BodyError, stream};
use crate::container_logs;
use crate::listener::Tasks;
use crate::pods;
use crate::query::Query;
use crate::routes::ContainerPath;
use crate::streams::Streams;

/// Size of manifests sent by `podwright run`; as for manifest files.
const MAX_MANIFEST_BYTES: usize = 10 << 20;
/// Time for a client to send its manifests over a socket of the same machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Least time between two lines of a watch: changes in between go into one line, so a busy node does not drown a client.
pub(super) const WATCH_PAUSE: Duration = Duration::from_millis(50);
/// An empty line is sent after this much silence, which shows whether the client is still there.
pub(super) const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers the requests.
pub(super) struct Api {
    pub(super) context: ServerContext,
    pub(super) tasks: Tasks,
    pub(super) streams: Streams,
}

/// What may come of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// Whatever they ask for.
    Apply,
    /// Other sizes of pods that are there.
    Resize,
}

/// Which stream of a container is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamKind {
    Exec,
    Attach,
}

impl Api {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query());
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["v1", "node"]) => {
                let view = self.context.control.view();
                body::json(StatusCode::OK, &report::node(&view, &self.context.facts))
            }
            (&Method::GET, ["v1", "pods"]) => {
                let view = self.context.control.view();
                body::json(StatusCode::OK, &report::pods(&view, self.context.clock.wall()))
            }
            (&Method::GET, ["v1", "eviction"]) => {
                body::json(StatusCode::OK, &self.context.control.eviction_outlook().await)
            }
            (&Method::GET, ["v1", "usage"]) => {
                self.context.usage.summary(&Query::parse(Some("only_cpu_and_memory=true"))).await
            }
            (&Method::GET, ["v1", "watch"]) => self.watch(),
            (&Method::GET, ["v1", "events"]) => self.events(&query),
            (&Method::POST, ["v1", "pods"]) => self.take(request.into_body(), Taking::Apply).await,
            (&Method::POST, ["v1", "resize"]) => self.take(request.into_body(), Taking::Resize).await,
            (&Method::DELETE, ["v1", "pods", namespace, name]) => {
                self.remove(&PodKey::new(*namespace, *name)).await
            }
            (&Method::GET, ["v1", "logs", rest @ ..]) => self.logs(&rest.join("/"), &query).await,
            (&Method::POST, ["v1", "exec", rest @ ..]) => {
                let rest = rest.join("/");
                self.stream(StreamKind::Exec, &rest, &query, request).await
            }
            (&Method::POST, ["v1", "attach", rest @ ..]) => {
                let rest = rest.join("/");
                self.stream(StreamKind::Attach, &rest, &query, request).await
            }
            (&Method::POST, ["v1", "portForward", namespace, name]) => {
                let (namespace, name) = ((*namespace).to_owned(), (*name).to_owned());
                self.port_forward(&namespace, &name, request).await
            }
            (method, _) => {
                problem(StatusCode::NOT_FOUND, format!("{method} {path} is not known to this agent"))
            }
        }
    }

    async fn take(&self, body: Incoming, taking: Taking) -> Response<Body> {
        let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_MANIFEST_BYTES).collect()).await;
        let manifests = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("the manifests are larger than {} MiB", MAX_MANIFEST_BYTES >> 20);
                return problem(StatusCode::PAYLOAD_TOO_LARGE, message);
            }
            Ok(Err(error)) => {
                return problem(StatusCode::BAD_REQUEST, format!("reading the manifests: {error}"));
            }
            Err(_elapsed) => {
                return problem(StatusCode::REQUEST_TIMEOUT, "the manifests did not arrive in time");
            }
        };
        let applied = match taking {
            Taking::Apply => self.context.control.apply(manifests).await,
            Taking::Resize => self.context.control.resize(manifests).await,
        };
        match applied {
            Ok(applied) => body::json(StatusCode::OK, &applied),
            Err(error) => refused(&error),
        }
    }

    async fn remove(&self, key: &PodKey) -> Response<Body> {
        match self.context.control.remove(key).await {
            Ok(uid) => body::json(StatusCode::OK, &serde_json::json!({ "uid": uid })),
            Err(error) => refused(&error),
        }
    }

    async fn logs(&self, rest: &str, query: &Query) -> Response<Body> {
        let Some(path) = ContainerPath::parse(rest) else {
            return problem(StatusCode::BAD_REQUEST, "the path must be namespace/pod/container");
        };
        match container_logs::open(&self.context, &path, query, self.tasks.stop.clone()).await {
            Ok(log) => Response::new(log),
            Err(refusal) => problem(refusal.status, refusal.message),
        }
    }

    fn watch(&self) -> Response<Body> {
        let watcher = Watcher {
            context: self.context.clone(),
            stop: self.tasks.stop.clone(),
            sent: Arc::default(),
            is_first: true,
        };
        let lines = futures_util::stream::unfold(watcher, |mut watcher| async {
            let line = watcher.next().await?;
            Some((Ok::<_, BodyError>(line), watcher))
        });
        Response::new(stream(lines))
    }

    fn events(&self, query: &Query) -> Response<Body> {
        let reader = Reader {
            context: self.context.clone(),
            stop: self.tasks.stop.clone(),
            reading: if query.flag("follow") { Reading::Following } else { Reading::Once },
            revision: None,
        };
        let lines = futures_util::stream::unfold(reader, |mut reader| async {
            let line = reader.next().await?;
            Some((Ok::<_, BodyError>(line), reader))
        });
        Response::new(stream(lines))
    }

    async fn stream(
        &self,
        kind: StreamKind,
        rest: &str,
        query: &Query,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let Some(path) = ContainerPath::parse(rest) else {
            return problem(StatusCode::BAD_REQUEST, "the path must be namespace/pod/container");
        };
        let id = match running_container(&self.context.control.view(), &path) {
            Ok(id) => id,
            Err(message) => return problem(StatusCode::CONFLICT, message),
        };
        let wanted = stream_request(kind, query);
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return problem(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
        }
        let url = match kind {
            StreamKind::Exec => self.context.control.exec_url(&id, &wanted).await,
            StreamKind::Attach => self.context.control.attach_url(&id, &wanted).await,
        };
        self.pass(url, request).await
    }
}

impl Api {
    async fn port_forward(&self, namespace: &str, name: &str, request: Request<Incoming>) -> Response<Body> {
        let sandbox = {
            let view = self.context.control.view();
            pods::find(&view, namespace, name).and_then(|(uid, _)| pods::sandbox(&view, uid))
        };
        let Some(sandbox) = sandbox else {
            return problem(StatusCode::CONFLICT, format!("pod {namespace}/{name} does not run"));
        };
        let url = self.context.control.port_forward_url(&sandbox, &[]).await;
        self.pass(url, request).await
    }

    async fn pass(&self, url: RuntimeResult<String>, request: Request<Incoming>) -> Response<Body> {
        match url {
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Ok(url) => match self.streams.pass(request, &url).await {
                Ok(response) => response,
                Err(error) => problem(error.status(), error.to_string()),
            },
        }
    }
}

fn stream_request(kind: StreamKind, query: &Query) -> StreamRequest {
    let tty = query.flag("tty");
    StreamRequest {
        command: match kind {
            StreamKind::Exec => query.all("command").map(str::to_owned).collect(),
            StreamKind::Attach => Vec::new(),
        },
        stdin: query.flag("input"),
        stdout: query.flag("output"),
        // A terminal has one output: the runtime refuses both.
        stderr: query.flag("error") && !tty,
        tty,
    }
}

fn running_container(view: &NodeView, path: &ContainerPath) -> Result<ContainerId, String> {
    let ContainerPath { namespace, pod: name, container, .. } = path;
    let (_, pod) =
        pods::find(view, namespace, name).ok_or_else(|| format!("pod {namespace}/{name} does not exist"))?;
    let status = pods::container_status(&pod.status, container);
    if status.is_none() && !pods::container_names(pod).contains(container.as_str()) {
        let names: Vec<&str> = pods::container_names(pod).into_iter().collect();
        return Err(format!(
            "pod {namespace}/{name} has no container {container:?}: it has {}",
            names.join(", ")
        ));
    }
    let running = status.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    let id = running.and_then(|status| status.container_id.as_deref());
    let id = id.ok_or_else(|| format!("container {container:?} of pod {namespace}/{name} is not running"))?;
    Ok(ContainerId::from(id.split_once("://").map_or(id, |(_, id)| id)))
}

fn problem(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    body::json(status, &ErrorReport { message: message.into() })
}

fn refused(error: &ControlError) -> Response<Body> {
    let status = match error {
        ControlError::Invalid(_) => StatusCode::BAD_REQUEST,
        ControlError::NotFound(_) => StatusCode::NOT_FOUND,
        ControlError::Conflict(_) => StatusCode::CONFLICT,
        ControlError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    problem(status, error.to_string())
}

/// One `GET /v1/watch`: what was sent last, to send only what differs.
struct Watcher {
    context: ServerContext,
    stop: CancellationToken,
    sent: Arc<BTreeMap<PodUid, Arc<PodView>>>,
    is_first: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        let control: Arc<dyn Control> = Arc::clone(&self.context.control);
        loop {
            // The question for changes is asked before the snapshot is read, so that no change falls in between.
            let mut changed = pin!(control.changed());
            let early = changed.as_mut().now_or_never();
            if let Some(line) = self.differences(&control.view()) {
                return Some(line);
            }
            let pause = async {
                if early.is_none() {
                    changed.await;
                }
                tokio::time::sleep(WATCH_PAUSE).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = pause => {}
                () = tokio::time::sleep(WATCH_HEARTBEAT) => return Some(Bytes::from_static(b"\n")),
            }
        }
    }

    fn differences(&mut self, view: &NodeView) -> Option<Bytes> {
        let now = self.context.clock.wall();
        let is_new =
            |uid: &PodUid, pod: &Arc<PodView>| !self.sent.get(uid).is_some_and(|old| Arc::ptr_eq(old, pod));
        let pods: Vec<_> = view
            .pods
            .iter()
            .filter(|(uid, pod)| is_new(uid, pod))
            .map(|(_, pod)| report::pod(pod, view, now))
            .collect();
        let removed: Vec<_> = self.sent.keys().filter(|uid| !view.pods.contains_key(*uid)).cloned().collect();
        if pods.is_empty() && removed.is_empty() && !self.is_first {
            return None;
        }
        self.is_first = false;
        self.sent = Arc::clone(&view.pods);
        let mut line = serde_json::to_vec(&WatchLine { pods, removed }).ok()?;
        line.push(b'\n');
        Some(line.into())
    }
}
