//! From readings of the node to what eviction decides on: signals, and the use of each pod.

use core_stats::{FilesystemSample, MachineTasks, Measured, StorageReading, UsageReading, Whose};
use core_types::{MonoTime, PodUid, Quantity};

use crate::signal::Signal;
use crate::threshold::FsLayout;
use crate::usage::{ContainerUse, DiskUse, Observation, Observations, PodUse, signed};

/// What was read for the signals. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalReading {
    /// The machine's root cgroup, with the machine's memory as its limit.
    pub machine: Option<Measured>,
    /// The cgroup of all pods.
    pub pods: Option<Measured>,
    /// The file system of the root directory.
    pub node: Option<FilesystemSample>,
    /// The file system of images.
    pub images: Option<FilesystemSample>,
    /// The file system of writable layers.
    pub containers: Option<FilesystemSample>,
    /// Tasks of the machine.
    pub tasks: Option<MachineTasks>,
}

impl SignalReading {
    /// The signals, taken at `at`.
    pub fn observations(&self, at: MonoTime) -> Observations {
        let mut observed = Observations::new();
        let mut add = |signal, available: i64, capacity: u64, make: fn(i64) -> Quantity| {
            let (available, capacity) = (make(available), make(signed(capacity)));
            observed.insert(signal, Observation { available, capacity, measured_at: at });
        };
        let memory =
            [(Signal::MemoryAvailable, &self.machine), (Signal::AllocatableMemoryAvailable, &self.pods)];
        for (signal, cgroup) in memory {
            let read =
                cgroup.as_ref().and_then(|one| Some((one.memory_limit_bytes()?, one.working_set_bytes()?)));
            if let Some((limit, used)) = read {
                add(signal, signed(limit).saturating_sub(signed(used)), limit, Quantity::from_bytes);
            }
        }
        let disks = [
            (Signal::NodeFsAvailable, Signal::NodeFsInodesFree, &self.node),
            (Signal::ImageFsAvailable, Signal::ImageFsInodesFree, &self.images),
            (Signal::ContainerFsAvailable, Signal::ContainerFsInodesFree, &self.containers),
        ];
        for (of_bytes, of_inodes, disk) in disks {
            let Some(disk) = disk else { continue };
            add(of_bytes, signed(disk.available_bytes), disk.capacity_bytes, Quantity::from_bytes);
            // A file system that makes inodes as needed never runs short of them.
            if disk.inodes > 0 {
                add(of_inodes, signed(disk.inodes_free), disk.inodes, Quantity::from_value);
            }
        }
        if let Some(tasks) = self.tasks {
            let left = signed(tasks.max).saturating_sub(signed(tasks.current));
            add(Signal::PidAvailable, left, tasks.max, Quantity::from_value);
        }
        observed
    }

    /// Where images and writable layers lie; `None` while that is not known.
    pub fn layout(&self) -> Option<FsLayout> {
        let (node, images, containers) =
            (self.node.as_ref()?, self.images.as_ref()?, self.containers.as_ref()?);
        Some(match (images.id == node.id, images.id == containers.id) {
            (true, _) => FsLayout::Single,
            (false, true) => FsLayout::SeparateImages,
            (false, false) => FsLayout::SplitImages,
        })
    }
}

/// What a pod uses; `None` when nothing of it was read.
pub fn pod_use(uid: &PodUid, usage: &UsageReading, storage: Option<&StorageReading>) -> Option<PodUse> {
    let of_pod = usage.of(&Whose::Pod(uid.clone()));
    let stored = storage.and_then(|storage| storage.pods.get(uid));
    if of_pod.is_none() && stored.is_none() {
        return None;
    }
    let mut containers: Vec<ContainerUse> = usage
        .containers(uid)
        .map(|one| ContainerUse {
            name: one.subject.labels.container.clone(),
            working_set_bytes: one.working_set_bytes(),
            ..ContainerUse::default()
        })
        .collect();
    let mut used = PodUse {
        working_set_bytes: of_pod.and_then(Measured::working_set_bytes),
        processes: usage.processes(uid),
        ..PodUse::default()
    };
    if let Some(stored) = stored {
        for (name, layer) in &stored.layers {
            let at = containers.iter().position(|one| one.name == *name).unwrap_or_else(|| {
                containers.push(ContainerUse { name: name.clone(), ..ContainerUse::default() });
                containers.len() - 1
            });
            let logs = stored.files.as_ref().and_then(|files| files.container_logs.get(name));
            containers[at].rootfs = DiskUse { bytes: layer.bytes, inodes: layer.inodes };
            containers[at].logs =
                DiskUse { bytes: logs.map(|logs| logs.bytes), inodes: logs.map(|logs| logs.inodes) };
        }
        let volumes = stored.volumes.iter().map(|(name, volume)| {
            let part = DiskUse { bytes: Some(volume.used.bytes), inodes: Some(volume.used.inodes) };
            (name.clone(), part)
        });
        used.volumes = volumes.collect();
        used.ephemeral_bytes = Some(stored.ephemeral().bytes);
    }
    used.containers = containers;
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(id: u64) -> Option<FilesystemSample> {
        Some(FilesystemSample {
            id,
            capacity_bytes: 100 << 20,
            available_bytes: 10 << 20,
            inodes: 1000,
            inodes_free: 7,
            ..FilesystemSample::default()
        })
    }

    #[test]
    fn what_was_read_becomes_signals_and_what_was_not_is_left_out() {
        let tasks = Some(MachineTasks { max: 100, current: 30, ..MachineTasks::default() });
        let unlimited = FilesystemSample { inodes: 0, ..disk(2).unwrap_or_default() };
        let reading =
            SignalReading { node: disk(1), images: Some(unlimited), tasks, ..SignalReading::default() };
        let seen: Vec<_> = reading
            .observations(MonoTime::ZERO)
            .iter()
            .map(|(signal, look)| format!("{signal} {} of {}", look.available, look.capacity))
            .collect();
        assert_eq!(
            seen,
            [
                "nodefs.available 10Mi of 100Mi",
                "nodefs.inodesFree 7 of 1k",
                "imagefs.available 10Mi of 100Mi",
                "pid.available 70 of 100",
            ]
        );
    }

    #[test]
    fn file_systems_tell_the_layout() {
        let layout = |node, images, containers| {
            let reading = SignalReading { node, images, containers, ..SignalReading::default() };
            reading.layout()
        };
        assert_eq!(layout(disk(1), disk(1), disk(1)), Some(FsLayout::Single));
        assert_eq!(layout(disk(1), disk(2), disk(2)), Some(FsLayout::SeparateImages));
        assert_eq!(layout(disk(1), disk(2), disk(1)), Some(FsLayout::SplitImages));
        assert_eq!(layout(disk(1), None, disk(1)), None);
    }
}
