//! One CRI call: its deadline, its metrics, its log line, and the port's error for what went wrong.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use core_metrics::{Counter, DEFAULT_BUCKETS, Desc, Histogram, Registry};
use ports::runtime::{RuntimeError, RuntimeResult};
use tokio::time::Instant;
use tonic::{Code, Response, Status};

/// How often the same error of the same call is logged at most.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// `ExponentialBuckets(.005, 2.5, 14)` of upstream, in seconds.
const DURATION_BUCKETS: &[f64] = &[
    0.005,
    0.0125,
    0.03125,
    0.078125,
    0.1953125,
    0.48828125,
    1.220703125,
    3.0517578125,
    7.62939453125,
    19.073486328125,
    47.6837158203125,
    119.20928955078125,
    298.023_223_876_953_1,
    745.058_059_692_382_8,
];

const OPERATIONS: Desc = Desc {
    name: "kubelet_runtime_operations_total",
    help: "[ALPHA] Cumulative number of runtime operations by operation type.",
    labels: &["operation_type"],
};
const DURATION: Desc = Desc {
    name: "kubelet_runtime_operations_duration_seconds",
    help: "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
    labels: &["operation_type"],
};
const ERRORS: Desc = Desc {
    name: "kubelet_runtime_operations_errors_total",
    help: "[ALPHA] Cumulative number of runtime operation errors by operation type.",
    labels: &["operation_type"],
};

/// A call's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// In CRI and in errors, e.g. `RunPodSandbox`.
    pub(crate) name: &'static str,
    /// In metrics (`operation_type`), upstream's spelling, e.g. `run_podsandbox`.
    operation: &'static str,
    failures: Failures,
}

/// Who tells people of a call's failure.
#[derive(Clone, Copy, Debug)]
enum Failures {
    /// The caller, who knows which pod it concerns.
    Returned,
    /// Also the log: nobody in particular waits for the answer.
    Logged,
}

impl Call {
    /// A call about one object.
    pub(crate) const fn new(name: &'static str, operation: &'static str) -> Self {
        Self { name, operation, failures: Failures::Returned }
    }

    /// A call about everything the runtime has.
    pub(crate) const fn of_all(name: &'static str, operation: &'static str) -> Self {
        Self { name, operation, failures: Failures::Logged }
    }

    fn malformed(self, problem: Malformed) -> RuntimeError {
        let message = format!("the runtime's answer cannot be used: {}", problem.0);
        RuntimeError::Failed { call: self.name, code: "Unknown".to_owned(), message }
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// This long.
    After(Duration),
    /// As long as it takes.
    Never,
}

/// Why a reply cannot be used; the text goes on from "the runtime's answer cannot be used: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

const SANDBOX_DURATION: Desc = Desc {
    name: "kubelet_run_podsandbox_duration_seconds",
    help: "[ALPHA] Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.",
    labels: &["runtime_handler"],
};
const SANDBOX_ERRORS: Desc = Desc {
    name: "kubelet_run_podsandbox_errors_total",
    help: "[ALPHA] Cumulative number of the run_podsandbox operation errors by RuntimeClass.Handler.",
    labels: &["runtime_handler"],
};

/// What all calls to one endpoint share.
#[derive(Debug)]
pub(crate) struct Calls {
    endpoint: String,
    operations: Counter,
    duration: Histogram,
    errors: Counter,
    sandbox_duration: Histogram,
    sandbox_errors: Counter,
    repeats: Mutex<RepeatedErrors>,
}

impl Calls {
    /// `endpoint` is what errors name.
    pub(crate) fn new(endpoint: String, metrics: &Registry) -> Self {
        Self {
            endpoint,
            operations: metrics.counter(OPERATIONS),
            duration: metrics.histogram(DURATION, DURATION_BUCKETS),
            errors: metrics.counter(ERRORS),
            sandbox_duration: metrics.histogram(SANDBOX_DURATION, DEFAULT_BUCKETS),
            sandbox_errors: metrics.counter(SANDBOX_ERRORS),
            repeats: Mutex::default(),
        }
    }

    /// Makes a call within its deadline, reads the answer with `read`, and counts it. When the deadline
    /// passes the request is cancelled.
    pub(crate) async fn run<P, T>(
        &self,
        call: Call,
        deadline: Deadline,
        request: impl Future<Output = Result<Response<P>, Status>>,
        read: impl FnOnce(P) -> Result<T, Malformed>,
    ) -> RuntimeResult<T> {
        let answer = async {
            let response = request.await.map_err(|status| self.error(call, deadline, &status))?;
            read(response.into_inner()).map_err(|problem| call.malformed(problem))
        };
        self.measure(call, deadline, answer).await
    }

    /// Counts the start of a sandbox by its handler, beside the call that it is.
    pub(crate) async fn timed_sandbox<T>(
        &self,
        handler: &str,
        running: impl Future<Output = RuntimeResult<T>>,
    ) -> RuntimeResult<T> {
        let started = Instant::now();
        let result = running.await;
        self.sandbox_duration.observe(&[handler], started.elapsed().as_secs_f64());
        if result.is_err() {
            self.sandbox_errors.inc(&[handler]);
        }
        result
    }

    /// Bounds and counts work that has its own way of calling.
    pub(crate) async fn measure<T>(
        &self,
        call: Call,
        deadline: Deadline,
        work: impl Future<Output = RuntimeResult<T>>,
    ) -> RuntimeResult<T> {
        let started = Instant::now();
        let result = match deadline {
            Deadline::After(after) => match tokio::time::timeout(after, work).await {
                Ok(result) => result,
                Err(_) => Err(RuntimeError::Timeout { call: call.name, after }),
            },
            Deadline::Never => work.await,
        };
        let labels = [call.operation];
        self.operations.inc(&labels);
        self.duration.observe(&labels, started.elapsed().as_secs_f64());
        if result.is_err() {
            self.errors.inc(&labels);
        }
        if let Failures::Logged = call.failures {
            self.log(call, result.as_ref().err());
        }
        result
    }

    /// The port's error for a gRPC status.
    pub(crate) fn error(&self, call: Call, deadline: Deadline, status: &Status) -> RuntimeError {
        let message = status.message().to_owned();
        match (status.code(), deadline) {
            _ if lost_connection(status) => self.unavailable(call, root_cause(status)),
            (Code::Unavailable, Deadline::After(_)) => self.unavailable(call, message),
            (Code::NotFound, _) => RuntimeError::NotFound { call: call.name, message },
            (Code::Unimplemented, _) => RuntimeError::Unimplemented { call: call.name },
            (Code::DeadlineExceeded, Deadline::After(after)) => {
                RuntimeError::Timeout { call: call.name, after }
            }
            // Without a deadline of ours these codes speak of something behind the runtime, e.g. of a
            // registry.
            (code, _) => RuntimeError::Failed { call: call.name, code: code_name(code), message },
        }
    }

    fn unavailable(&self, call: Call, message: String) -> RuntimeError {
        RuntimeError::Unavailable { call: call.name, endpoint: self.endpoint.clone(), message }
    }

    fn log(&self, call: Call, error: Option<&RuntimeError>) {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            // An old runtime never learns a call; whoever asked goes another way and says so.
            None | Some(RuntimeError::Unimplemented { .. }) => repeats.clear(call),
            Some(error) => {
                let text = error.to_string();
                if repeats.is_due(call, &text, Instant::now()) {
                    tracing::warn!(endpoint = %self.endpoint, "{text}");
                }
            }
        }
    }
}

/// gRPC's own spelling of a code, which events and logs of Kubernetes show.
fn code_name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

/// True when the status was made on this side because the connection failed: the runtime never answered.
fn lost_connection(status: &Status) -> bool {
    status.source().is_some()
        && matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
}

/// The innermost cause, which is the one that says something ("No such file or directory").
fn root_cause(status: &Status) -> String {
    let mut cause: &dyn Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The last error of each call, so that a runtime that is down does not fill the log.
#[derive(Debug, Default)]
struct RepeatedErrors {
    last: HashMap<&'static str, (String, Instant)>,
}

impl RepeatedErrors {
    fn is_due(&mut self, call: Call, error: &str, now: Instant) -> bool {
        match self.last.get(call.name) {
            Some((text, at)) if text == error && now.duration_since(*at) < REPEAT_AFTER => false,
            _ => {
                self.last.insert(call.name, (error.to_owned(), now));
                true
            }
        }
    }

    fn clear(&mut self, call: Call) {
        self.last.remove(call.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Call = Call::of_all("ListContainers", "list_containers");
    const STATUS: Call = Call::of_all("Status", "status");

    #[test]
    fn the_same_list_error_is_logged_once_a_minute() {
        let start = Instant::now();
        let mut repeats = RepeatedErrors::default();
        assert!(repeats.is_due(LIST, "down", start));
        assert!(!repeats.is_due(LIST, "down", start + Duration::from_secs(59)));
        assert!(repeats.is_due(STATUS, "down", start), "another call has its own minute");
        assert!(repeats.is_due(LIST, "down", start + REPEAT_AFTER));
        assert!(repeats.is_due(LIST, "other", start + REPEAT_AFTER));
        repeats.clear(LIST);
        assert!(repeats.is_due(LIST, "other", start + REPEAT_AFTER), "an answer in between starts over");
    }

    #[test]
    fn codes_keep_their_meaning() {
        let calls = Calls::new("unix:///s".to_owned(), &Registry::new());
        let after = Duration::from_secs(1);
        let text = |code, deadline| calls.error(STATUS, deadline, &Status::new(code, "words")).to_string();
        let bounded = Deadline::After(after);
        assert_eq!(text(Code::NotFound, bounded), "Status: not found: words");
        assert_eq!(text(Code::Unimplemented, bounded), "Status: the runtime does not implement this call");
        assert!(text(Code::DeadlineExceeded, bounded).starts_with("Status: no answer within 1s"));
        assert!(
            text(Code::Unavailable, bounded)
                .starts_with("Status: cannot reach the container runtime at unix:///s")
        );
        assert_eq!(text(Code::Unknown, bounded), "Status: words");
        // A pull has no deadline: these are the registry's, and its words matter.
        assert_eq!(text(Code::DeadlineExceeded, Deadline::Never), "Status: words");
        assert_eq!(text(Code::Unavailable, Deadline::Never), "Status: words");
        let RuntimeError::Failed { code, .. } = calls.error(STATUS, bounded, &Status::cancelled("")) else {
            panic!("cancelled by the runtime is a failure")
        };
        assert_eq!(code, "Canceled");
    }
}
