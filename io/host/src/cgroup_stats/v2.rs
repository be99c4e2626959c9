//! cgroup version 2: numbers from one directory.

use std::path::{Path, PathBuf};

use core_cm::CgroupPath;
use core_cm::convert::shares_from_weight;
use core_stats::{
    CgroupSample, CgroupSpec, CpuSample, CpuSpec, MemorySample, MemorySpec, Pressure, ProcessSample,
    ReclaimSample,
};

use super::dir_below;
use super::files::Files;
use super::parse::{Numbers, limit, of, pressure, text};
use crate::machine::meminfo_kib;

const NANOS_PER_MICRO: u64 = 1_000;

/// The unified hierarchy.
pub(super) struct V2 {
    mount_point: PathBuf,
    proc: PathBuf,
}

impl V2 {
    pub(super) fn new(mount_point: &Path, proc: &Path) -> Self {
        Self { mount_point: mount_point.to_path_buf(), proc: proc.to_path_buf() }
    }

    pub(super) fn dir(&self, path: &CgroupPath) -> PathBuf {
        dir_below(&self.mount_point, path)
    }

    /// One reading; `None` when the cgroup is not there.
    pub(super) fn read(&self, path: &CgroupPath) -> Option<CgroupSample> {
        let dir = Files::open(&self.dir(path))?;
        let memory = dir.numbers("memory.stat");
        Some(CgroupSample {
            created_at: dir.created_at("cgroup.events"),
            cpu: dir.numbers("cpu.stat").map(|stat| cpu(&stat)),
            memory: memory.and_then(|stat| self.memory(path, &dir, &stat)),
            processes: processes(&dir),
            pressure: Pressure {
                cpu: pressure(&dir, "cpu.pressure"),
                memory: pressure(&dir, "memory.pressure"),
                io: pressure(&dir, "io.pressure"),
            },
            spec: CgroupSpec { cpu: Some(cpu_spec(&dir)), memory: memory_spec(&dir) },
            ..CgroupSample::default()
        })
    }

    fn memory(&self, path: &CgroupPath, dir: &Files, stat: &Numbers) -> Option<MemorySample> {
        let (usage_bytes, swap_bytes) = match dir.number("memory.current") {
            Some(usage_bytes) => (usage_bytes, dir.number("memory.swap.current").unwrap_or(0)),
            None if path.0.is_empty() => self.memory_of_root(stat)?,
            None => return None,
        };
        let events = dir.numbers("memory.events").unwrap_or_default();
        Some(MemorySample {
            usage_bytes,
            max_usage_bytes: dir.number("memory.peak").unwrap_or(0),
            failures: 0,
            kernel_bytes: of(stat, "kernel"),
            cache_bytes: of(stat, "file"),
            rss_bytes: of(stat, "anon"),
            swap_bytes,
            mapped_file_bytes: of(stat, "file_mapped"),
            active_file_bytes: of(stat, "active_file"),
            inactive_file_bytes: of(stat, "inactive_file"),
            page_faults: of(stat, "pgfault"),
            major_page_faults: of(stat, "pgmajfault"),
            reclaim: ReclaimSample {
                high_events: of(&events, "high"),
                max_events: of(&events, "max"),
                file_dirty_bytes: of(stat, "file_dirty"),
                file_writeback_bytes: of(stat, "file_writeback"),
                scanned_pages: of(stat, "pgscan"),
                stolen_pages: of(stat, "pgsteal"),
                refaulted_file_pages: of(stat, "workingset_refault_file"),
                refaulted_anon_pages: of(stat, "workingset_refault_anon"),
            },
        })
    }

    /// Usage and swap of the root, which has no file of its own for them; upstream's way of putting them together.
    fn memory_of_root(&self, stat: &Numbers) -> Option<(u64, u64)> {
        let meminfo = text(&self.proc, "meminfo")?;
        let kib = |name| meminfo_kib(&meminfo, name);
        let swap_bytes = kib("SwapTotal").saturating_sub(kib("SwapFree")) * 1024;
        Some((of(stat, "anon") + of(stat, "file"), swap_bytes))
    }
}

fn cpu(stat: &Numbers) -> CpuSample {
    let nanos = |name| of(stat, name).saturating_mul(NANOS_PER_MICRO);
    CpuSample {
        usage_nanos: nanos("usage_usec"),
        user_nanos: nanos("user_usec"),
        system_nanos: nanos("system_usec"),
        cfs_periods: of(stat, "nr_periods"),
        cfs_throttled_periods: of(stat, "nr_throttled"),
        cfs_throttled_nanos: nanos("throttled_usec"),
        cfs_burst_periods: of(stat, "nr_bursts"),
        cfs_burst_nanos: nanos("burst_usec"),
    }
}

fn processes(dir: &Files) -> Option<ProcessSample> {
    Some(ProcessSample {
        processes: dir.count_processes()?,
        threads: dir.number("pids.current"),
        threads_max: dir.number("pids.max").filter(|max| *max != u64::MAX).unwrap_or(0),
    })
}

fn cpu_spec(dir: &Files) -> CpuSpec {
    let max = dir.text("cpu.max").unwrap_or_default();
    let (quota, period) = max.trim().split_once(' ').unwrap_or(("max", "0"));
    CpuSpec {
        shares: dir.number("cpu.weight").map_or(0, shares_from_weight),
        period_us: period.parse().unwrap_or(0),
        quota_us: limit(quota).filter(|quota| *quota != u64::MAX).unwrap_or(0),
    }
}

fn memory_spec(dir: &Files) -> Option<MemorySpec> {
    Some(MemorySpec {
        limit_bytes: dir.number("memory.max")?,
        swap_limit_bytes: dir.number("memory.swap.max").unwrap_or(0),
        reservation_bytes: dir.number("memory.min").unwrap_or(0),
    })
}
