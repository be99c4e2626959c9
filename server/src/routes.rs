//! Which path and method means what. There are two sets of routes with two types: [`PublicRoute`] on both 10255 and 10250,
//! [`DebugRoute`] on 10250 alone. The read-only listener handles the first type only, so it cannot serve a debugging path.
//!
//! Answers for what is no route follow Go's mux (a path nobody knows: 404 before authentication) and go-restful (inside a
//! known service: 404 or 405 after authentication) (CONTRACT 2.4, 2.5).

use http::Method;

/// Routes that need no authentication on 10255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicRoute {
    /// `/healthz`.
    Healthz,
    /// `/healthz/<check>`.
    HealthzCheck(String),
    /// `/pods`.
    Pods,
    /// `/metrics`.
    Metrics,
    /// `/metrics/cadvisor`.
    CadvisorMetrics,
    /// `/spec/`.
    Spec,
}

/// Routes on 10250 with `enableDebuggingHandlers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DebugRoute {
    /// `/containerLogs/<namespace>/<pod>/<container>`.
    ContainerLogs(ContainerPath),
    /// `/runningpods/`.
    RunningPods,
    /// `/configz`.
    Configz,
}

/// A container named by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerPath {
    /// Namespace.
    pub(crate) namespace: String,
    /// Pod.
    pub(crate) pod: String,
    /// Container.
    pub(crate) container: String,
}

impl ContainerPath {
    /// Reads `<namespace>/<pod>/<container>`.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let mut parts = rest.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let path = Self { namespace: parts.next()?, pod: parts.next()?, container: parts.next()? };
        parts.next().is_none().then_some(path)
    }
}

/// What a path and method lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match<R> {
    /// A route.
    Route(R),
    /// A known path that takes only these methods.
    WrongMethod(&'static str),
    /// A known service without this path.
    NoRoute,
    /// Nothing in this set.
    Unknown,
}

/// Looks a path up in the public set. Health and metrics take any method, as upstream's.
pub(crate) fn public(method: &Method, path: &str) -> Match<PublicRoute> {
    match path {
        "/healthz" => Match::Route(PublicRoute::Healthz),
        "/metrics" => Match::Route(PublicRoute::Metrics),
        "/metrics/cadvisor" => Match::Route(PublicRoute::CadvisorMetrics),
        "/pods" | "/pods/" => get_only(method, PublicRoute::Pods),
        "/spec" | "/spec/" => get_only(method, PublicRoute::Spec),
        _ => match path.strip_prefix("/healthz/") {
            Some(check) => Match::Route(PublicRoute::HealthzCheck(check.to_owned())),
            None if path.starts_with("/pods/") || path.starts_with("/spec/") => Match::NoRoute,
            None => Match::Unknown,
        },
    }
}

/// Looks a path up in the debugging set.
pub(crate) fn debug(method: &Method, path: &str) -> Match<DebugRoute> {
    match path {
        "/configz" => Match::Route(DebugRoute::Configz),
        "/runningpods" | "/runningpods/" => get_only(method, DebugRoute::RunningPods),
        _ => match path.strip_prefix("/containerLogs/") {
            Some(rest) => match ContainerPath::parse(rest) {
                Some(container) => get_only(method, DebugRoute::ContainerLogs(container)),
                None => Match::NoRoute,
            },
            None if path.starts_with("/runningpods/") || path == "/containerLogs" => Match::NoRoute,
            None => Match::Unknown,
        },
    }
}

fn get_only<R>(method: &Method, route: R) -> Match<R> {
    if method == Method::GET { Match::Route(route) } else { Match::WrongMethod("GET") }
}

/// True for the paths that answer 405 where debugging is off.
pub(crate) fn is_disabled_debug(path: &str) -> bool {
    const PREFIXES: [&str; 8] = [
        "/run/",
        "/exec/",
        "/attach/",
        "/portForward/",
        "/containerLogs/",
        "/runningpods/",
        "/debug/pprof/",
        "/logs/",
    ];
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_paths() {
        let table = [
            ("GET", "/healthz", Match::Route(PublicRoute::Healthz)),
            ("POST", "/healthz", Match::Route(PublicRoute::Healthz)),
            ("GET", "/healthz/ping", Match::Route(PublicRoute::HealthzCheck("ping".into()))),
            ("GET", "/pods", Match::Route(PublicRoute::Pods)),
            ("DELETE", "/pods", Match::WrongMethod("GET")),
            ("GET", "/pods/a", Match::NoRoute),
            ("GET", "/spec/", Match::Route(PublicRoute::Spec)),
            ("GET", "/metrics/cadvisor", Match::Route(PublicRoute::CadvisorMetrics)),
            ("GET", "/metrics/else", Match::Unknown),
            ("GET", "/containerLogs/a/b/c", Match::Unknown),
            ("GET", "/", Match::Unknown),
        ];
        for (method, path, want) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("method");
            assert_eq!(public(&method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn debug_paths() {
        let container = ContainerPath { namespace: "a".into(), pod: "b".into(), container: "c".into() };
        let table = [
            ("GET", "/containerLogs/a/b/c", Match::Route(DebugRoute::ContainerLogs(container))),
            ("POST", "/containerLogs/a/b/c", Match::WrongMethod("GET")),
            ("GET", "/containerLogs/a/b", Match::NoRoute),
            ("GET", "/containerLogs/a/b/c/d", Match::NoRoute),
            ("GET", "/runningpods/", Match::Route(DebugRoute::RunningPods)),
            ("GET", "/configz", Match::Route(DebugRoute::Configz)),
            ("POST", "/exec/a/b/c", Match::Unknown),
        ];
        for (method, path, want) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("method");
            assert_eq!(debug(&method, path), want, "{method} {path}");
        }
    }
}
