//! `/metrics/cadvisor` on all listeners, and the classic kubelet's cAdvisor port (CONTRACT 5.18).
//!
//! ```text
//! scrape > a page at most 1 s old, or one being made? take it
//!        > else: view > cgroups to read > kernel (a call a pod) and runtime, side by side > page > text, a family at a time
//! ```
//! Reads only when asked: no timer. A pod whose cgroups do not answer, or a runtime that does not, leaves its numbers out
//! and sets `container_scrape_error`; all others are there.

mod listener;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_stats::{Group, LayerUsage, Measured, Page, ScrapeHealth};
use core_types::runtime::ContainerStats;
use futures_util::future::{join, join_all};
use futures_util::{FutureExt, stream};
use http::{HeaderValue, Response, header};
use ports::stats::CgroupTarget;
use ports::{Clock, Control, HostStats, RuntimeError, WritableLayers};

use self::shared::Shared;
use crate::body::{self, Body};
use crate::metrics::CONTENT_TYPE;

pub use core_stats::{MachineFacts, VersionFacts};
pub use listener::start;

/// A scraper gives up after 10 s unless told otherwise; a slow runtime must not cost it the rest.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(4);

/// Writable layers by the runtime's ID of the container.
type Layers = BTreeMap<String, LayerUsage>;

/// What the metrics are read from.
#[derive(Clone)]
pub struct CadvisorSources {
    /// The agent's view of its pods.
    pub control: Arc<dyn Control>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// The kernel.
    pub host: Arc<dyn HostStats>,
    /// The runtime.
    pub layers: Arc<dyn WritableLayers>,
    /// `cgroupRoot`.
    pub cgroup_root: String,
    /// Facts of the machine.
    pub machine: MachineFacts,
    /// Versions.
    pub version: VersionFacts,
}

/// The metrics, shared by all listeners.
#[derive(Clone)]
pub struct CadvisorMetrics {
    sources: Arc<CadvisorSources>,
    pages: Arc<Shared<Arc<Page>>>,
}

impl CadvisorMetrics {
    /// Reads nothing yet.
    pub fn new(sources: CadvisorSources) -> Self {
        Self { pages: Arc::new(Shared::new(Arc::clone(&sources.clock))), sources: Arc::new(sources) }
    }

    /// Answer to a scrape.
    pub(crate) async fn scrape(&self) -> Response<Body> {
        let sources = Arc::clone(&self.sources);
        let page = self.pages.get(move || async move { Arc::new(sources.page().await) }.boxed()).await;
        let pieces = page.pieces().map(|piece| Ok(piece.into()));
        let mut response = Response::new(body::stream(stream::iter(pieces)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

impl CadvisorSources {
    async fn page(&self) -> Page {
        let groups = core_stats::groups(&self.control.view(), &self.cgroup_root);
        let reads = join_all(groups.into_iter().map(|group| self.read(group)));
        let (groups, layers) = join(reads, self.layers()).await;
        let is_complete = layers.is_ok() && groups.iter().all(Result::is_ok);
        let mut layers = layers.unwrap_or_default();
        let mut measured: Vec<Measured> = groups.into_iter().filter_map(Result::ok).flatten().collect();
        for measured in &mut measured {
            measured.layer = layers.remove(&measured.subject.labels.name);
        }
        let health = if is_complete { ScrapeHealth::Complete } else { ScrapeHealth::Incomplete };
        Page::new(self.machine.clone(), self.version.clone(), measured, health)
    }

    /// What exists of a group.
    async fn read(&self, group: Group) -> Result<Vec<Measured>, Missing> {
        let subjects = group.subjects.iter();
        let targets = subjects
            .map(|subject| CgroupTarget { path: subject.path.clone(), network: subject.network })
            .collect();
        match self.host.cgroups(&group.name, targets).await {
            Ok(samples) => {
                let pairs = group.subjects.into_iter().zip(samples);
                let measured = pairs
                    .filter_map(|(subject, sample)| Some(Measured { subject, sample: sample?, layer: None }));
                Ok(measured.collect())
            }
            Err(error) => {
                tracing::warn!(%error, "cgroups cannot be read; their metrics are left out of this scrape");
                Err(Missing)
            }
        }
    }

    async fn layers(&self) -> Result<Layers, Missing> {
        let call = tokio::time::timeout(RUNTIME_DEADLINE, self.layers.writable_layers());
        let stats = match call.await {
            Ok(Ok(stats)) => stats,
            Ok(Err(RuntimeError::Unimplemented { .. })) => return Ok(Layers::new()),
            Ok(Err(error)) => return Err(no_layers(&error)),
            Err(_elapsed) => {
                let call = "ListContainerStats";
                return Err(no_layers(&RuntimeError::Timeout { call, after: RUNTIME_DEADLINE }));
            }
        };
        let devices = self.devices(&stats).await?;
        Ok(stats.into_iter().filter_map(|stats| layer(stats, &devices)).collect())
    }

    /// Devices by mount point. A node has one or two of these.
    async fn devices(&self, stats: &[ContainerStats]) -> Result<BTreeMap<String, String>, Missing> {
        let layers = stats.iter().filter_map(|stats| stats.writable_layer.as_ref());
        let mountpoints: BTreeSet<&str> = layers.map(|layer| layer.mountpoint.as_str()).collect();
        let mut devices = BTreeMap::new();
        for mountpoint in mountpoints {
            match self.host.device_of(mountpoint).await {
                Ok(device) => {
                    devices.extend(device.map(|device| (mountpoint.to_owned(), device)));
                }
                Err(error) => return Err(no_layers(&error)),
            }
        }
        Ok(devices)
    }
}

/// Something could not be read, and was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing;

fn no_layers(error: &dyn std::error::Error) -> Missing {
    tracing::warn!(%error, "the use of writable layers cannot be read; it is left out of this scrape");
    Missing
}

fn layer(stats: ContainerStats, devices: &BTreeMap<String, String>) -> Option<(String, LayerUsage)> {
    let layer = stats.writable_layer?;
    let usage = LayerUsage {
        device: devices.get(&layer.mountpoint)?.clone(),
        used_bytes: layer.used_bytes?,
        taken_at: layer.timestamp,
    };
    Some((stats.id.as_str().to_owned(), usage))
}

#[cfg(test)]
mod tests;
