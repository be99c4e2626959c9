//! `/metrics/cadvisor` on all listeners, and the classic kubelet's cAdvisor port (CONTRACT 5.18).
//!
//! Reads only when asked, and shares what was read with all who ask for the node's use (`ports::Readings`). A pod whose
//! cgroups do not answer, or a runtime that does not, leaves its numbers out and sets `container_scrape_error`; all others
//! are there.

mod listener;

use std::sync::Arc;

use core_stats::Page;
use futures_util::{future, stream};
use http::{HeaderValue, Response, header};
use ports::Readings;

use crate::body::{self, Body};
use crate::metrics::CONTENT_TYPE;

pub use core_stats::{MachineFacts, VersionFacts};
pub use listener::start;

/// What the metrics are made from, shared by all listeners.
#[derive(Clone)]
pub struct CadvisorMetrics {
    /// Readings of the node.
    pub readings: Arc<dyn Readings>,
    /// Facts of the machine.
    pub machine: MachineFacts,
    /// Versions.
    pub version: VersionFacts,
}

impl CadvisorMetrics {
    /// Answer to a scrape.
    pub(crate) async fn scrape(&self) -> Response<Body> {
        let (usage, layers) = future::join(self.readings.usage(), self.readings.layers()).await;
        let page = Arc::new(Page::new(self.machine.clone(), self.version.clone(), usage, layers));
        let pieces = page.pieces().map(|piece| Ok(piece.into()));
        let mut response = Response::new(body::stream(stream::iter(pieces)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

#[cfg(test)]
mod tests;
