//! cgroup version 2: one directory in the unified hierarchy.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use core_cm::cgroup::{CgroupLimits, CgroupValues};
use core_cm::convert::shares_from_weight;
use ports::CgroupError;

use super::Named;
use super::files::{Missing, Setting, make_dir, read, read_as, read_limit_bytes, write};

/// Controllers that a cgroup of the agent must have as far as the node offers them (CONTRACT 5.1).
const NEEDED: [&str; 5] = ["cpu", "cpuset", "hugetlb", "memory", "pids"];

/// The period of the CPU quota when nobody names one: the kernel's default.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// The unified hierarchy, as a directory that stands for the agent's cgroup root.
#[derive(Debug)]
pub(super) struct V2 {
    hierarchies: BTreeMap<String, PathBuf>,
    mount_point: PathBuf,
    /// Names of the agent's root below the mount.
    root: Vec<String>,
}

impl V2 {
    /// From the directory where the hierarchy is mounted.
    pub(super) fn new(mount_point: &Path, root: &[String]) -> Self {
        let dir = root.iter().fold(mount_point.to_path_buf(), |dir, name| dir.join(name));
        Self {
            hierarchies: BTreeMap::from([("unified".to_owned(), dir)]),
            mount_point: mount_point.to_path_buf(),
            root: root.to_vec(),
        }
    }

    /// The one hierarchy.
    pub(super) fn hierarchies(&self) -> &BTreeMap<String, PathBuf> {
        &self.hierarchies
    }

    /// The cgroup with the names of the agent's root before its own.
    fn below_mount(&self, cgroup: &Named) -> Named {
        let names = self.root.iter().chain(&cgroup.names).cloned().collect();
        Named { shown: cgroup.shown.clone(), names }
    }

    fn needed(&self, cgroup: &Named) -> Result<BTreeSet<String>, CgroupError> {
        let offered = controllers(cgroup, &self.mount_point)?;
        Ok(offered.into_iter().filter(|name| NEEDED.contains(&name.as_str())).collect())
    }

    /// See [`ports::Cgroups::exists`].
    pub(super) fn exists(&self, cgroup: &Named) -> Result<bool, CgroupError> {
        let dir = self.below_mount(cgroup).dir(&self.mount_point);
        if !dir.is_dir() {
            return Ok(false);
        }
        Ok(self.needed(cgroup)?.is_subset(&controllers(cgroup, &dir)?))
    }

    /// See [`ports::Cgroups::limits`].
    pub(super) fn limits(&self, cgroup: &Named) -> Result<CgroupLimits, CgroupError> {
        let dir = self.below_mount(cgroup).dir(&self.mount_point);
        let cpu_max: String = read_as(cgroup, &dir, "cpu.max")?;
        let mut cpu_max = cpu_max.split_whitespace();
        Ok(CgroupLimits {
            cpu_shares: shares_from_weight(read_as(cgroup, &dir, "cpu.weight")?),
            cpu_quota_us: cpu_max.next().and_then(|quota| quota.parse().ok()),
            cpu_period_us: cpu_max.next().and_then(|period| period.parse().ok()).unwrap_or(DEFAULT_PERIOD_US),
            memory_limit_bytes: read_limit_bytes(cgroup, &dir, "memory.max")?,
        })
    }

    /// See [`ports::Cgroups::memory_usage_bytes`].
    pub(super) fn memory_usage_bytes(&self, cgroup: &Named) -> Result<u64, CgroupError> {
        read_as(cgroup, &self.below_mount(cgroup).dir(&self.mount_point), "memory.current")
    }

    /// See [`ports::Cgroups::ensure`].
    pub(super) fn ensure(&self, cgroup: &Named, values: &CgroupValues) -> Result<(), CgroupError> {
        let full = self.below_mount(cgroup);
        let needed = self.needed(cgroup)?;
        let mut parent = self.mount_point.clone();
        for dir in full.dirs(&self.mount_point) {
            enable_controllers(cgroup, &parent, &needed)?;
            make_dir(cgroup, &dir)?;
            parent = dir;
        }
        set(&Setting { cgroup, dir: &parent }, values)
    }
}

fn controllers(cgroup: &Named, dir: &Path) -> Result<BTreeSet<String>, CgroupError> {
    const FILE: &str = "cgroup.controllers";
    let text = read(dir, FILE).map_err(|error| cgroup.error("read", &dir.join(FILE), error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Gives the children of `dir` all controllers it has. Only the needed ones must succeed: others, such as `io`, may be
/// refused where a real-time task or another user of the tree is in the way.
fn enable_controllers(cgroup: &Named, dir: &Path, needed: &BTreeSet<String>) -> Result<(), CgroupError> {
    const FILE: &str = "cgroup.subtree_control";
    let enabled = read(dir, FILE).map_err(|error| cgroup.error("read", &dir.join(FILE), error))?;
    let enabled: BTreeSet<&str> =
        enabled.split_whitespace().map(|name| name.trim_start_matches('+')).collect();
    let available = controllers(cgroup, dir)?;
    let wanted: Vec<&String> = available.iter().filter(|name| !enabled.contains(name.as_str())).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    if write(dir, FILE, &all.join(" ")).is_ok() {
        return Ok(());
    }
    for name in wanted {
        let result = write(dir, FILE, &format!("+{name}"));
        if let Err(error) = result
            && needed.contains(name)
        {
            return Err(cgroup.error(format!("write +{name} to"), &dir.join(FILE), error));
        }
    }
    Ok(())
}

fn set(setting: &Setting<'_>, values: &CgroupValues) -> Result<(), CgroupError> {
    if let Some(shares) = values.cpu_shares {
        setting.set("cpu.weight", &cpu_weight(shares).to_string(), Missing::Fails)?;
    }
    set_cpu_max(setting, values)?;
    if let Some(bytes) = values.memory_limit_bytes {
        setting.set_bytes("memory.max", bytes, "max")?;
    }
    if let Some(limit) = values.pids_limit {
        let limit = if limit < 0 { "max".to_owned() } else { limit.to_string() };
        setting.set("pids.max", &limit, Missing::Fails)?;
    }
    for (size, bytes) in &values.hugepage_limits {
        let bytes = bytes.to_string();
        setting.set(&format!("hugetlb.{size}.max"), &bytes, Missing::Skipped)?;
        setting.set(&format!("hugetlb.{size}.rsvd.max"), &bytes, Missing::Skipped)?;
    }
    for (file, value) in &values.unified {
        if !super::is_plain_name(file) {
            let problem = std::io::Error::new(ErrorKind::InvalidInput, "it is not the name of a file");
            return Err(setting.cgroup.error("set", Path::new(file), problem));
        }
        setting.set(file, value, Missing::Fails)?;
    }
    Ok(())
}

fn set_cpu_max(setting: &Setting<'_>, values: &CgroupValues) -> Result<(), CgroupError> {
    const FILE: &str = "cpu.max";
    if values.cpu_quota_us.is_none() && values.cpu_period_us.is_none() {
        return Ok(());
    }
    let current = read(setting.dir, FILE).unwrap_or_default();
    let mut current = current.split_whitespace();
    let old_quota = current.next().unwrap_or("max").to_owned();
    let old_period = current.next().and_then(|period| period.parse().ok()).unwrap_or(DEFAULT_PERIOD_US);
    let quota = match values.cpu_quota_us {
        Some(quota) if quota > 0 => quota.to_string(),
        Some(_) => "max".to_owned(),
        None => old_quota,
    };
    let period = values.cpu_period_us.unwrap_or(old_period);
    setting.set(FILE, &format!("{quota} {period}"), Missing::Fails)
}

/// CPU shares (2..=262144) as a weight (1..=10000), upstream's formula (CONTRACT 5.1).
fn cpu_weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_by_upstreams_formula() {
        for (shares, weight) in
            [(0, 1), (2, 1), (100, 4), (1024, 39), (2048, 79), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }
}
