//! `/checkpoint/`: the state of a container as an archive on the node (`ContainerCheckpoint`, CONTRACT 2.5).
//!
//! An archive holds the container's memory, so it may be large, and nobody removes it but who asked for it. So the node keeps at
//! most [`MAX_OF_POD`] archives of one pod and [`MAX_OF_NODE`] in all, and makes one at a time; upstream sets no bound.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use core_types::ContainerId;
use http::{Response, StatusCode};
use jiff::Timestamp;
use ports::NodeFiles;
use ports::node_files::NodeFile;
use tokio::sync::Mutex;

use super::containers::running;
use crate::ServerContext;
use crate::body::{Body, json, text};
use crate::pods;
use crate::query::Query;
use crate::routes::ContainerPath;

/// Archives of one pod that are kept: enough for a look at a few moments of it.
const MAX_OF_POD: usize = 10;
/// Archives that are kept on the node.
const MAX_OF_NODE: usize = 100;

/// Where archives go.
#[derive(Clone)]
pub struct CheckpointOptions {
    /// The directory.
    pub directory: PathBuf,
    /// What is in it.
    pub files: Arc<dyn NodeFiles>,
}

/// Answers the requests.
pub(super) struct Checkpoints {
    options: CheckpointOptions,
    context: ServerContext,
    one_at_a_time: Mutex<()>,
}

impl Checkpoints {
    pub(super) fn new(options: CheckpointOptions, context: ServerContext) -> Self {
        Self { options, context, one_at_a_time: Mutex::new(()) }
    }

    /// Makes an archive of a running container and answers with its path.
    pub(super) async fn make(&self, path: &ContainerPath, query: &Query) -> Response<Body> {
        match self.try_make(path, query).await {
            Ok(location) => json(StatusCode::OK, &serde_json::json!({ "items": [location] })),
            Err((status, words)) => text(status, words),
        }
    }

    async fn try_make(&self, path: &ContainerPath, query: &Query) -> Result<String, (StatusCode, String)> {
        let missing = |words: String| (StatusCode::NOT_FOUND, words);
        let ContainerPath { namespace, pod: name, container, .. } = path;
        let failed = |why: String| {
            let words = format!("checkpointing of {namespace}/{name}/{container} failed ({why})");
            (StatusCode::INTERNAL_SERVER_ERROR, words)
        };
        let id: Option<ContainerId> = {
            let view = self.context.control.view();
            let found = pods::find(&view, namespace, name).filter(|(_, pod)| pod.source.is_some());
            let (uid, pod) = found.ok_or_else(|| missing("pod does not exist".to_owned()))?;
            if !pods::container_names(pod).contains(container.as_str()) {
                return Err(missing(format!("container {container} does not exist")));
            }
            running(&view, uid, container)
        };
        let timeout = match query.all("timeout").last() {
            None => Duration::ZERO,
            Some(text) => {
                let secs = text.parse::<i64>();
                let secs = secs.map_err(|_| missing("cannot parse value of timeout parameter".to_owned()))?;
                Duration::from_secs(secs.max(0).unsigned_abs())
            }
        };
        let id = id.ok_or_else(|| failed(format!("container {container} not found")))?;
        let _turn = self.one_at_a_time.lock().await;
        let pod_prefix = format!("checkpoint-{name}_{namespace}-");
        self.check_room(&pod_prefix).await?;
        let now = Timestamp::from_nanosecond(i128::from(self.context.clock.wall().unix_nanos()));
        let now = now.unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ");
        let file = self.options.directory.join(format!("{pod_prefix}{container}-{now}.tar"));
        let location = file.to_string_lossy().into_owned();
        let made = self.context.control.checkpoint(&id, &location, timeout).await;
        made.map_err(|error| failed(error.grpc_text()))?;
        Ok(location)
    }

    async fn check_room(&self, pod_prefix: &str) -> Result<(), (StatusCode, String)> {
        let kept = match self.options.files.open("").await {
            Ok(Some(NodeFile::Directory(names))) => names,
            Ok(_) => Vec::new(),
            Err(error) => return Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        };
        let of_pod = kept.iter().filter(|name| name.starts_with(pod_prefix)).count();
        if of_pod < MAX_OF_POD && kept.len() < MAX_OF_NODE {
            return Ok(());
        }
        let words = format!(
            "{} keeps {of_pod} checkpoints of this pod and {} in all, of {MAX_OF_POD} and {MAX_OF_NODE} that are allowed: \
            remove some of them first",
            self.options.directory.display(),
            kept.len()
        );
        Err((StatusCode::INSUFFICIENT_STORAGE, words))
    }
}
