//! Which path and method means what. There are two sets of routes with two types: [`PublicRoute`] on both 10255 and 10250,
//! [`DebugRoute`] on 10250 alone. The read-only listener handles the first type only, so it cannot serve a debugging path.
//!
//! Answers for what is no route follow Go's mux (a path nobody knows: 404 before authentication) and go-restful (inside a
//! known service: 404 or 405 after authentication) (CONTRACT 2.4, 2.5).

use core_types::PodUid;
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
    /// `/metrics/probes`.
    ProbeMetrics,
    /// `/metrics/resource`.
    ResourceMetrics,
    /// `/metrics/slis`.
    HealthMetrics,
    /// `/stats/summary`.
    Summary,
    /// `/spec/`.
    Spec,
}

/// Routes on 10250 with `enableDebuggingHandlers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DebugRoute {
    /// `/containerLogs/<namespace>/<pod>/<container>`.
    ContainerLogs(ContainerPath),
    /// `/run/<namespace>/<pod>[/<uid>]/<container>`.
    Run(ContainerPath),
    /// `/exec/<namespace>/<pod>[/<uid>]/<container>`.
    Exec(ContainerPath),
    /// `/attach/<namespace>/<pod>[/<uid>]/<container>`.
    Attach(ContainerPath),
    /// `/portForward/<namespace>/<pod>[/<uid>]`.
    PortForward(PodPath),
    /// `/checkpoint/<namespace>/<pod>/<container>`.
    Checkpoint(ContainerPath),
    /// `/logs/<path>`, decoded.
    NodeLogs(String),
    /// `/flagz`.
    Flagz,
    /// `/statusz`.
    Statusz,
    /// `/debug/flags/v`.
    Verbosity,
    /// `/debug/pprof/<name>`.
    Profile(String),
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
    /// UID, where the path has one.
    pub(crate) uid: Option<PodUid>,
    /// Container.
    pub(crate) container: String,
}

/// A pod named by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodPath {
    /// Namespace.
    pub(crate) namespace: String,
    /// Pod.
    pub(crate) pod: String,
    /// UID, where the path has one.
    pub(crate) uid: Option<PodUid>,
}

impl PodPath {
    /// Reads `<namespace>/<pod>[/<uid>]`.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let (namespace, pod, uid) = match segments(rest)[..] {
            [namespace, pod] => (namespace, pod, None),
            [namespace, pod, uid] => (namespace, pod, Some(PodUid::from(uid))),
            _ => return None,
        };
        Some(Self { namespace: namespace.to_owned(), pod: pod.to_owned(), uid })
    }
}

fn segments(rest: &str) -> Vec<&str> {
    rest.split('/').filter(|part| !part.is_empty()).collect()
}

impl ContainerPath {
    /// Reads `<namespace>/<pod>/<container>`.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let [namespace, pod, container] = segments(rest)[..] else { return None };
        Some(Self::new(namespace, pod, None, container))
    }

    /// Reads `<namespace>/<pod>[/<uid>]/<container>`.
    pub(crate) fn parse_with_uid(rest: &str) -> Option<Self> {
        match segments(rest)[..] {
            [namespace, pod, container] => Some(Self::new(namespace, pod, None, container)),
            [namespace, pod, uid, container] => Some(Self::new(namespace, pod, Some(uid), container)),
            _ => None,
        }
    }

    fn new(namespace: &str, pod: &str, uid: Option<&str>, container: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            uid: uid.map(PodUid::from),
            container: container.to_owned(),
        }
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

/// Services of which only some paths lead somewhere.
const SERVICES: [&str; 3] = ["/pods/", "/spec/", "/stats/"];

/// Looks a path up in the public set. Health and metrics take any method, as upstream's.
pub(crate) fn public(method: &Method, path: &str) -> Match<PublicRoute> {
    match path {
        "/healthz" => Match::Route(PublicRoute::Healthz),
        "/metrics" => Match::Route(PublicRoute::Metrics),
        "/metrics/cadvisor" => Match::Route(PublicRoute::CadvisorMetrics),
        "/metrics/probes" => Match::Route(PublicRoute::ProbeMetrics),
        "/metrics/resource" => Match::Route(PublicRoute::ResourceMetrics),
        "/metrics/slis" => Match::Route(PublicRoute::HealthMetrics),
        "/stats/summary" | "/stats/summary/" => one_of(method, "GET, POST", PublicRoute::Summary),
        "/pods" | "/pods/" => get_only(method, PublicRoute::Pods),
        "/spec" | "/spec/" => get_only(method, PublicRoute::Spec),
        _ => match path.strip_prefix("/healthz/") {
            Some(check) => Match::Route(PublicRoute::HealthzCheck(check.to_owned())),
            None if SERVICES.iter().any(|service| path.starts_with(service)) => Match::NoRoute,
            None => Match::Unknown,
        },
    }
}

/// Methods of a stream, for the header of a refusal.
const STREAM_METHODS: &str = "GET, POST";

/// Looks a path up in the debugging set.
pub(crate) fn debug(method: &Method, path: &str) -> Match<DebugRoute> {
    match path {
        "/configz" => return Match::Route(DebugRoute::Configz),
        "/flagz" => return Match::Route(DebugRoute::Flagz),
        "/statusz" => return Match::Route(DebugRoute::Statusz),
        "/debug/flags/v" => return Match::Route(DebugRoute::Verbosity),
        "/runningpods" | "/runningpods/" => return get_only(method, DebugRoute::RunningPods),
        _ => {}
    }
    let (service, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let stream = |route: Option<DebugRoute>| match route {
        Some(route) => one_of(method, STREAM_METHODS, route),
        None => Match::NoRoute,
    };
    match service {
        "containerLogs" => match ContainerPath::parse(rest) {
            Some(container) => get_only(method, DebugRoute::ContainerLogs(container)),
            None => Match::NoRoute,
        },
        "run" => match ContainerPath::parse_with_uid(rest) {
            Some(container) => one_of(method, "POST", DebugRoute::Run(container)),
            None => Match::NoRoute,
        },
        "exec" => stream(ContainerPath::parse_with_uid(rest).map(DebugRoute::Exec)),
        "attach" => stream(ContainerPath::parse_with_uid(rest).map(DebugRoute::Attach)),
        "portForward" => stream(PodPath::parse(rest).map(DebugRoute::PortForward)),
        "checkpoint" => match ContainerPath::parse(rest) {
            Some(container) => one_of(method, "POST", DebugRoute::Checkpoint(container)),
            None => Match::NoRoute,
        },
        "logs" => get_only(method, DebugRoute::NodeLogs(decoded(rest))),
        "debug" => match rest.strip_prefix("pprof/") {
            Some(name) => get_only(method, DebugRoute::Profile(name.to_owned())),
            None => Match::Unknown,
        },
        "runningpods" => Match::NoRoute,
        _ => Match::Unknown,
    }
}

/// A path with its escapes resolved. What is no text afterwards names no file that could be asked for.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get_only<R>(method: &Method, route: R) -> Match<R> {
    one_of(method, "GET", route)
}

fn one_of<R>(method: &Method, allowed: &'static str, route: R) -> Match<R> {
    if allowed.split(", ").any(|one| one == method) {
        Match::Route(route)
    } else {
        Match::WrongMethod(allowed)
    }
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
            ("GET", "/metrics/probes", Match::Route(PublicRoute::ProbeMetrics)),
            ("GET", "/metrics/resource", Match::Route(PublicRoute::ResourceMetrics)),
            ("GET", "/metrics/slis", Match::Route(PublicRoute::HealthMetrics)),
            ("GET", "/metrics/else", Match::Unknown),
            ("GET", "/stats/summary", Match::Route(PublicRoute::Summary)),
            ("POST", "/stats/summary", Match::Route(PublicRoute::Summary)),
            ("PUT", "/stats/summary", Match::WrongMethod("GET, POST")),
            ("GET", "/stats/", Match::NoRoute),
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
        let container = |uid| ContainerPath::new("a", "b", uid, "c");
        let pod = |uid: Option<&str>| PodPath {
            namespace: "a".into(),
            pod: "b".into(),
            uid: uid.map(PodUid::from),
        };
        let table = [
            ("GET", "/containerLogs/a/b/c", Match::Route(DebugRoute::ContainerLogs(container(None)))),
            ("POST", "/containerLogs/a/b/c", Match::WrongMethod("GET")),
            ("GET", "/containerLogs/a/b", Match::NoRoute),
            ("GET", "/containerLogs/a/b/c/d", Match::NoRoute),
            ("GET", "/runningpods/", Match::Route(DebugRoute::RunningPods)),
            ("GET", "/configz", Match::Route(DebugRoute::Configz)),
            ("POST", "/exec/a/b/c", Match::Route(DebugRoute::Exec(container(None)))),
            ("GET", "/exec/a/b/u/c", Match::Route(DebugRoute::Exec(container(Some("u"))))),
            ("GET", "/exec/a/b/c/", Match::Route(DebugRoute::Exec(container(None)))),
            ("PUT", "/exec/a/b/c", Match::WrongMethod("GET, POST")),
            ("HEAD", "/exec/a/b/c", Match::WrongMethod("GET, POST")),
            ("GET", "/exec", Match::NoRoute),
            ("GET", "/exec/a/b", Match::NoRoute),
            ("GET", "/exec/a/b/u/c/d", Match::NoRoute),
            ("GET", "/attach/a/b/c", Match::Route(DebugRoute::Attach(container(None)))),
            ("POST", "/attach/a/b/u/c", Match::Route(DebugRoute::Attach(container(Some("u"))))),
            ("POST", "/run/a/b/c", Match::Route(DebugRoute::Run(container(None)))),
            ("POST", "/run/a/b/u/c", Match::Route(DebugRoute::Run(container(Some("u"))))),
            ("GET", "/run/a/b/c", Match::WrongMethod("POST")),
            ("GET", "/portForward/a/b", Match::Route(DebugRoute::PortForward(pod(None)))),
            ("POST", "/portForward/a/b/u", Match::Route(DebugRoute::PortForward(pod(Some("u"))))),
            ("POST", "/portForward/a", Match::NoRoute),
            ("POST", "/portforward/a/b", Match::Unknown),
            ("GET", "/logs/", Match::Route(DebugRoute::NodeLogs(String::new()))),
            ("GET", "/logs/a%20b/%2e", Match::Route(DebugRoute::NodeLogs("a b/.".into()))),
            ("POST", "/logs/", Match::WrongMethod("GET")),
            ("POST", "/checkpoint/a/b/c", Match::Route(DebugRoute::Checkpoint(container(None)))),
            ("GET", "/checkpoint/a/b/c", Match::WrongMethod("POST")),
            ("POST", "/checkpoint/a/b/u/c", Match::NoRoute),
            ("GET", "/flagz", Match::Route(DebugRoute::Flagz)),
            ("GET", "/statusz", Match::Route(DebugRoute::Statusz)),
            ("PUT", "/debug/flags/v", Match::Route(DebugRoute::Verbosity)),
            ("GET", "/debug/pprof/heap", Match::Route(DebugRoute::Profile("heap".into()))),
            ("POST", "/debug/pprof/heap", Match::WrongMethod("GET")),
            ("GET", "/debug/else", Match::Unknown),
            ("GET", "/", Match::Unknown),
        ];
        for (method, path, want) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("method");
            assert_eq!(debug(&method, path), want, "{method} {path}");
        }
    }
}
