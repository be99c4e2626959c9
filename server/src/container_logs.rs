//! `containerLogs`: which file is meant, and the answer (CONTRACT 2.7). The reading itself is `ports::ContainerLogs`.
//!
//! Codes: 400 for a query that cannot be read and for everything that fails while the log is opened, 404 for an unknown
//! pod or container, 422 for options that do not fit together. The texts are upstream's, because kubectl shows them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use core_types::api::ContainerStatus;
use core_types::runtime::ContainerState;
use core_types::view::PodView;
use core_types::{ContainerId, PodUid, WallTime};
use futures_util::StreamExt;
use http::{Response, StatusCode};
use ports::logs::{LogFollow, LogRequest, LogStreams, LogTimestamps};
use tokio_util::sync::CancellationToken;

use crate::body::{Body, BodyError, stream, text};
use crate::pods;
use crate::query::Query;
use crate::routes::ContainerPath;
use crate::{ServerContext, SplitLogStreams};

/// Why there is no log to answer with.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn unopened(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

/// `v1.PodLogOptions` as far as it concerns the node. `insecureSkipTLSVerifyBackend` is the API server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<WallTime>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    streams: LogStreams,
    /// `stream` names none that there is.
    has_unknown_stream: bool,
}

impl Options {
    fn parse(query: &Query) -> Option<Self> {
        let number = |key| query.first(key).map(str::parse::<i64>).transpose().ok();
        let tail = match query.first("tail").filter(|tail| !tail.is_empty()) {
            Some("all") => None,
            Some(lines) => Some(lines.parse().ok()?),
            None => number("tailLines")?,
        };
        let since_time = match query.first("sinceTime").filter(|time| !matches!(*time, "" | "null")) {
            Some(time) => Some(WallTime::from_api(&core_types::api::Time(time.parse().ok()?))),
            None => None,
        };
        let streams = match query.first("stream") {
            None | Some("All") => Some(LogStreams::All),
            Some("Stdout") => Some(LogStreams::Stdout),
            Some("Stderr") => Some(LogStreams::Stderr),
            Some(_) => None,
        };
        Some(Self {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            since_seconds: number("sinceSeconds")?,
            since_time,
            tail_lines: tail,
            limit_bytes: number("limitBytes")?,
            has_unknown_stream: streams.is_none(),
            streams: streams.unwrap_or_default(),
        })
    }

    fn is_valid(&self) -> bool {
        self.tail_lines.is_none_or(|lines| lines >= 0)
            && self.limit_bytes.is_none_or(|bytes| bytes >= 1)
            && self.since_seconds.is_none_or(|seconds| seconds >= 1)
            && !(self.since_seconds.is_some() && self.since_time.is_some())
            && !self.has_unknown_stream
            && (self.streams == LogStreams::All || self.tail_lines.is_none())
    }

    fn since(&self, now: WallTime) -> Option<WallTime> {
        let ago = self.since_seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        let ago = ago.and_then(|ago| i64::try_from(ago.as_nanos()).ok());
        ago.map(|ago| WallTime::from_unix_nanos(now.unix_nanos().saturating_sub(ago))).or(self.since_time)
    }
}

/// Answers with the log, or says why not. A followed log ends with the container, the client or `stop`.
pub(crate) async fn answer(
    context: &ServerContext,
    path: &ContainerPath,
    query: &Query,
    stop: CancellationToken,
) -> Response<Body> {
    match open(context, path, query, stop).await {
        Ok(body) => {
            let mut response = Response::new(body);
            let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        Err(refusal) => text(refusal.status, refusal.message),
    }
}

/// Like [`answer`], with the refusal left to the caller to dress.
pub(crate) async fn open(
    context: &ServerContext,
    path: &ContainerPath,
    query: &Query,
    stop: CancellationToken,
) -> Result<Body, Refusal> {
    let unreadable = || Refusal::new(StatusCode::BAD_REQUEST, r#"{"message": "Unable to decode query."}"#);
    let options = Options::parse(query).ok_or_else(unreadable)?;
    if !options.is_valid() {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, r#"{"message": "Invalid request."}"#));
    }
    let request = locate(context, path, &options)?;
    let chunks = context.logs.open(request).await.map_err(|error| Refusal::unopened(error.to_string()))?;
    let bytes = chunks.map(|chunk| {
        // The status is sent already: what goes wrong now can only be told in the body, as upstream does.
        Ok::<_, BodyError>(chunk.unwrap_or_else(|error| Bytes::from(error.to_string())))
    });
    Ok(stream(bytes.take_until(stop.cancelled_owned())))
}

fn locate(context: &ServerContext, path: &ContainerPath, options: &Options) -> Result<LogRequest, Refusal> {
    let ContainerPath { namespace, pod: name, container, .. } = path;
    let view = context.control.view();
    let (uid, pod) = pods::find(&view, namespace, name)
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist")))?;
    if !pods::container_names(pod).contains(container.as_str()) {
        let message = format!("container {container:?} not found in pod {name:?}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    if options.streams != LogStreams::All && context.facts.split_log_streams == SplitLogStreams::Refused {
        let stream = format!("{:?}", options.streams);
        return Err(Refusal::unopened(format!(
            "unable to return the given log stream: {stream:?}. Please enable PodLogsQuerySplitStreams feature gate in kubelet"
        )));
    }
    let id = container_id(pod, name, container, options.previous).map_err(Refusal::unopened)?;
    let observed = view.observed.get(uid).and_then(|pod| pod.containers.iter().find(|one| *one.id() == id));
    let log_path =
        observed.map(|container| container.status.log_path.as_str()).filter(|path| !path.is_empty());
    let log_path = log_path.ok_or_else(|| {
        Refusal::unopened(format!(
            "failed to get container status {id:?}: the runtime does not show it any more"
        ))
    })?;
    Ok(LogRequest {
        path: PathBuf::from(log_path),
        tail_lines: options.tail_lines.map(i64::unsigned_abs),
        limit_bytes: options.limit_bytes.map(i64::unsigned_abs),
        since: options.since(context.clock.wall()),
        timestamps: if options.timestamps { LogTimestamps::Show } else { LogTimestamps::Hide },
        streams: options.streams,
        follow: if options.follow { follow(context, uid, &id) } else { LogFollow::No },
    })
}

/// The instance whose log is meant: the running one, or else the last that ran.
fn container_id(pod: &PodView, name: &str, container: &str, previous: bool) -> Result<ContainerId, String> {
    let status = pods::container_status(&pod.status, container)
        .ok_or_else(|| format!("container {container:?} in pod {name:?} is not available"))?;
    let id = if previous {
        last_id(status)
            .ok_or_else(|| format!("previous terminated container {container:?} in pod {name:?} not found"))?
    } else {
        current_id(status).map_err(|what| format!("container {container:?} in pod {name:?} {what}"))?
    };
    Ok(ContainerId::from(id.split_once("://").map_or(id, |(_, id)| id)))
}

fn last_id(status: &ContainerStatus) -> Option<&str> {
    let last = status.last_state.as_ref()?.terminated.as_ref()?;
    last.container_id.as_deref().filter(|id| !id.is_empty())
}

fn current_id(status: &ContainerStatus) -> Result<&str, String> {
    let state = status.state.as_ref();
    let has_last = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    if state.is_some_and(|state| state.running.is_some()) {
        return Ok(status.container_id.as_deref().unwrap_or_default());
    }
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        let own = terminated.container_id.as_deref().filter(|id| !id.is_empty());
        return own.or_else(|| last_id(status)).ok_or_else(|| "is terminated".to_owned());
    }
    if has_last {
        return last_id(status).ok_or_else(|| "is terminated".to_owned());
    }
    let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) else {
        return Err("is waiting to start - no logs yet".to_owned());
    };
    Err(match waiting.reason.as_deref().unwrap_or_default() {
        "ErrImagePull" => "is waiting to start: image can't be pulled".to_owned(),
        "ImagePullBackOff" => "is waiting to start: trying and failing to pull image".to_owned(),
        reason => format!("is waiting to start: {reason}"),
    })
}

fn follow(context: &ServerContext, uid: &PodUid, id: &ContainerId) -> LogFollow {
    let (control, uid, id) = (Arc::clone(&context.control), uid.clone(), id.clone());
    LogFollow::WhileRunning(Arc::new(move || {
        let view = control.view();
        let container =
            view.observed.get(&uid).and_then(|pod| pod.containers.iter().find(|one| *one.id() == id));
        container.is_some_and(|one| matches!(one.state(), ContainerState::Running | ContainerState::Unknown))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_upstream_reads_them() {
        let parse = |query: &str| Options::parse(&Query::parse(Some(query)));
        assert_eq!(parse("tail=all&tailLines=5").expect("options").tail_lines, None);
        assert_eq!(parse("tail=3").expect("options").tail_lines, Some(3));
        assert!(parse("follow=").expect("options").follow);
        assert!(!parse("follow=0").expect("options").follow);
        assert_eq!(parse("tailLines=x"), None);
        assert_eq!(parse("sinceTime=yesterday"), None);
        let valid = |query: &str| parse(query).expect("options").is_valid();
        assert!(valid("sinceSeconds=1&tailLines=0&limitBytes=1") && valid("stream=All&tailLines=1"));
        assert_eq!(parse("stream=Stderr").expect("options").streams, LogStreams::Stderr);
        for bad in [
            "tailLines=-1",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            "stream=stdout",
            "stream=Stdout&tailLines=1",
        ] {
            assert!(!valid(bad), "{bad}");
        }
        let since = parse("sinceSeconds=10").expect("options").since(WallTime::from_unix_secs(100));
        assert_eq!(since, Some(WallTime::from_unix_secs(90)));
    }
}
