//! 10255: pods, health, metrics and machine facts for everybody who can reach the address (`readOnlyPort`, CONTRACT 2.4).
//!
//! Handles [`PublicRoute`]s and nothing else, see `routes`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Response, StatusCode};

use crate::body::{self, Body};
use crate::health::HealthChecks;
use crate::listener::{Protocols, ServerHandle, Tasks, accept_loop, bind, serve_connection};
use crate::metrics::{self, RequestMetrics, ServerType};
use crate::pods;
use crate::query::Query;
use crate::routes::{self, Match, PublicRoute};
use crate::{ServeError, ServerContext};

/// Connections at once. Monitoring systems hold a handful each.
const MAX_CONNECTIONS: usize = 256;

/// Starts the listener on `address` and `readOnlyPort`.
pub async fn start(address: SocketAddr, context: ServerContext) -> Result<ServerHandle, ServeError> {
    let (listener, bound) = bind("read-only port", address).await?;
    let tasks = Tasks::default();
    let public = Arc::new(Public::new(context, ServerType::ReadOnly));
    let of_connections = tasks.clone();
    tasks.tracker.spawn(accept_loop(listener, MAX_CONNECTIONS, tasks.clone(), move |connection| {
        let public = Arc::clone(&public);
        serve_connection(connection, Protocols::Http1, of_connections.clone(), move |request| {
            let public = Arc::clone(&public);
            async move {
                let (path, query) = (request.uri().path(), request.uri().query());
                let running = public.requests.begin(&public.context, request.method(), path);
                running.attach(answer(&public, request.method(), path, query).await)
            }
        })
    }));
    Ok(ServerHandle::new(bound.to_string(), Some(bound), tasks))
}

async fn answer(public: &Public, method: &Method, path: &str, query: Option<&str>) -> Response<Body> {
    match routes::public(method, path) {
        Match::Route(route) => public.answer(&route, query).await,
        Match::WrongMethod(allow) => body::method_not_allowed(allow),
        Match::NoRoute => body::unknown_route(),
        Match::Unknown if routes::is_disabled_debug(path) => debug_disabled(),
        Match::Unknown => body::unknown_path(),
    }
}

/// Answer on debugging paths where they are off.
pub(crate) fn debug_disabled() -> Response<Body> {
    body::error_text(StatusCode::METHOD_NOT_ALLOWED, "Debug endpoints are disabled.")
}

/// The handlers that 10255 and 10250 share.
pub(crate) struct Public {
    pub(crate) context: ServerContext,
    pub(crate) requests: RequestMetrics,
    checks: HealthChecks,
}

impl Public {
    pub(crate) fn new(context: ServerContext, server_type: ServerType) -> Self {
        let requests = RequestMetrics::new(&context.registry, server_type);
        let checks = HealthChecks::node(&context);
        Self { context, requests, checks }
    }

    /// True when the route leads somewhere: `/healthz/<unknown>` does not.
    pub(crate) fn knows(&self, route: &PublicRoute) -> bool {
        !matches!(route, PublicRoute::HealthzCheck(name) if !self.checks.has(name))
    }

    pub(crate) async fn answer(&self, route: &PublicRoute, query: Option<&str>) -> Response<Body> {
        match route {
            PublicRoute::Healthz => self.checks.all(&Query::parse(query)),
            PublicRoute::HealthzCheck(name) => self.checks.one(name).unwrap_or_else(body::unknown_path),
            PublicRoute::Pods => body::json(StatusCode::OK, &pods::known(&self.context.control.view())),
            PublicRoute::Metrics => metrics::scrape(&self.context),
            PublicRoute::ProbeMetrics => metrics::scrape_probes(&self.context),
            PublicRoute::CadvisorMetrics => self.context.usage.cadvisor().await,
            PublicRoute::ResourceMetrics => self.context.usage.resource().await,
            PublicRoute::HealthMetrics => metrics::scrape_health(&self.context),
            PublicRoute::Summary => self.context.usage.summary(&Query::parse(query)).await,
            PublicRoute::Spec => body::json(StatusCode::OK, &self.context.facts.machine_info),
        }
    }
}

#[cfg(test)]
mod tests;
