//! Readings of the whole node, shared by all who ask: servers, eviction, `podwright top` (CONTRACT 5.14).
//!
//! ```text
//! asked > a reading at most 1 s old, or one being made? take it
//!       > else: view > what to read > kernel (a call a pod), runtime and file systems, side by side > reading
//! ```
//! Nothing is read unless somebody asks: no timer. Reads the published view; what does not answer is missing in the reading
//! and named there, and holds up nothing else.

mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use core_stats::{
    CgroupLayout, Counts, CpuRates, DetailReading, DiskUse, FilesystemSample, Group, LayerUse, LayersReading,
    Measured, PodStorage, RuntimeFilesystem, StorageReading, UsageReading, limit_root, own_volumes,
};
use core_types::runtime::{CgroupDriver, ContainerStats, ImageFilesystem};
use core_types::view::{NodeView, PodView};
use core_types::{PodExt, PodUid};
use futures_util::FutureExt;
use futures_util::future::{join, join_all, join4};
use ports::stats::{CgroupTarget, VolumeTarget};
use ports::{Readings, RuntimeError};
use tokio::sync::watch;

use self::shared::Shared;
use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::settings::{PodStatsSource, Settings};

/// A scraper gives up after 10 s unless told otherwise; a slow runtime must not cost it the rest.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(4);

/// Makes readings.
pub(crate) struct Reader {
    parts: Arc<Parts>,
    usage: Arc<Shared<Arc<UsageReading>>>,
    /// Of cgroups alone, when the runtime says what pods use.
    cgroups: Arc<Shared<Arc<UsageReading>>>,
    layers: Arc<Shared<Arc<LayersReading>>>,
    storage: Arc<Shared<Arc<StorageReading>>>,
    details: Arc<Shared<Arc<DetailReading>>>,
}

/// What readings are made from.
struct Parts {
    outside: Outside,
    settings: Arc<Settings>,
    view: watch::Receiver<Arc<NodeView>>,
    up: watch::Receiver<RuntimeUp>,
    rates: Mutex<CpuRates>,
}

impl Reader {
    pub(crate) fn new(
        outside: Outside,
        settings: Arc<Settings>,
        view: watch::Receiver<Arc<NodeView>>,
        up: watch::Receiver<RuntimeUp>,
    ) -> Arc<Self> {
        let clock = &outside.clock;
        Arc::new(Self {
            usage: Arc::new(Shared::new(Arc::clone(clock))),
            cgroups: Arc::new(Shared::new(Arc::clone(clock))),
            layers: Arc::new(Shared::new(Arc::clone(clock))),
            storage: Arc::new(Shared::new(Arc::clone(clock))),
            details: Arc::new(Shared::new(Arc::clone(clock))),
            parts: Arc::new(Parts { outside, settings, view, up, rates: Mutex::default() }),
        })
    }
}

#[async_trait]
impl Readings for Reader {
    async fn usage(&self) -> Arc<UsageReading> {
        let parts = Arc::clone(&self.parts);
        let source = parts.settings.stats.pods;
        self.usage.get(move || async move { Arc::new(parts.usage(source).await) }.boxed()).await
    }

    async fn cgroups_usage(&self) -> Arc<UsageReading> {
        let parts = Arc::clone(&self.parts);
        if parts.settings.stats.pods == PodStatsSource::Cgroups {
            return self.usage().await;
        }
        let read = move || async move { Arc::new(parts.usage(PodStatsSource::Cgroups).await) }.boxed();
        self.cgroups.get(read).await
    }

    async fn layers(&self) -> Arc<LayersReading> {
        let parts = Arc::clone(&self.parts);
        self.layers.get(move || async move { Arc::new(parts.layers().await) }.boxed()).await
    }

    async fn details(&self) -> Arc<DetailReading> {
        let parts = Arc::clone(&self.parts);
        self.details.get(move || async move { Arc::new(parts.details().await) }.boxed()).await
    }

    async fn storage(&self) -> Arc<StorageReading> {
        let (parts, layers) = (Arc::clone(&self.parts), Arc::clone(&self.layers));
        let read = move || {
            let of_layers = Arc::clone(&parts);
            let read = move || async move { Arc::new(of_layers.layers().await) }.boxed();
            async move { Arc::new(parts.storage(layers.get(read)).await) }.boxed()
        };
        self.storage.get(read).await
    }
}

impl Parts {
    fn view(&self) -> Arc<NodeView> {
        Arc::clone(&self.view.borrow())
    }

    fn layout(&self) -> CgroupLayout {
        let runtime = &self.settings.runtime;
        let driver: CgroupDriver = self.up.borrow().cgroup_driver.unwrap_or(runtime.cgroup_driver);
        let daemons = self.settings.stats.daemons.clone();
        CgroupLayout { root: runtime.cgroup_root.clone(), driver, daemons }
    }

    async fn usage(&self, source: PodStatsSource) -> UsageReading {
        let began = self.outside.clock.now();
        let mut groups = core_stats::groups(&self.view(), &self.layout());
        let mut reading = UsageReading {
            began,
            hugepage_bytes: self.settings.stats.hugepage_bytes,
            ..UsageReading::default()
        };
        reading.tasks = self.outside.usage.host.tasks();
        let told = match source {
            PodStatsSource::Runtime => self.told_by_runtime(&mut groups, &mut reading.missing).await,
            PodStatsSource::Cgroups => Vec::new(),
        };
        for (name, group) in join_all(groups.into_iter().map(|group| self.group(group))).await {
            match group {
                Some(measured) => reading.measured.extend(measured),
                None => reading.missing.push(name),
            }
        }
        reading.measured.extend(told);
        let machine = &self.settings.host.machine;
        let unsigned = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        limit_root(&mut reading.measured, unsigned(machine.memory_bytes), unsigned(machine.swap_bytes));
        // Totals of two sources are not the same.
        if source == self.settings.stats.pods {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.fill(self.outside.clock.now(), &mut reading.measured);
        }
        reading
    }

    /// What the runtime says of pods, whose groups are taken out; a runtime that does not know the call leaves them in.
    async fn told_by_runtime(&self, groups: &mut Vec<Group>, missing: &mut Vec<String>) -> Vec<Measured> {
        let stats = self.in_time("ListPodSandboxStats", self.outside.runtime.list_sandbox_stats()).await;
        if matches!(stats, Err(RuntimeError::Unimplemented { .. })) {
            return Vec::new();
        }
        // The first group is the node's.
        let pods = groups.split_off(1.min(groups.len()));
        match stats {
            Ok(stats) => core_stats::from_runtime(pods, &stats),
            Err(error) => {
                tracing::warn!(%error, "the runtime does not say what pods use; they are missing in this reading");
                missing.extend(pods.into_iter().map(|group| group.name));
                Vec::new()
            }
        }
    }

    /// What exists of a group; `None` when it does not answer.
    async fn group(&self, group: Group) -> (String, Option<Vec<Measured>>) {
        let Group { name, subjects } = group;
        let targets = subjects.iter();
        let targets = targets
            .map(|subject| CgroupTarget { path: subject.path.clone(), network: subject.network })
            .collect();
        match self.outside.usage.host.cgroups(&name, targets).await {
            Ok(samples) => {
                let pairs = subjects.into_iter().zip(samples);
                let measured = pairs.filter_map(|(subject, sample)| {
                    Some(Measured { subject, sample: sample?, cpu_nano_cores: None })
                });
                (name, Some(measured.collect()))
            }
            Err(error) => {
                tracing::warn!(%error, "cgroups cannot be read; they are missing in this reading");
                (name, None)
            }
        }
    }

    async fn layers(&self) -> LayersReading {
        let mut reading = LayersReading::default();
        match self.in_time("ListContainerStats", self.outside.runtime.list_container_stats()).await {
            Ok(stats) => reading.layers = stats.into_iter().filter_map(layer).collect(),
            Err(RuntimeError::Unimplemented { .. }) => {}
            Err(error) => reading.problems.push(format!("writable layers: {error}")),
        }
        let mountpoints: BTreeSet<String> =
            reading.layers.values().map(|layer| layer.mountpoint.clone()).collect();
        for (mountpoint, filesystem) in
            join_all(mountpoints.into_iter().map(|path| self.filesystem(path))).await
        {
            match filesystem {
                Ok(filesystem) => {
                    reading.filesystems.insert(mountpoint, filesystem);
                }
                Err(problem) => reading.problems.push(problem),
            }
        }
        tell("writable layers", &reading.problems);
        reading
    }

    /// Disks and open files of every cgroup, and the machine's file systems. One that hangs is missing and holds up no other.
    async fn details(&self) -> DetailReading {
        let groups = core_stats::groups(&self.view(), &self.layout());
        let cgroups = join_all(groups.into_iter().map(|group| async move {
            let paths: Vec<_> = group.subjects.into_iter().map(|subject| subject.path).collect();
            let found = self.outside.usage.host.details(&group.name, paths.clone()).await;
            found
                .map(|found| paths.into_iter().zip(found).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        }));
        let filesystems = async {
            let mounted = self.outside.usage.host.mounted().await.map_err(|error| vec![error.to_string()])?;
            let sizes = mounted.into_iter().map(|one| async move {
                let (_, size) = self.filesystem(one.mount_point.clone()).await;
                size.map(|size| (one, size))
            });
            Ok::<_, Vec<String>>(join_all(sizes).await)
        };
        let (cgroups, filesystems) = join(cgroups, filesystems).await;
        let mut reading = DetailReading::default();
        for group in cgroups {
            match group {
                Ok(found) => reading
                    .cgroups
                    .extend(found.into_iter().filter_map(|(path, detail)| Some((path, detail?)))),
                Err(problem) => reading.problems.push(problem),
            }
        }
        match filesystems {
            Ok(found) => found.into_iter().for_each(|one| match one {
                Ok(found) => reading.filesystems.push(found),
                Err(problem) => reading.problems.push(problem),
            }),
            Err(problems) => reading.problems.extend(problems),
        }
        tell("disks and open files", &reading.problems);
        reading
    }

    async fn filesystem(&self, path: String) -> (String, Result<FilesystemSample, String>) {
        let result = self.outside.usage.host.filesystem(&path).await.map_err(|error| error.to_string());
        (path, result)
    }

    async fn in_time<T>(
        &self,
        call: &'static str,
        running: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let timeout = RuntimeError::Timeout { call, after: RUNTIME_DEADLINE };
        tokio::time::timeout(RUNTIME_DEADLINE, running).await.unwrap_or(Err(timeout))
    }

    async fn storage(&self, layers: impl Future<Output = Arc<LayersReading>>) -> StorageReading {
        let began = self.outside.clock.now();
        let view = self.view();
        let pods: BTreeMap<&PodUid, &Arc<PodView>> =
            view.pods.iter().filter(|(_, pod)| !pod.is_released).collect();
        let root = self.filesystem(self.settings.runtime.root_dir.clone());
        let (layers, (_, node), runtime, files) =
            join4(layers, root, self.runtime_filesystems(), self.pods(&pods)).await;
        let mut reading = StorageReading { began, pods: files, ..StorageReading::default() };
        reading.problems.extend(layers.problems.iter().cloned());
        match node {
            Ok(filesystem) => reading.node = Some(filesystem),
            Err(problem) => reading.problems.push(problem),
        }
        match runtime {
            Ok((images, containers)) => {
                reading.containers = containers.or_else(|| images.clone());
                reading.images = images;
            }
            Err(error) => reading.problems.push(format!("file systems of images: {error}")),
        }
        for (uid, pod) in &mut reading.pods {
            let observed = view.observed.get(uid).into_iter().flat_map(|pod| pod.live_containers());
            pod.layers = observed
                .filter_map(|found| {
                    Some((found.name().to_owned(), layers.layers.get(found.id().as_str())?.clone()))
                })
                .collect();
        }
        tell("storage", &reading.problems[layers.problems.len()..]);
        reading
    }

    /// File systems of images and of writable layers, the first of each, as upstream.
    async fn runtime_filesystems(
        &self,
    ) -> Result<(Option<RuntimeFilesystem>, Option<RuntimeFilesystem>), RuntimeError> {
        let asked = self.outside.images.image_filesystems();
        let (images, containers) = self.in_time("ImageFsInfo", asked).await?;
        let first = |found: Vec<ImageFilesystem>| async move {
            let found = found.into_iter().next()?;
            let (_, filesystem) = self.filesystem(found.mountpoint).await;
            Some(RuntimeFilesystem {
                taken_at: found.timestamp,
                used: DiskUse { bytes: found.used_bytes, inodes: found.inodes_used },
                filesystem: filesystem.ok(),
            })
        };
        Ok(join(first(images), first(containers)).await)
    }

    /// Logs, hosts files and volumes of pods.
    async fn pods(&self, pods: &BTreeMap<&PodUid, &Arc<PodView>>) -> BTreeMap<PodUid, PodStorage> {
        let storage = &self.outside.usage.storage;
        let files = join_all(pods.iter().map(|(uid, pod)| async move {
            let result = storage.pod_files(&pod.pod.key(), uid).await;
            result
                .inspect_err(
                    |error| tracing::warn!(%error, pod_uid = %uid, "logs of a pod cannot be looked at"),
                )
                .ok()
        }));
        let (targets, local) = self.volumes_of(pods);
        let period = self.settings.stats.volume_period;
        let volumes = async {
            match period {
                Some(period) => storage.volumes(&targets, period).await,
                None => Vec::new(),
            }
        };
        let (files, volumes) = join(files, volumes).await;
        let mut found: BTreeMap<PodUid, PodStorage> = BTreeMap::new();
        for ((uid, _), files) in pods.iter().zip(files) {
            found.insert((*uid).clone(), PodStorage { files, ..PodStorage::default() });
        }
        for (target, volume) in targets.into_iter().zip(volumes) {
            let (Some(pod), Some(volume)) = (found.get_mut(&target.uid), volume) else { continue };
            if local.contains(&(target.uid, target.name.clone())) {
                pod.local_volumes.push(target.name.clone());
            }
            pod.volumes.insert(target.name, volume);
        }
        found
    }

    /// The volumes that are measured, and which of them count as local storage.
    fn volumes_of(
        &self,
        pods: &BTreeMap<&PodUid, &Arc<PodView>>,
    ) -> (Vec<VolumeTarget>, BTreeSet<(PodUid, String)>) {
        let mut local = BTreeSet::new();
        let mut targets = Vec::new();
        for (uid, pod) in pods {
            for volume in own_volumes(&pod.pod) {
                let uid = (*uid).clone();
                if volume.counts == Counts::AsLocalStorage {
                    local.insert((uid.clone(), volume.name.clone()));
                }
                targets.push(VolumeTarget { uid, plugin: volume.plugin, name: volume.name });
            }
        }
        (targets, local)
    }
}

fn layer(stats: ContainerStats) -> Option<(String, LayerUse)> {
    let layer = stats.writable_layer?;
    let usage = LayerUse {
        taken_at: layer.timestamp,
        mountpoint: layer.mountpoint,
        bytes: layer.used_bytes,
        inodes: layer.inodes_used,
    };
    Some((stats.id.to_string(), usage))
}

fn tell(what: &str, problems: &[String]) {
    for problem in problems {
        tracing::warn!(problem, "{what} cannot be read; it is missing in this reading");
    }
}
