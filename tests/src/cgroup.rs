//! Reading what a pod's and a container's cgroup allow, and what the kernel did to it, on a v1 or a v2 machine.

use std::{fs, path::PathBuf};

use lab::Instance;

/// Limits of one cgroup, in v1's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `cpu.shares`.
    pub cpu_shares: u64,
    /// CPU quota in microseconds per period of 100 ms; `None` for no limit.
    pub cpu_quota_us: Option<u64>,
    /// Memory limit in bytes; `None` for no limit.
    pub memory_bytes: Option<u64>,
}

/// A limit above this is the kernel's way to say "none" (it rounds the largest number down to whole pages).
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// The folder of a cgroup, given by its path below the instance's root, in the hierarchy of `controller`.
#[track_caller]
pub fn dir(instance: &Instance, controller: &str, path: &str) -> PathBuf {
    instance.cgroups().dir(controller).unwrap().join(path)
}

/// The limits of the cgroup at `path` below the instance's root.
#[track_caller]
pub fn limits(instance: &Instance, path: &str) -> Limits {
    let (cpu, memory) = (dir(instance, "cpu", path), dir(instance, "memory", path));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim().to_owned()
    };
    if cpu.join("cpu.shares").exists() {
        let memory: u64 = read(memory.join("memory.limit_in_bytes")).parse().unwrap();
        let quota: i64 = read(cpu.join("cpu.cfs_quota_us")).parse().unwrap();
        return Limits {
            cpu_shares: read(cpu.join("cpu.shares")).parse().unwrap(),
            cpu_quota_us: u64::try_from(quota).ok(),
            memory_bytes: (memory < NO_LIMIT_BYTES).then_some(memory),
        };
    }
    let weight: u64 = read(cpu.join("cpu.weight")).parse().unwrap();
    Limits {
        // The kubelet's own conversion, backwards (CONTRACT 5.1).
        cpu_shares: (weight - 1) * 262_142 / 9_999 + 2,
        cpu_quota_us: read(cpu.join("cpu.max")).split(' ').next().and_then(|quota| quota.parse().ok()),
        memory_bytes: read(memory.join("memory.max")).parse().ok(),
    }
}

/// How many processes of the cgroup at `path` below the instance's root the kernel has killed for lack of memory.
#[track_caller]
pub fn oom_kills(instance: &Instance, path: &str) -> u64 {
    let dir = dir(instance, "memory", path);
    let file = ["memory.oom_control", "memory.events"]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|file| file.exists());
    let text = file.map(|file| fs::read_to_string(file).unwrap()).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_else(|| panic!("no count of kills in {}: {text}", dir.display()))
}
