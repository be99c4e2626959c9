//! 10248: `/healthz` and `/healthz/ping` from a thread with its own runtime, so that a busy agent still answers.
//!
//! Reads health checks only. Upstream asks `ping` alone here ([`HealthChecks::ping`]); what restarts the agent when it
//! stops answering must not restart it because the container runtime is slow.

use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::ServeError;
use crate::body::{self, Body};
use crate::health::HealthChecks;
use crate::listener::{Protocols, ServerHandle, Tasks, accept_loop, serve_connection};
use crate::query::Query;

/// What listens, for messages.
const PURPOSE: &str = "healthz";
/// Connections at once. Those who ask are a supervisor and a few scripts.
const MAX_CONNECTIONS: usize = 64;

/// Starts the listener on `healthzBindAddress` and `healthzPort`.
pub fn start(address: SocketAddr, checks: HealthChecks) -> Result<ServerHandle, ServeError> {
    let failed = |source| ServeError::Bind { purpose: PURPOSE, address: address.to_string(), source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let thread_failed = |source| ServeError::Thread { purpose: PURPOSE, source };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_failed)?;
    let listener = {
        let _in_runtime = runtime.enter();
        TcpListener::from_std(listener).map_err(failed)?
    };
    let tasks = Tasks::default();
    let own = tasks.clone();
    std::thread::Builder::new()
        .name(PURPOSE.to_owned())
        .spawn(move || {
            runtime.block_on(async {
                own.tracker.track_future(serve(listener, checks, own.clone())).await;
                own.tracker.wait().await;
            });
        })
        .map_err(thread_failed)?;
    Ok(ServerHandle::new(bound.to_string(), Some(bound), tasks))
}

async fn serve(listener: TcpListener, checks: HealthChecks, tasks: Tasks) {
    let of_connections = tasks.clone();
    accept_loop(listener, MAX_CONNECTIONS, tasks, move |connection| {
        let checks = checks.clone();
        serve_connection(connection, Protocols::Http1, of_connections.clone(), move |request| {
            std::future::ready(answer(&checks, &request))
        })
    })
    .await;
}

fn answer(checks: &HealthChecks, request: &Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/healthz" => checks.all(&Query::parse(request.uri().query())),
        "/healthz/ping" => checks.one("ping").unwrap_or_else(body::unknown_path),
        _ => body::unknown_path(),
    }
}

#[cfg(test)]
mod tests;
