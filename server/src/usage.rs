//! The pages that show what the node uses: `/stats/summary`, `/metrics/resource` and `/metrics/cadvisor` (CONTRACT 2.9, 5.16,
//! 5.18).
//!
//! Reads only when asked, and shares what was read with all who ask for the node's use (`ports::Readings`). A pod whose
//! cgroups do not answer, or a runtime that does not, leaves its numbers out and shows in the metrics of errors; all others
//! are there.

use std::sync::Arc;

use core_stats::{Completeness, Page, UsageReading, Whose, resource_metrics, summary};
use futures_util::{future, stream};
use http::{HeaderValue, Response, StatusCode, header};
use ports::Readings;

use crate::body::{self, Body};
use crate::metrics::CONTENT_TYPE;
use crate::query::Query;

pub use core_stats::{MachineFacts, SummaryFacts, VersionFacts};

/// What the pages are made from, shared by all listeners.
#[derive(Clone)]
pub struct UsagePages {
    /// Readings of the node.
    pub readings: Arc<dyn Readings>,
    /// Facts of the node.
    pub node: SummaryFacts,
    /// Facts of the machine.
    pub machine: MachineFacts,
    /// Versions.
    pub version: VersionFacts,
}

impl UsagePages {
    /// Answer to `/stats/summary`.
    pub(crate) async fn summary(&self, query: &Query) -> Response<Body> {
        let asked: Vec<&str> = query.all("only_cpu_and_memory").collect();
        if asked == ["true"] {
            let usage = self.readings.usage().await;
            return answer(&usage, || summary::cpu_and_memory(&self.node, &usage));
        }
        let readings = &self.readings;
        let (usage, layers, storage) =
            future::join3(readings.usage(), readings.layers(), readings.storage()).await;
        answer(&usage, || summary::whole(&self.node, &usage, &storage, &layers))
    }

    /// Answer to `/metrics/resource`.
    pub(crate) async fn resource(&self) -> Response<Body> {
        let usage = self.readings.usage().await;
        let completeness = match usage.missing.is_empty() && usage.of(&Whose::Machine).is_some() {
            true => Completeness::Whole,
            false => Completeness::Missing,
        };
        let text = resource_metrics(&summary::cpu_and_memory(&self.node, &usage), completeness);
        body::respond(StatusCode::OK, CONTENT_TYPE, text)
    }

    /// Answer to `/metrics/cadvisor`.
    pub(crate) async fn cadvisor(&self) -> Response<Body> {
        let readings = &self.readings;
        let readings = future::join3(readings.cgroups_usage(), readings.layers(), readings.details()).await;
        let page = Arc::new(Page::new(self.machine.clone(), self.version.clone(), readings));
        let pieces = page.pieces().map(|piece| Ok(piece.into()));
        let mut response = Response::new(body::stream(stream::iter(pieces)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

/// A summary without the node itself is none.
fn answer(usage: &UsageReading, summary: impl FnOnce() -> summary::Summary) -> Response<Body> {
    match usage.of(&Whose::Machine) {
        Some(_) => body::json(StatusCode::OK, &summary()),
        None => body::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal Error: failed to get root cgroup stats: the kernel did not answer in time",
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::testing::{ANY_PORT, FakeAgent, ask};
    use crate::{ServerHandle, read_only};

    async fn get(handle: &ServerHandle, method: &str, path: &str) -> crate::testing::Answer {
        let address = handle.socket_address().expect("bound");
        ask(TcpStream::connect(address).await.expect("connect"), method, path, "").await
    }

    #[tokio::test]
    async fn a_summary_is_whole_or_small_and_resources_are_metrics() {
        let agent = FakeAgent::new();
        agent.storage.lock().expect("lock").node = Some(core_stats::FilesystemSample::default());
        let handle = read_only::start(ANY_PORT, agent.context()).await.expect("starts");
        let whole = get(&handle, "GET", "/stats/summary").await.json();
        assert_eq!((&whole["node"]["nodeName"], whole["node"]["fs"].is_object()), (&"node-1".into(), true));
        assert_eq!(whole["pods"][0]["containers"][0]["cpu"]["usageCoreNanoSeconds"], 1_500_000_000);
        assert_eq!(get(&handle, "POST", "/stats/summary").await.json(), whole);
        let small = get(&handle, "GET", "/stats/summary?only_cpu_and_memory=true").await.json();
        assert!(small["node"]["cpu"].is_object() && small["node"]["fs"].is_null(), "{small}");
        assert_eq!(get(&handle, "GET", "/stats/summary?only_cpu_and_memory=1").await.json(), whole);
        assert_eq!(get(&handle, "GET", "/stats/else").await.status, StatusCode::NOT_FOUND);

        let text = get(&handle, "GET", "/metrics/resource").await.body;
        let labels = "container=\"main\",namespace=\"default\",pod=\"web\"";
        let want = format!("container_cpu_usage_seconds_total{{{labels}}} 1.5 1800000000000\n");
        assert!(text.contains(&want) && text.contains("resource_scrape_error 0\n"), "{text}");
        agent.usage.lock().expect("lock").measured.clear();
        assert!(get(&handle, "GET", "/metrics/resource").await.body.contains("resource_scrape_error 1\n"));
        let broken = get(&handle, "GET", "/stats/summary").await;
        assert!(broken.status == StatusCode::INTERNAL_SERVER_ERROR && broken.body.contains("root cgroup"));
    }

    #[tokio::test]
    async fn results_of_health_checks_are_metrics() {
        let handle = read_only::start(ANY_PORT, FakeAgent::new().context()).await.expect("starts");
        assert!(!get(&handle, "GET", "/metrics/slis").await.body.contains("healthcheck"));
        get(&handle, "GET", "/healthz").await;
        let text = get(&handle, "GET", "/metrics/slis").await.body;
        for want in [
            "kubernetes_healthcheck{name=\"syncloop\",type=\"healthz\"} 1\n",
            "kubernetes_healthchecks_total{name=\"ping\",type=\"healthz\",status=\"success\"} 1\n",
        ] {
            assert!(text.contains(want), "{want} is missing in\n{text}");
        }
    }
}
