//! The eyes of eviction: signals, candidates and limits, read when asked for.
//!
//! Signals cost two cgroups, up to three looks at file systems and two small files; use of pods is read only when one has to go
//! or has limits of its own, and is shared with all other readers. The agent's own task and `podwright evict --dry-run` see
//! with the same eyes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use core_reclaim::{
    Candidate, FsLayout, Observations, OverLimit, Pressure, SignalReading, Threshold, has_storage_limits,
    over_limit, places, pod_use, pressures, rank,
};
use core_stats::{CgroupLayout, FilesystemSample, Measured, Whose, limit_root};
use core_types::PodExt;
use core_types::pressure::{EvictionOutlook, SignalLimit, SignalState};
use core_types::view::{Lifecycle, NodeView, PodView};
use futures_util::future::{join, join3};
use ports::Readings;
use ports::stats::CgroupTarget;
use tokio::sync::watch;

use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;

/// Whether what pods store is measured too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Only memory and processes.
    Usage,
    /// Local storage too.
    Storage,
}

/// What is known of the runtime's file systems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    images: String,
    containers: String,
}

/// What the eyes remember.
#[derive(Debug)]
struct Memory {
    places: Option<Places>,
    layout: FsLayout,
    thresholds: Vec<Threshold>,
}

/// The eyes.
pub(crate) struct Sense {
    outside: Outside,
    settings: Arc<Settings>,
    readings: Arc<dyn Readings>,
    view: watch::Receiver<Arc<NodeView>>,
    up: watch::Receiver<RuntimeUp>,
    memory: Mutex<Memory>,
}

impl Sense {
    pub(crate) fn new(
        outside: Outside,
        settings: Arc<Settings>,
        readings: Arc<dyn Readings>,
        view: watch::Receiver<Arc<NodeView>>,
        up: watch::Receiver<RuntimeUp>,
    ) -> Self {
        let layout = FsLayout::default();
        let thresholds = settings.reclaim.eviction.thresholds(layout);
        let memory = Mutex::new(Memory { places: None, layout, thresholds });
        Self { outside, settings, readings, view, up, memory }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where file systems are, as far as it is known.
    pub(crate) fn layout(&self) -> FsLayout {
        self.memory().layout
    }

    pub(crate) fn has_limits(&self) -> bool {
        !self.memory().thresholds.is_empty()
    }

    pub(crate) fn max_grace_secs(&self) -> i64 {
        self.settings.reclaim.eviction.max_grace_secs
    }

    /// Which boot of the machine this is.
    pub(crate) fn boot_id(&self) -> &str {
        &self.settings.host.machine.boot_id
    }

    /// A machine that has seen nothing.
    pub(crate) fn new_pressure(&self) -> Pressure {
        Pressure::new(self.memory().thresholds.clone(), self.settings.reclaim.eviction.transition)
    }

    /// Looks at the signals; a machine for other limits when file systems lie otherwise than was thought.
    pub(crate) async fn observe(&self) -> (Observations, Option<Pressure>) {
        let reading = self.read().await;
        let mut is_news = false;
        if let Some(layout) = reading.layout() {
            let mut memory = self.memory();
            is_news = memory.layout != layout;
            if is_news {
                memory.layout = layout;
                memory.thresholds = self.settings.reclaim.eviction.thresholds(layout);
            }
        }
        let observations = reading.observations(self.outside.clock.now());
        (observations, is_news.then(|| self.new_pressure()))
    }

    async fn read(&self) -> SignalReading {
        // Side by side: one that hangs must not keep the others waiting.
        let node = self.filesystem(&self.settings.runtime.root_dir);
        let (node, (images, containers), (machine, pods)) =
            join3(node, self.filesystems_of_runtime(), self.cgroups()).await;
        let tasks = self.outside.usage.host.tasks();
        SignalReading { machine, pods, node, images, containers, tasks }
    }

    /// The file systems of images and of writable layers.
    async fn filesystems_of_runtime(&self) -> (Option<FilesystemSample>, Option<FilesystemSample>) {
        let Some(places) = self.places().await else { return (None, None) };
        let images = self.filesystem(&places.images);
        let (images, containers) = match places.containers == places.images {
            true => {
                let images = images.await;
                (images.clone(), images)
            }
            false => join(images, self.filesystem(&places.containers)).await,
        };
        if images.is_none() || containers.is_none() {
            // The runtime may have been set up anew elsewhere.
            self.memory().places = None;
        }
        (images, containers)
    }

    async fn places(&self) -> Option<Places> {
        let known = self.memory().places.clone();
        if known.is_some() || !self.up.borrow().is_ready() {
            return known;
        }
        let (images, containers) = match self.outside.images.image_filesystems().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the file systems of images are not known; their signals are missing");
                return None;
            }
        };
        let images = images.into_iter().next()?.mountpoint;
        let containers =
            containers.into_iter().next().map_or_else(|| images.clone(), |found| found.mountpoint);
        let places = Places { images, containers };
        self.memory().places = Some(places.clone());
        Some(places)
    }

    async fn filesystem(&self, path: &str) -> Option<FilesystemSample> {
        let sample = self.outside.usage.host.filesystem(path).await;
        sample
            .inspect_err(
                |error| tracing::warn!(%error, "a file system cannot be looked at; its signals are missing"),
            )
            .ok()
    }

    /// The cgroups of the machine and of all pods.
    async fn cgroups(&self) -> (Option<Measured>, Option<Measured>) {
        let runtime = &self.settings.runtime;
        let driver = self.up.borrow().cgroup_driver.unwrap_or(runtime.cgroup_driver);
        let layout = CgroupLayout { root: runtime.cgroup_root.clone(), driver, daemons: Vec::new() };
        let groups = core_stats::groups(&NodeView::default(), &layout);
        let is_watched = |whose: &Whose| matches!(whose, Whose::Machine | Whose::AllPods);
        let subjects: Vec<_> = groups
            .into_iter()
            .flat_map(|group| group.subjects)
            .filter(|subject| is_watched(&subject.whose))
            .collect();
        let targets = subjects.iter();
        let targets = targets
            .map(|one| CgroupTarget { path: one.path.clone(), network: core_stats::NetworkOf::Nobody })
            .collect();
        let samples = match self.outside.usage.host.cgroups("node", targets).await {
            Ok(samples) => samples,
            Err(error) => {
                tracing::warn!(%error, "memory of the node cannot be read; its signals are missing");
                return (None, None);
            }
        };
        let pairs = subjects.into_iter().zip(samples);
        let mut measured: Vec<Measured> = pairs
            .filter_map(|(subject, sample)| Some(Measured { subject, sample: sample?, cpu_nano_cores: None }))
            .collect();
        let machine = &self.settings.host.machine;
        let unsigned = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        limit_root(&mut measured, unsigned(machine.memory_bytes), unsigned(machine.swap_bytes));
        let of = |whose: &Whose| measured.iter().find(|one| one.subject.whose == *whose).cloned();
        (of(&Whose::Machine), of(&Whose::AllPods))
    }

    /// Pods that run something, with what they use.
    pub(crate) async fn candidates(&self, care: Care) -> Vec<Candidate> {
        let usage = self.readings.usage().await;
        let storage = match care {
            Care::Usage => None,
            Care::Storage => Some(self.readings.storage().await),
        };
        let node = Arc::clone(&self.view.borrow());
        let running = running(&node).map(|view| Candidate {
            usage: pod_use(&view.pod.uid(), &usage, storage.as_deref()),
            pod: Arc::clone(&view.pod),
        });
        running.collect()
    }

    /// Whether a pod that runs has limits of local storage that the node must watch.
    pub(crate) fn has_limited_pods(&self) -> bool {
        let is_on = self.settings.reclaim.eviction.local_storage;
        is_on && running(&self.view.borrow()).any(|view| has_storage_limits(&view.pod))
    }

    /// Pods that exceed limits of their own, and which.
    pub(crate) async fn pods_over_limits(&self) -> Vec<(Candidate, OverLimit)> {
        if !self.has_limited_pods() {
            return Vec::new();
        }
        let layout = self.layout();
        let candidates = self.candidates(Care::Storage).await.into_iter().filter(|one| !one.is_critical());
        let over = candidates.filter_map(|candidate| {
            let over = over_limit(&candidate.pod, candidate.usage.as_ref()?, layout)?;
            Some((candidate, over))
        });
        over.collect()
    }

    /// What eviction would do now.
    pub(crate) async fn outlook(&self) -> EvictionOutlook {
        let (measured, _) = self.observe().await;
        let candidates = self.candidates(Care::Storage).await;
        let (layout, thresholds) = (self.layout(), self.memory().thresholds.clone());
        let mut met = BTreeSet::new();
        let signals = measured.iter().map(|(signal, look)| {
            let own = thresholds.iter().filter(|threshold| threshold.signal == *signal);
            let limits = own.map(|threshold| {
                let below = threshold.below.of(look.capacity);
                let is_met = look.available < below;
                if is_met {
                    met.insert(signal.condition());
                }
                SignalLimit { below: below.to_string(), grace_secs: threshold.grace.as_secs(), is_met }
            });
            SignalState {
                signal: signal.name().to_owned(),
                available: look.available.to_string(),
                capacity: look.capacity.to_string(),
                limits: limits.collect(),
                order: places(&rank(&candidates, *signal, layout), &candidates),
            }
        });
        let signals = signals.collect();
        let over = self.pods_over_limits().await;
        let shown = self.view.borrow().pressures;
        EvictionOutlook {
            pressures: shown.unwrap_or_else(|| pressures(&met.into_iter().collect::<Vec<_>>())),
            signals,
            over_limit: over
                .into_iter()
                .map(|(candidate, over)| (candidate.pod.key(), over.message))
                .collect(),
            critical: candidates.iter().filter(|one| one.is_critical()).map(|one| one.pod.key()).collect(),
        }
    }
}

/// Pods that run something: only they can give something back.
fn running(node: &NodeView) -> impl Iterator<Item = &PodView> {
    node.pods.iter().filter_map(|(uid, view)| {
        let observed = node.observed.get(uid)?;
        let runs = view.lifecycle == Lifecycle::Syncing && observed.live_containers().next().is_some();
        runs.then_some(view.as_ref())
    })
}
