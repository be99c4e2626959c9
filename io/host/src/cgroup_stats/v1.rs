//! cgroup version 1: numbers from the hierarchy of each controller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use core_cm::CgroupPath;
use core_stats::{
    CgroupSample, CgroupSpec, CpuSample, CpuSpec, DiskSample, MemorySample, MemorySpec, Pressure,
    ProcessSample, ReclaimSample,
};

use super::detail::disks_v1;
use super::parse::{number, numbers, of, text};
use super::{count_processes, created_at, dir_below};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The roots of the hierarchies by controller.
pub(super) struct V1 {
    mounts: BTreeMap<String, PathBuf>,
}

impl V1 {
    pub(super) fn new(mounts: BTreeMap<String, PathBuf>) -> Self {
        Self { mounts }
    }

    fn dir(&self, controller: &str, path: &CgroupPath) -> Option<PathBuf> {
        self.mounts.get(controller).map(|mount| dir_below(mount, path))
    }

    /// Where its processes are listed.
    pub(super) fn process_dir(&self, path: &CgroupPath) -> Option<PathBuf> {
        self.dir("cpu", path)
    }

    /// Disk I/O.
    pub(super) fn disks(&self, path: &CgroupPath, sys: &Path) -> Vec<DiskSample> {
        self.dir("blkio", path).map(|dir| disks_v1(&dir, sys)).unwrap_or_default()
    }

    /// One reading; `None` when the cgroup is not there.
    pub(super) fn read(&self, path: &CgroupPath) -> Option<CgroupSample> {
        let cpu_dir = self.dir("cpu", path).filter(|dir| dir.is_dir())?;
        Some(CgroupSample {
            created_at: created_at(&cpu_dir, "cgroup.clone_children"),
            cpu: self.cpu(path),
            memory: self.memory(path),
            processes: self.processes(path),
            // The kernel keeps pressure for version 2 only.
            pressure: Pressure::default(),
            spec: CgroupSpec { cpu: self.cpu_spec(path), memory: self.memory_spec(path) },
            ..CgroupSample::default()
        })
    }

    fn cpu(&self, path: &CgroupPath) -> Option<CpuSample> {
        let dir = self.dir("cpuacct", path)?;
        let ticks = numbers(&dir, "cpuacct.stat")?;
        let per_second = rustix::param::clock_ticks_per_second();
        let nanos = |name| {
            let nanos = u128::from(of(&ticks, name)) * u128::from(NANOS_PER_SECOND) / u128::from(per_second);
            u64::try_from(nanos).unwrap_or(u64::MAX)
        };
        let cfs = self.dir("cpu", path).and_then(|dir| numbers(&dir, "cpu.stat")).unwrap_or_default();
        Some(CpuSample {
            usage_nanos: number(&dir, "cpuacct.usage")?,
            user_nanos: nanos("user"),
            system_nanos: nanos("system"),
            cfs_periods: of(&cfs, "nr_periods"),
            cfs_throttled_periods: of(&cfs, "nr_throttled"),
            cfs_throttled_nanos: of(&cfs, "throttled_time"),
            cfs_burst_periods: of(&cfs, "nr_bursts"),
            cfs_burst_nanos: of(&cfs, "burst_time"),
        })
    }

    fn memory(&self, path: &CgroupPath) -> Option<MemorySample> {
        let dir = self.dir("memory", path)?;
        let stat = numbers(&dir, "memory.stat")?;
        // With the hierarchy switched off a cgroup counts its own pages only.
        let is_hierarchical = number(&dir, "memory.use_hierarchy").unwrap_or(1) == 1;
        let sum = |name: &str| match is_hierarchical {
            true => of(&stat, &format!("total_{name}")),
            false => of(&stat, name),
        };
        Some(MemorySample {
            usage_bytes: number(&dir, "memory.usage_in_bytes")?,
            max_usage_bytes: number(&dir, "memory.max_usage_in_bytes").unwrap_or(0),
            failures: number(&dir, "memory.failcnt").unwrap_or(0),
            kernel_bytes: number(&dir, "memory.kmem.usage_in_bytes").unwrap_or(0),
            cache_bytes: sum("cache"),
            rss_bytes: sum("rss"),
            swap_bytes: sum("swap"),
            mapped_file_bytes: sum("mapped_file"),
            active_file_bytes: of(&stat, "total_active_file"),
            inactive_file_bytes: of(&stat, "total_inactive_file"),
            page_faults: of(&stat, "pgfault"),
            major_page_faults: of(&stat, "pgmajfault"),
            reclaim: ReclaimSample {
                refaulted_file_pages: of(&stat, "workingset_refault_file"),
                refaulted_anon_pages: of(&stat, "workingset_refault_anon"),
                ..ReclaimSample::default()
            },
        })
    }

    fn processes(&self, path: &CgroupPath) -> Option<ProcessSample> {
        let pids = self.dir("pids", path);
        let of_pids = |file| pids.as_ref().and_then(|dir| number(dir, file));
        Some(ProcessSample {
            processes: count_processes(&self.process_dir(path)?)?,
            threads: of_pids("pids.current"),
            threads_max: of_pids("pids.max").filter(|max| *max != u64::MAX).unwrap_or(0),
        })
    }

    fn cpu_spec(&self, path: &CgroupPath) -> Option<CpuSpec> {
        let dir = self.dir("cpu", path)?;
        let quota = text(&dir, "cpu.cfs_quota_us").unwrap_or_default();
        Some(CpuSpec {
            shares: number(&dir, "cpu.shares").unwrap_or(0),
            period_us: number(&dir, "cpu.cfs_period_us").unwrap_or(0),
            // -1, which is no unsigned number, is for none.
            quota_us: quota.trim().parse().unwrap_or(0),
        })
    }

    fn memory_spec(&self, path: &CgroupPath) -> Option<MemorySpec> {
        let dir = self.dir("memory", path)?;
        Some(MemorySpec {
            limit_bytes: number(&dir, "memory.limit_in_bytes")?,
            swap_limit_bytes: number(&dir, "memory.memsw.limit_in_bytes").unwrap_or(0),
            reservation_bytes: number(&dir, "memory.soft_limit_in_bytes").unwrap_or(0),
        })
    }
}
