//! The health checks behind `/healthz`, and their texts (CONTRACT 1.10, 2.4).

use std::sync::Arc;
use std::time::Duration;

use core_metrics::{Counter, Desc, Gauge, Registry};
use core_types::MonoTime;
use http::{HeaderValue, Response, StatusCode, header};

use crate::ServerContext;
use crate::body::{Body, error_text, text};
use crate::query::Query;

/// The sync loop is not called stuck before this, however short `syncFrequency` is.
const MIN_SYNC_LOOP_PATIENCE: Duration = Duration::from_secs(5 * 60);

type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// Named checks, asked in order.
#[derive(Clone)]
pub struct HealthChecks {
    checks: Arc<[(&'static str, Box<Check>)]>,
    results: Results,
}

/// What checks came to, for `/metrics/slis`.
#[derive(Clone)]
struct Results {
    last: Gauge,
    total: Counter,
}

/// The value of the label `type`: upstream has other kinds of checks elsewhere.
const CHECK_TYPE: &str = "healthz";

impl Results {
    fn new(registry: &Registry) -> Self {
        Self {
            last: registry.gauge(Desc {
                name: "kubernetes_healthcheck",
                help: "[STABLE] This metric records the result of a single healthcheck.",
                labels: &["name", "type"],
            }),
            total: registry.counter(Desc {
                name: "kubernetes_healthchecks_total",
                help: "[STABLE] This metric records the results of all healthcheck.",
                labels: &["name", "type", "status"],
            }),
        }
    }

    fn add(&self, check: &str, result: &Result<(), String>) {
        let (value, status) = if result.is_ok() { (1.0, "success") } else { (0.0, "error") };
        self.last.set(&[check, CHECK_TYPE], value);
        self.total.inc(&[check, CHECK_TYPE, status]);
    }
}

impl HealthChecks {
    /// `ping` alone: the process answers. What upstream serves on 10248.
    pub fn ping() -> Self {
        Self { checks: Arc::new([("ping", Box::new(|| Ok(())))]), results: Results::new(&Registry::new()) }
    }

    /// `ping`, `log` and `syncloop`: what upstream serves on 10250 and 10255. `log` cannot fail here: no task buffers log lines.
    pub fn node(context: &ServerContext) -> Self {
        let patience = (context.facts.sync_frequency * 2).max(MIN_SYNC_LOOP_PATIENCE);
        let results = Results::new(&context.health_registry);
        let context = context.clone();
        let sync_loop = move || {
            let alive = context.control.view().sync_loop_alive;
            if alive != MonoTime::ZERO && context.clock.now().since(alive) > patience {
                return Err("sync Loop took longer than expected".to_owned());
            }
            Ok(())
        };
        let checks: [(&'static str, Box<Check>); 3] =
            [("ping", Box::new(|| Ok(()))), ("log", Box::new(|| Ok(()))), ("syncloop", Box::new(sync_loop))];
        Self { checks: Arc::new(checks), results }
    }

    /// The first check that fails, with its reason; `None` when all is well. For a supervisor's watchdog.
    pub fn problem(&self) -> Option<String> {
        let failed = |(name, check): &(&'static str, Box<Check>)| {
            check().err().map(|problem| format!("{name}: {problem}"))
        };
        self.checks.iter().find_map(failed)
    }

    /// True when there is a check of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.checks.iter().any(|(own, _)| *own == name)
    }

    /// Answer to `/healthz/<name>`, when there is such a check.
    pub(crate) fn one(&self, name: &str) -> Option<Response<Body>> {
        let (_, check) = self.checks.iter().find(|(own, _)| *own == name)?;
        Some(match check() {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(problem) => {
                error_text(StatusCode::INTERNAL_SERVER_ERROR, &format!("internal server error: {problem}"))
            }
        })
    }

    /// Answer to `/healthz`, with `exclude` and `verbose`.
    pub(crate) fn all(&self, query: &Query) -> Response<Body> {
        let mut unknown: Vec<&str> = query.all("exclude").collect();
        unknown.sort_unstable();
        unknown.dedup();
        let mut lines = String::new();
        let mut failed = false;
        for (name, check) in self.checks.iter() {
            if let Some(at) = unknown.iter().position(|excluded| excluded == name) {
                unknown.remove(at);
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
                continue;
            }
            let result = check();
            self.results.add(name, &result);
            match result {
                Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
                Err(problem) => {
                    tracing::warn!(check = name, problem, "health check failed");
                    failed = true;
                    lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                }
            }
        }
        if !unknown.is_empty() {
            let quoted: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let quoted = quoted.join(",");
            lines
                .push_str(&format!("warn: some health checks cannot be excluded: no matches for {quoted}\n"));
        }
        if failed {
            return error_text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{lines}healthz check failed"));
        }
        let body =
            if query.has("verbose") { format!("{lines}healthz check passed\n") } else { "ok".to_owned() };
        let mut response = text(StatusCode::OK, body);
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}
