//! `/metrics`: counts requests, and fills in at each scrape what is read rather than counted (CONTRACT 5.15).

mod pods;

use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Gauge, Histogram, Registry};
use core_types::MonoTime;
use core_types::runtime::ContainerState;
use http::{Method, Response, StatusCode};

use crate::ServerContext;
use crate::body::{Body, guarded, respond};

/// Content type of Prometheus' text form.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Methods counted by name; others are `other`, so that a client cannot make up series.
const METHODS: [&str; 8] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"];
/// First path segments counted by name; others are `other`.
const PATHS: [&str; 21] = [
    "attach",
    "checkpoint",
    "configz",
    "containerLogs",
    "debug",
    "exec",
    "flagz",
    "healthz",
    "logs",
    "metrics",
    "metrics/cadvisor",
    "metrics/probes",
    "metrics/resource",
    "metrics/slis",
    "pods",
    "portForward",
    "run",
    "runningpods",
    "spec",
    "stats",
    "statusz",
];
const REQUEST_LABELS: &[&str] = &["method", "path", "server_type", "long_running"];

const PROCESS_START: Desc = Desc {
    name: "process_start_time_seconds",
    help: "Start time of the process since unix epoch in seconds.",
    labels: &[],
};

/// Which listener a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerType {
    /// 10255.
    ReadOnly,
    /// 10250.
    ReadWrite,
}

/// Counts the requests of one listener.
#[derive(Clone)]
pub(crate) struct RequestMetrics {
    server_type: &'static str,
    total: Counter,
    in_flight: Gauge,
    duration: Histogram,
}

impl RequestMetrics {
    pub(crate) fn new(registry: &Registry, server_type: ServerType) -> Self {
        let desc = |name, help| Desc { name, help, labels: REQUEST_LABELS };
        Self {
            server_type: match server_type {
                ServerType::ReadOnly => "readonly",
                ServerType::ReadWrite => "readwrite",
            },
            total: registry.counter(desc(
                "kubelet_http_requests_total",
                "[ALPHA] Number of the http requests received since the server started",
            )),
            in_flight: registry.gauge(desc(
                "kubelet_http_inflight_requests",
                "[ALPHA] Number of the inflight http requests",
            )),
            duration: registry.histogram(
                desc(
                    "kubelet_http_requests_duration_seconds",
                    "[ALPHA] Duration in seconds to serve http requests",
                ),
                DEFAULT_BUCKETS,
            ),
        }
    }

    /// Counts a request that begins now; it ends when the answer's body has been sent ([`Running::attach`]).
    pub(crate) fn begin(&self, context: &ServerContext, method: &Method, path: &str) -> Running {
        let path = path_label(path);
        let labels = [
            METHODS.iter().copied().find(|name| *name == method.as_str()).unwrap_or("other"),
            path,
            self.server_type,
            if matches!(path, "exec" | "attach" | "portforward" | "debug") { "true" } else { "false" },
        ];
        self.total.inc(&labels);
        self.in_flight.add(&labels, 1.0);
        Running { metrics: self.clone(), labels, began: context.clock.now(), context: context.clone() }
    }
}

/// A request in flight.
pub(crate) struct Running {
    metrics: RequestMetrics,
    labels: [&'static str; 4],
    began: MonoTime,
    context: ServerContext,
}

impl Running {
    /// Lets the request last as long as its answer.
    pub(crate) fn attach(self, response: Response<Body>) -> Response<Body> {
        guarded(response, self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.add(&self.labels, -1.0);
        let took = self.context.clock.now().since(self.began);
        self.metrics.duration.observe(&self.labels, took.as_secs_f64());
    }
}

fn path_label(path: &str) -> &'static str {
    let mut segments = path.trim_start_matches('/').split('/');
    let first = segments.next().unwrap_or_default();
    let two = match segments.next() {
        Some(second) if first == "metrics" && !second.is_empty() => format!("metrics/{second}"),
        _ => first.to_owned(),
    };
    PATHS.iter().copied().find(|known| *known == two).unwrap_or("other")
}

/// Answer to `/metrics`.
pub(crate) fn scrape(context: &ServerContext) -> Response<Body> {
    fill_node(context);
    fill_process(context);
    respond(StatusCode::OK, CONTENT_TYPE, context.registry.text())
}

/// Answer to `/metrics/probes`.
pub(crate) fn scrape_probes(context: &ServerContext) -> Response<Body> {
    if let Some(stats) = context.process.stats() {
        context.probe_registry.gauge(PROCESS_START).set(&[], stats.start_time_seconds);
    }
    respond(StatusCode::OK, CONTENT_TYPE, context.probe_registry.text())
}

/// Answer to `/metrics/slis`.
pub(crate) fn scrape_health(context: &ServerContext) -> Response<Body> {
    if let Some(stats) = context.process.stats() {
        context.health_registry.gauge(PROCESS_START).set(&[], stats.start_time_seconds);
    }
    respond(StatusCode::OK, CONTENT_TYPE, context.health_registry.text())
}

fn fill_node(context: &ServerContext) {
    let registry = &context.registry;
    let node_name = Desc {
        name: "kubelet_node_name",
        help: "[ALPHA] The node's name. The count is always 1.",
        labels: &["node"],
    };
    registry.gauge(node_name).set(&[&context.facts.node_name], 1.0);
    fill_build_info(context);

    let view = context.control.view();
    pods::fill(registry, &view);
    let pods = view.observed.values();
    let running =
        pods.clone().filter(|pod| pod.sandboxes.iter().any(core_types::ObservedSandbox::is_ready)).count();
    let running_pods = Desc {
        name: "kubelet_running_pods",
        help: "[ALPHA] Number of pods that have a running pod sandbox",
        labels: &[],
    };
    registry.gauge(running_pods).set(&[], running as f64);
    let running_containers = Desc {
        name: "kubelet_running_containers",
        help: "[ALPHA] Number of containers currently running",
        labels: &["container_state"],
    };
    let gauge = registry.gauge(running_containers);
    let states = [
        ("created", ContainerState::Created),
        ("running", ContainerState::Running),
        ("exited", ContainerState::Exited),
        ("unknown", ContainerState::Unknown),
    ];
    for (label, state) in states {
        let containers = pods.clone().flat_map(|pod| &pod.containers);
        gauge.set(&[label], containers.filter(|container| container.state() == state).count() as f64);
    }
}

fn fill_build_info(context: &ServerContext) {
    let build_info = Desc {
        name: "kubernetes_build_info",
        help: "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, \
               build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        labels: &[
            "major",
            "minor",
            "git_version",
            "git_commit",
            "git_tree_state",
            "build_date",
            "go_version",
            "compiler",
            "platform",
        ],
    };
    let version = context.facts.version.as_str();
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let platform = format!("linux/{arch}");
    context.registry.gauge(build_info).set(&[major, minor, version, "", "", "", "", "rustc", &platform], 1.0);
}

fn fill_process(context: &ServerContext) {
    let Some(stats) = context.process.stats() else { return };
    let registry = &context.registry;
    let gauge = |name, help, value: f64| registry.gauge(Desc { name, help, labels: &[] }).set(&[], value);
    // A counter in Prometheus' eyes, but read whole from the kernel each time.
    let cpu = Desc {
        name: "process_cpu_seconds_total",
        help: "Total user and system CPU time spent in seconds.",
        labels: &[],
    };
    registry.counter(cpu).set_total(&[], stats.cpu_seconds);
    gauge("process_max_fds", "Maximum number of open file descriptors.", stats.max_fds as f64);
    gauge("process_open_fds", "Number of open file descriptors.", stats.open_fds as f64);
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        stats.resident_memory_bytes as f64,
    );
    registry.gauge(PROCESS_START).set(&[], stats.start_time_seconds);
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", stats.virtual_memory_bytes as f64);
    // As Go's client: -1 for no limit.
    gauge(
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        stats.virtual_memory_max_bytes.map_or(-1.0, |bytes| bytes as f64),
    );
    let total = |name, help, value: u64| {
        registry.counter(Desc { name, help, labels: &[] }).set_total(&[], value as f64);
    };
    total(
        "process_network_receive_bytes_total",
        "Number of bytes received by the process over the network.",
        stats.network_receive_bytes,
    );
    total(
        "process_network_transmit_bytes_total",
        "Number of bytes sent by the process over the network.",
        stats.network_transmit_bytes,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_by_their_first_segment() {
        let table = [
            ("/pods", "pods"),
            ("/metrics", "metrics"),
            ("/metrics/cadvisor", "metrics/cadvisor"),
            ("/metrics/else", "other"),
            ("/containerLogs/a/b/c", "containerLogs"),
            ("/", "other"),
            ("/whatever", "other"),
        ];
        for (path, want) in table {
            assert_eq!(path_label(path), want, "{path}");
        }
    }
}
