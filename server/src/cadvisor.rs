//! `--cadvisor-port`: cAdvisor's metrics without authentication, as the classic kubelet had them on 4194 (CONTRACT 5.18).
//! Metrics and health, nothing else: no pods, no debugging.

use std::net::SocketAddr;

use http::{Response, StatusCode};

use crate::body::{self, Body};
use crate::listener::{Protocols, ServerHandle, Tasks, accept_loop, bind, serve_connection};
use crate::metrics::{RequestMetrics, ServerType};
use crate::{ServeError, ServerContext};

/// Connections at once. Monitoring systems hold a handful each.
const MAX_CONNECTIONS: usize = 256;

/// Starts the listener on `address` and `--cadvisor-port`.
pub async fn start(address: SocketAddr, context: ServerContext) -> Result<ServerHandle, ServeError> {
    let (listener, bound) = bind("cAdvisor port", address).await?;
    let tasks = Tasks::default();
    let requests = RequestMetrics::new(&context.registry, ServerType::ReadOnly);
    let of_connections = tasks.clone();
    tasks.tracker.spawn(accept_loop(listener, MAX_CONNECTIONS, tasks.clone(), move |connection| {
        let (context, requests) = (context.clone(), requests.clone());
        serve_connection(connection, Protocols::Http1, of_connections.clone(), move |request| {
            let (context, requests) = (context.clone(), requests.clone());
            async move {
                let path = request.uri().path();
                let running = requests.begin(&context, request.method(), path);
                running.attach(answer(&context, path).await)
            }
        })
    }));
    Ok(ServerHandle::new(bound.to_string(), Some(bound), tasks))
}

async fn answer(context: &ServerContext, path: &str) -> Response<Body> {
    match path {
        "/metrics" | "/metrics/cadvisor" => context.usage.cadvisor().await,
        "/healthz" => body::text(StatusCode::OK, "ok"),
        _ => body::unknown_path(),
    }
}

#[cfg(test)]
mod tests;
