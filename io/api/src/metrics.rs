//! Metrics of requests, as client-go names them (CONTRACT 5.15).

use std::time::Duration;

use core_metrics::{Counter, Desc, Histogram, Registry};

const LATENCY_BUCKETS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
const SIZE_BUCKETS: &[f64] = &[
    64.0,
    256.0,
    512.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

const REQUESTS: Desc = Desc {
    name: "rest_client_requests_total",
    help: "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.",
    labels: &["code", "method", "host"],
};
const DURATION: Desc = Desc {
    name: "rest_client_request_duration_seconds",
    help: "[ALPHA] Request latency in seconds. Broken down by verb, and host.",
    labels: &["verb", "host"],
};
const RATE_LIMITER: Desc = Desc {
    name: "rest_client_rate_limiter_duration_seconds",
    help: "[ALPHA] Client side rate limiter latency in seconds. Broken down by verb, and host.",
    labels: &["verb", "host"],
};
const REQUEST_SIZE: Desc = Desc {
    name: "rest_client_request_size_bytes",
    help: "[ALPHA] Request size in bytes. Broken down by verb and host.",
    labels: &["verb", "host"],
};
const RESPONSE_SIZE: Desc = Desc {
    name: "rest_client_response_size_bytes",
    help: "[ALPHA] Response size in bytes. Broken down by verb and host.",
    labels: &["verb", "host"],
};
const RETRIES: Desc = Desc {
    name: "rest_client_request_retries_total",
    help: "[ALPHA] Number of request retries, partitioned by status code, verb, and host.",
    labels: &["code", "verb", "host"],
};

/// The families, for one server.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    host: String,
    requests: Counter,
    duration: Histogram,
    rate_limiter: Histogram,
    request_size: Histogram,
    response_size: Histogram,
    retries: Counter,
}

impl RequestMetrics {
    pub(crate) fn new(host: &str, registry: &Registry) -> Self {
        Self {
            host: host.to_owned(),
            requests: registry.counter(REQUESTS),
            duration: registry.histogram(DURATION, LATENCY_BUCKETS),
            rate_limiter: registry.histogram(RATE_LIMITER, LATENCY_BUCKETS),
            request_size: registry.histogram(REQUEST_SIZE, SIZE_BUCKETS),
            response_size: registry.histogram(RESPONSE_SIZE, SIZE_BUCKETS),
            retries: registry.counter(RETRIES),
        }
    }

    pub(crate) fn waited(&self, verb: &str, wait: Duration) {
        self.rate_limiter.observe(&[verb, &self.host], wait.as_secs_f64());
    }

    /// One request was answered with `code`, or broke (`<error>`).
    pub(crate) fn answered(&self, verb: &str, code: &str, took: Duration, request_bytes: usize) {
        self.requests.inc(&[code, verb, &self.host]);
        self.duration.observe(&[verb, &self.host], took.as_secs_f64());
        self.request_size.observe(&[verb, &self.host], request_bytes as f64);
    }

    pub(crate) fn received(&self, verb: &str, bytes: usize) {
        self.response_size.observe(&[verb, &self.host], bytes as f64);
    }

    pub(crate) fn retried(&self, verb: &str, code: &str) {
        self.retries.inc(&[code, verb, &self.host]);
    }
}
