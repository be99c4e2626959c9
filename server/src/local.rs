//! The unix socket that `podwright` talks to: JSON over HTTP/1.1 (`core_types::local`).
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/node` | runtime and source problems |
//! | `GET /v1/pods` | all pods, explained |
//! | `GET /v1/watch` | a line for each change, the first with all pods |
//! | `GET /v1/events` | events that are kept; with `follow`, a line for each change after them |
//! | `POST /v1/pods` | takes manifests, YAML or JSON |
//! | `POST /v1/resize` | takes manifests that change nothing but sizes of pods |
//! | `DELETE /v1/pods/<namespace>/<name>` | removes a pod taken so |
//! | `GET /v1/logs/<namespace>/<pod>/<container>` | the log, with the options of `containerLogs` |
//! | `POST /v1/exec/...`, `POST /v1/attach/...`, `POST /v1/portForward/...` | the runtime's stream, upgraded |
//!
//! Whoever may connect may run anything as root. So the socket is 0600, and the kernel is asked for the user at the other
//! end: only root and the agent's own user are answered.

mod api;
mod events;
mod report;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};

use self::api::Api;
use crate::listener::{Protocols, ServerHandle, Tasks, accept_loop, serve_connection};
use crate::streams::Streams;
use crate::{ServeError, ServerContext};

/// Connections at once. People and scripts on one machine.
const MAX_CONNECTIONS: usize = 128;

/// Starts the listener on a socket, replacing one that a dead agent left.
pub async fn start(path: &Path, context: ServerContext) -> Result<ServerHandle, ServeError> {
    let (listener, own_uid) = bind(path).await?;
    let tasks = Tasks::default();
    let streams = Streams::new(tasks.clone(), context.facts.stream_idle_limit);
    let api = Arc::new(Api { context, tasks: tasks.clone(), streams });
    tasks.tracker.spawn(accept_loop(listener, MAX_CONNECTIONS, tasks.clone(), move |connection| {
        let api = Arc::clone(&api);
        async move {
            if let Err(problem) = check_peer(&connection.io, own_uid) {
                return tracing::warn!(problem, "refused a connection to the local socket");
            }
            let tasks = api.tasks.clone();
            serve_connection(connection, Protocols::Http1, tasks, move |request| {
                let api = Arc::clone(&api);
                async move { api.answer(request).await }
            })
            .await;
        }
    }));
    Ok(ServerHandle::new(path.display().to_string(), None, tasks))
}

fn check_peer(stream: &UnixStream, own_uid: u32) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|error| format!("cannot tell who connects: {error}"))?;
    if may_connect(peer.uid(), own_uid) {
        Ok(())
    } else {
        Err(format!("user {} may not connect", peer.uid()))
    }
}

fn may_connect(peer_uid: u32, own_uid: u32) -> bool {
    peer_uid == 0 || peer_uid == own_uid
}

/// Binds beside the path and moves the socket into place, so that nobody ever sees it with other permissions.
async fn bind(path: &Path) -> Result<(UnixListener, u32), ServeError> {
    let failed =
        |source| ServeError::Bind { purpose: "local socket", address: path.display().to_string(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        // Others may look into it, so that they are told that they may not connect, not that there is no agent.
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
    }
    refuse_live_socket(path).await?;
    let temporary = temporary_name(path);
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    let place = || -> io::Result<u32> {
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
        let own_uid = fs::metadata(&temporary)?.uid();
        fs::rename(&temporary, path)?;
        Ok(own_uid)
    };
    let own_uid = place().map_err(failed)?;
    Ok((listener, own_uid))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

async fn refuse_live_socket(path: &Path) -> Result<(), ServeError> {
    match UnixStream::connect(path).await {
        Ok(_) => Err(ServeError::SocketInUse { path: path.to_owned() }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(())
        }
        Err(source) => {
            Err(ServeError::Bind { purpose: "local socket", address: path.display().to_string(), source })
        }
    }
}

#[cfg(test)]
mod tests;
