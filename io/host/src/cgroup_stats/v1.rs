//! cgroup version 1: numbers from the hierarchy of each controller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use core_cm::CgroupPath;
use core_stats::{
    CgroupSample, CgroupSpec, CpuSample, CpuSpec, DiskSample, MemorySample, MemorySpec, Pressure,
    ProcessSample, ReclaimSample,
};

use super::detail::disks_v1;
use super::dir_below;
use super::files::Files;
use super::parse::of;

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

    fn files(&self, controller: &str, path: &CgroupPath) -> Option<Files> {
        self.dir(controller, path).and_then(|dir| Files::open(&dir))
    }

    /// One reading; `None` when the cgroup is not there.
    pub(super) fn read(&self, path: &CgroupPath) -> Option<CgroupSample> {
        let cpu_dir = self.files("cpu", path)?;
        let memory_dir = self.files("memory", path);
        Some(CgroupSample {
            created_at: cpu_dir.created_at("cgroup.clone_children"),
            cpu: self.files("cpuacct", path).and_then(|dir| cpu(&dir, &cpu_dir)),
            memory: memory_dir.as_ref().and_then(|dir| memory(dir, path.0.is_empty())),
            processes: processes(&cpu_dir, self.files("pids", path).as_ref()),
            // The kernel keeps pressure for version 2 only.
            pressure: Pressure::default(),
            spec: CgroupSpec {
                cpu: Some(cpu_spec(&cpu_dir)),
                memory: memory_dir.as_ref().and_then(memory_spec),
            },
            ..CgroupSample::default()
        })
    }
}

fn cpu(dir: &Files, cpu_dir: &Files) -> Option<CpuSample> {
    let ticks = dir.numbers("cpuacct.stat")?;
    let per_second = rustix::param::clock_ticks_per_second();
    let nanos = |name| {
        let nanos = u128::from(of(&ticks, name)) * u128::from(NANOS_PER_SECOND) / u128::from(per_second);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    };
    let cfs = cpu_dir.numbers("cpu.stat").unwrap_or_default();
    Some(CpuSample {
        usage_nanos: dir.number("cpuacct.usage")?,
        user_nanos: nanos("user"),
        system_nanos: nanos("system"),
        cfs_periods: of(&cfs, "nr_periods"),
        cfs_throttled_periods: of(&cfs, "nr_throttled"),
        cfs_throttled_nanos: of(&cfs, "throttled_time"),
        cfs_burst_periods: of(&cfs, "nr_bursts"),
        cfs_burst_nanos: of(&cfs, "burst_time"),
    })
}

fn memory(dir: &Files, is_root: bool) -> Option<MemorySample> {
    let stat = dir.numbers("memory.stat")?;
    // With the hierarchy switched off a cgroup counts its own pages only; its totals say so themselves, but for those of the root.
    let is_hierarchical = !is_root || dir.number("memory.use_hierarchy").unwrap_or(1) == 1;
    let sum = |name: &str| match is_hierarchical {
        true => of(&stat, &format!("total_{name}")),
        false => of(&stat, name),
    };
    Some(MemorySample {
        usage_bytes: dir.number("memory.usage_in_bytes")?,
        max_usage_bytes: dir.number("memory.max_usage_in_bytes").unwrap_or(0),
        failures: dir.number("memory.failcnt").unwrap_or(0),
        kernel_bytes: dir.number("memory.kmem.usage_in_bytes").unwrap_or(0),
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

fn processes(cpu_dir: &Files, pids: Option<&Files>) -> Option<ProcessSample> {
    let of_pids = |file| pids.and_then(|dir| dir.number(file));
    Some(ProcessSample {
        processes: cpu_dir.count_processes()?,
        threads: of_pids("pids.current"),
        threads_max: of_pids("pids.max").filter(|max| *max != u64::MAX).unwrap_or(0),
    })
}

fn cpu_spec(dir: &Files) -> CpuSpec {
    let quota = dir.text("cpu.cfs_quota_us").unwrap_or_default();
    CpuSpec {
        shares: dir.number("cpu.shares").unwrap_or(0),
        period_us: dir.number("cpu.cfs_period_us").unwrap_or(0),
        // -1, which is no unsigned number, is for none.
        quota_us: quota.trim().parse().unwrap_or(0),
    }
}

fn memory_spec(dir: &Files) -> Option<MemorySpec> {
    Some(MemorySpec {
        limit_bytes: dir.number("memory.limit_in_bytes")?,
        swap_limit_bytes: dir.number("memory.memsw.limit_in_bytes").unwrap_or(0),
        reservation_bytes: dir.number("memory.soft_limit_in_bytes").unwrap_or(0),
    })
}
