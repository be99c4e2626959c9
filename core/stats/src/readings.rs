//! Readings of the whole node: one of what runs, one of what is stored. Made once and shared by all who ask.

use std::collections::BTreeMap;

use core_types::{MonoTime, PodUid, WallTime};

use crate::filesystem::{DiskUse, FilesystemSample, PodFilesUse, VolumeUse};
use crate::sample::CgroupSample;
use crate::subjects::{Subject, Whose};

/// A cgroup with what was measured of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub subject: Subject,
    /// The reading of the cgroup.
    pub sample: CgroupSample,
    /// CPU use since the reading before, in billionths of a core; `None` after the first.
    pub cpu_nano_cores: Option<u64>,
}

impl Measured {
    /// Memory limit in bytes; `None` where there is none or it is not known.
    pub fn memory_limit_bytes(&self) -> Option<u64> {
        let limit = self.sample.spec.memory?.limit_bytes;
        (limit <= NO_LIMIT_BYTES).then_some(limit)
    }

    /// Memory that is not easily freed, in bytes.
    pub fn working_set_bytes(&self) -> Option<u64> {
        Some(self.sample.memory?.working_set_bytes())
    }

    /// Memory limit less working set, in bytes: what `memory.available` and `allocatableMemory.available` go by.
    pub fn memory_available_bytes(&self) -> Option<u64> {
        Some(self.memory_limit_bytes()?.saturating_sub(self.working_set_bytes()?))
    }
}

/// Above this the kernel's numbers mean "no limit". It rounds the largest number, so that is not it.
pub(crate) const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Tasks of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineTasks {
    /// When they were counted.
    pub taken_at: WallTime,
    /// The most that there can be.
    pub max: u64,
    /// How many there are.
    pub current: u64,
}

/// What runs on the node uses this much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageReading {
    /// When the reading began.
    pub began: MonoTime,
    /// Every cgroup that exists, those of the node first, then pod by pod.
    pub measured: Vec<Measured>,
    /// Tasks; `None` when the kernel did not tell.
    pub tasks: Option<MachineTasks>,
    /// Memory of the machine that is set apart for huge pages, in bytes, and counts as used by them; 0 where it does not.
    pub hugepage_bytes: u64,
    /// Groups of cgroups that did not answer in time: pods with name and UID, or `node`.
    pub missing: Vec<String>,
}

impl UsageReading {
    /// The cgroup of the machine, of all pods, of a class, a pod or a sandbox.
    pub fn of(&self, whose: &Whose) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.subject.whose == *whose)
    }

    /// Memory of the machine that is left, in bytes: what `memory.available` goes by. Huge pages that are set apart are not.
    pub fn node_available_bytes(&self) -> Option<u64> {
        let available = self.of(&Whose::Machine)?.memory_available_bytes()?;
        Some(available.saturating_sub(self.hugepage_bytes))
    }

    /// The containers of a pod that run, with their names in the label `container`.
    pub fn containers<'a>(&'a self, uid: &PodUid) -> impl Iterator<Item = &'a Measured> + use<'a> {
        let whose = Whose::Container(uid.clone());
        self.measured.iter().filter(move |measured| measured.subject.whose == whose)
    }

    /// Processes of a pod, in its sandbox and containers; `None` when nothing was counted.
    pub fn processes(&self, uid: &PodUid) -> Option<u64> {
        let sandbox = Whose::Sandbox(uid.clone());
        let parts = self.measured.iter().filter(|measured| measured.subject.whose == sandbox);
        let counts = parts.chain(self.containers(uid)).filter_map(|part| part.sample.processes);
        counts.map(|sample| sample.processes).reduce(u64::saturating_add)
    }
}

/// Gives the root cgroup the limits of the machine: the kernel has none for it.
pub fn limit_root(measured: &mut [Measured], memory_bytes: u64, swap_bytes: u64) {
    for root in measured.iter_mut().filter(|measured| measured.subject.whose == Whose::Machine) {
        let spec = root.sample.spec.memory.get_or_insert_default();
        spec.limit_bytes = memory_bytes;
        spec.swap_limit_bytes = swap_bytes;
    }
}

/// Use of a container's writable layer, as the runtime reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerUse {
    /// When it was measured.
    pub taken_at: WallTime,
    /// Mount point or directory that names the file system.
    pub mountpoint: String,
    /// In bytes.
    pub bytes: Option<u64>,
    /// In inodes.
    pub inodes: Option<u64>,
}

/// The writable layers of all containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayersReading {
    /// By the runtime's ID of the container; empty where the runtime does not know the call.
    pub layers: BTreeMap<String, LayerUse>,
    /// The file systems that they lie on, by mount point.
    pub filesystems: BTreeMap<String, FilesystemSample>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

/// A file system of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeFilesystem {
    /// When the runtime measured it.
    pub taken_at: WallTime,
    /// What the images (or layers) use of it.
    pub used: DiskUse,
    /// The file system; `None` when it did not answer.
    pub filesystem: Option<FilesystemSample>,
}

/// What a pod stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStorage {
    /// Writable layers of the containers that run, by name.
    pub layers: BTreeMap<String, LayerUse>,
    /// Logs and the hosts file; `None` when the file system did not answer.
    pub files: Option<PodFilesUse>,
    /// Volumes that the agent makes, by name; one that never answered is missing.
    pub volumes: BTreeMap<String, VolumeUse>,
    /// The volumes of these that count as local storage of the pod.
    pub local_volumes: Vec<String>,
}

impl PodStorage {
    /// Everything that counts as local storage: layers, logs, local volumes and the hosts file.
    pub fn ephemeral(&self) -> DiskUse {
        let mut sum = DiskUse::default();
        for layer in self.layers.values() {
            sum += DiskUse { bytes: layer.bytes.unwrap_or(0), inodes: layer.inodes.unwrap_or(0) };
        }
        for (name, volume) in &self.volumes {
            if self.local_volumes.contains(name) {
                sum += volume.used;
            }
        }
        if let Some(files) = &self.files {
            sum += files.pod_logs;
            sum += files.etc_hosts.unwrap_or_default();
            // Logs of a container that ended still lie there, and count for no container that could be named.
            for name in self.layers.keys() {
                sum += files.container_logs.get(name).copied().unwrap_or_default();
            }
        }
        sum
    }
}

/// What the node stores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageReading {
    /// When the reading began.
    pub began: MonoTime,
    /// The file system of the root directory; `None` when it did not answer.
    pub node: Option<FilesystemSample>,
    /// The file system of images; `None` when the runtime did not answer.
    pub images: Option<RuntimeFilesystem>,
    /// The file system of writable layers, likewise; that of images where the runtime names no other.
    pub containers: Option<RuntimeFilesystem>,
    /// Pods by UID.
    pub pods: BTreeMap<PodUid, PodStorage>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use core_cm::CgroupPath;

    use super::*;
    use crate::sample::{MemorySample, MemorySpec, ProcessSample};
    use crate::subjects::{Labels, NetworkOf};

    pub(crate) fn measured(path: &str) -> Measured {
        let subject = Subject {
            whose: Whose::Machine,
            path: CgroupPath::from_cgroupfs(path),
            labels: Labels::default(),
            network: NetworkOf::Nobody,
            created_at: WallTime::default(),
            started_at: WallTime::default(),
        };
        Measured { subject, sample: CgroupSample::default(), cpu_nano_cores: None }
    }

    fn part(whose: Whose, processes: u64) -> Measured {
        let mut one = measured("/x");
        one.subject.whose = whose;
        one.sample.processes = Some(ProcessSample { processes, ..ProcessSample::default() });
        one
    }

    #[test]
    fn available_memory_is_the_limit_less_the_working_set() {
        let mut one = measured("/");
        assert_eq!(one.memory_available_bytes(), None);
        one.sample.memory =
            Some(MemorySample { usage_bytes: 100, inactive_file_bytes: 30, ..MemorySample::default() });
        one.sample.spec.memory =
            Some(MemorySpec { limit_bytes: 9_223_372_036_854_771_712, ..MemorySpec::default() });
        assert_eq!(one.memory_available_bytes(), None, "no limit");
        limit_root(std::slice::from_mut(&mut one), 1000, 0);
        assert_eq!((one.working_set_bytes(), one.memory_available_bytes()), (Some(70), Some(930)));
        limit_root(std::slice::from_mut(&mut one), 50, 0);
        assert_eq!(one.memory_available_bytes(), Some(0));
    }

    #[test]
    fn processes_of_a_pod_are_those_of_its_parts() {
        let uid = PodUid::from("a");
        let parts = [
            part(Whose::Pod(uid.clone()), 0),
            part(Whose::Sandbox(uid.clone()), 1),
            part(Whose::Container(uid.clone()), 5),
            part(Whose::Container("b".into()), 70),
        ];
        let reading = UsageReading { measured: parts.to_vec(), ..UsageReading::default() };
        assert_eq!(reading.processes(&uid), Some(6));
        assert_eq!(reading.processes(&"c".into()), None);
        assert_eq!(reading.of(&Whose::Pod(uid)).map(|pod| pod.subject.path.cgroupfs()), Some("/x".into()));
    }

    #[test]
    fn local_storage_is_layers_logs_volumes_and_the_hosts_file() {
        let used = |bytes| DiskUse { bytes, inodes: 1 };
        let volume = |bytes| VolumeUse {
            taken_at: WallTime::default(),
            used: used(bytes),
            coverage: crate::Coverage::Whole,
            filesystem: FilesystemSample::default(),
        };
        let layer = LayerUse { bytes: Some(1), inodes: Some(1), ..LayerUse::default() };
        let logs = [("main", 10), ("gone", 1000)].map(|(name, bytes)| (name.to_owned(), used(bytes)));
        let files = PodFilesUse {
            container_logs: logs.into(),
            pod_logs: used(100),
            etc_hosts: Some(used(10_000)),
            ..PodFilesUse::default()
        };
        let pod = PodStorage {
            layers: [("main".to_owned(), layer)].into(),
            files: Some(files),
            volumes: [("disk".to_owned(), volume(100_000)), ("memory".to_owned(), volume(1_000_000))].into(),
            local_volumes: vec!["disk".into()],
        };
        assert_eq!(pod.ephemeral(), DiskUse { bytes: 110_111, inodes: 5 });
    }
}
