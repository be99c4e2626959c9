//! How much is used on the simulated node: what a test says, and little otherwise. Cgroups that were made exist, and so does
//! what a runtime makes below a pod's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use core_cm::CgroupPath;
use core_stats::{
    CgroupDetail, CgroupSample, Coverage, CpuSample, DiskUse, FilesystemSample, MachineTasks, MemorySample,
    MountedFilesystem, PodFilesUse, ProcessSample, VolumeUse,
};
use core_types::{PodKey, PodUid, WallTime};
use ports::stats::{CgroupTarget, VolumeTarget};
use ports::{CgroupError, FileError, HostStats, LocalStorage};

use super::{FAKE_USAGE_BYTES, FakeCgroups, FakeFiles, lock};

/// What a test says of use.
#[derive(Debug, Default)]
pub struct FakeUsage(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    memory_bytes: BTreeMap<String, u64>,
    stuck: BTreeSet<String>,
    filesystems: BTreeMap<String, FilesystemSample>,
    hung: BTreeSet<String>,
    reads: usize,
}

impl FakeUsage {
    /// Sets the working set of a cgroup, by its path from the machine's root cgroup.
    pub fn set_memory(&self, cgroup: &str, bytes: u64) {
        lock(&self.0).memory_bytes.insert(cgroup.to_owned(), bytes);
    }

    /// Lets a group of cgroups (`node`, or a pod with name and UID) answer no more.
    pub fn stick(&self, group: &str) {
        lock(&self.0).stuck.insert(group.to_owned());
    }

    /// Sets the file system of a path.
    pub fn set_filesystem(&self, path: &str, sample: FilesystemSample) {
        lock(&self.0).filesystems.insert(path.to_owned(), sample);
    }

    /// Lets the file system of a path answer no more: each look takes its deadline.
    pub fn hang_filesystem(&self, path: &str) {
        lock(&self.0).hung.insert(path.to_owned());
    }

    /// How often groups of cgroups were read.
    pub fn reads(&self) -> usize {
        lock(&self.0).reads
    }
}

#[async_trait]
impl HostStats for FakeCgroups {
    async fn cgroups(
        &self,
        group: &str,
        targets: Vec<CgroupTarget>,
    ) -> Result<Vec<Option<CgroupSample>>, CgroupError> {
        let mut said = lock(&self.usage.0);
        said.reads += 1;
        if said.stuck.contains(group) {
            return Err(CgroupError::Timeout { cgroup: group.to_owned(), after: Duration::from_secs(4) });
        }
        let existing = lock(&self.existing);
        let exists = |target: &CgroupTarget| {
            let path = &target.path;
            let mut parent = path.clone();
            path.0.is_empty()
                || existing.contains_key(path)
                || parent.0.pop().is_some() && existing.contains_key(&parent)
        };
        let sample = |target: &CgroupTarget| {
            let usage_bytes =
                said.memory_bytes.get(&target.path.cgroupfs()).copied().unwrap_or(FAKE_USAGE_BYTES);
            CgroupSample {
                cpu: Some(CpuSample::default()),
                memory: Some(MemorySample { usage_bytes, ..MemorySample::default() }),
                processes: Some(ProcessSample { processes: 1, ..ProcessSample::default() }),
                ..CgroupSample::default()
            }
        };
        Ok(targets.iter().map(|target| exists(target).then(|| sample(target))).collect())
    }

    async fn filesystem(&self, path: &str) -> Result<FilesystemSample, FileError> {
        if lock(&self.usage.0).hung.contains(path) {
            let after = Duration::from_secs(4);
            tokio::time::sleep(after).await;
            return Err(FileError::Timeout { operation: "stat", path: path.into(), after });
        }
        let roomy = FilesystemSample {
            device: "/dev/sim".to_owned(),
            id: 1,
            capacity_bytes: 1 << 40,
            available_bytes: 1 << 39,
            used_bytes: 1 << 39,
            inodes: 1 << 24,
            inodes_free: 1 << 23,
            ..FilesystemSample::default()
        };
        Ok(lock(&self.usage.0).filesystems.get(path).cloned().unwrap_or(roomy))
    }

    async fn details(
        &self,
        group: &str,
        targets: Vec<CgroupPath>,
    ) -> Result<Vec<Option<CgroupDetail>>, CgroupError> {
        if lock(&self.usage.0).stuck.contains(group) {
            return Err(CgroupError::Timeout { cgroup: group.to_owned(), after: Duration::from_secs(4) });
        }
        Ok(targets.iter().map(|_| Some(CgroupDetail::default())).collect())
    }

    async fn mounted(&self) -> Result<Vec<MountedFilesystem>, FileError> {
        let (device, mount_point) = ("/dev/sim".to_owned(), "/".to_owned());
        Ok(vec![MountedFilesystem { device, mount_point, disk: None }])
    }

    fn tasks(&self) -> Option<MachineTasks> {
        Some(MachineTasks { taken_at: WallTime::default(), max: 32_768, current: 100 })
    }
}

#[async_trait]
impl LocalStorage for FakeFiles {
    async fn pod_files(&self, _: &PodKey, _: &PodUid) -> Result<PodFilesUse, FileError> {
        Ok(PodFilesUse::default())
    }

    async fn volumes(&self, targets: &[VolumeTarget], _: Duration) -> Vec<Option<VolumeUse>> {
        let usage = VolumeUse {
            taken_at: WallTime::default(),
            used: DiskUse { bytes: 4096, inodes: 1 },
            coverage: Coverage::Whole,
            filesystem: FilesystemSample::default(),
        };
        targets.iter().map(|_| Some(usage.clone())).collect()
    }
}
