//! cgroup version 1: a directory in each controller's hierarchy.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use core_cm::cgroup::{CgroupLimits, CgroupValues};
use ports::CgroupError;

use super::files::{Missing, Setting, make_dirs, read, read_as, read_limit_bytes, write};
use super::{CgroupSetupError, Named};

/// Controllers without which upstream does not start.
const REQUIRED: [&str; 4] = ["cpu", "cpuacct", "cpuset", "memory"];

/// Hierarchies in which a cgroup of the agent has a directory, as far as they are mounted (CONTRACT 5.1).
const MANAGED: [&str; 7] = ["cpu", "cpuacct", "cpuset", "hugetlb", "memory", "pids", "systemd"];

/// The hierarchies by controller, each a directory that stands for the agent's cgroup root.
#[derive(Debug)]
pub(super) struct V1 {
    hierarchies: BTreeMap<String, PathBuf>,
    /// Names of the agent's root below the mounts.
    root: Vec<String>,
}

impl V1 {
    /// From the directories where the controllers are mounted.
    pub(super) fn new(mounts: BTreeMap<String, PathBuf>, root: &[String]) -> Result<Self, CgroupSetupError> {
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|name| !mounts.contains_key(*name)).collect();
        if !missing.is_empty() {
            return Err(CgroupSetupError::MissingControllers { missing: missing.join(", ") });
        }
        let below = |dir: PathBuf| root.iter().fold(dir, |dir, name| dir.join(name));
        let mut hierarchies: BTreeMap<String, PathBuf> =
            mounts.into_iter().map(|(name, dir)| (name, below(dir))).collect();
        // Where the agent has no business the configured root need not exist.
        hierarchies.retain(|name, dir| MANAGED.contains(&name.as_str()) || dir.is_dir());
        Ok(Self { hierarchies, root: root.to_vec() })
    }

    /// All hierarchies; the runtime uses also those that the agent does not manage.
    pub(super) fn hierarchies(&self) -> &BTreeMap<String, PathBuf> {
        &self.hierarchies
    }

    fn managed(&self) -> impl Iterator<Item = (&str, &Path)> {
        let managed = self.hierarchies.iter().filter(|(name, _)| MANAGED.contains(&name.as_str()));
        managed.map(|(name, dir)| (name.as_str(), dir.as_path()))
    }

    /// See [`ports::Cgroups::exists`].
    pub(super) fn exists(&self, cgroup: &Named) -> bool {
        self.managed().all(|(_, hierarchy)| cgroup.dir(hierarchy).is_dir())
    }

    /// The directory of a controller that was required at the start.
    fn required_dir(&self, controller: &str, cgroup: &Named) -> Result<PathBuf, CgroupError> {
        self.dir(controller, cgroup).ok_or_else(|| {
            let problem = std::io::Error::new(ErrorKind::NotFound, "the controller is not mounted");
            cgroup.error("read", Path::new(controller), problem)
        })
    }

    /// See [`ports::Cgroups::limits`].
    pub(super) fn limits(&self, cgroup: &Named) -> Result<CgroupLimits, CgroupError> {
        let (cpu, memory) = (self.required_dir("cpu", cgroup)?, self.required_dir("memory", cgroup)?);
        let quota_us: i64 = read_as(cgroup, &cpu, "cpu.cfs_quota_us")?;
        Ok(CgroupLimits {
            cpu_shares: read_as(cgroup, &cpu, "cpu.shares")?,
            cpu_quota_us: (quota_us > 0).then_some(quota_us),
            cpu_period_us: read_as(cgroup, &cpu, "cpu.cfs_period_us")?,
            memory_limit_bytes: read_limit_bytes(cgroup, &memory, "memory.limit_in_bytes")?,
        })
    }

    /// See [`ports::Cgroups::memory_usage_bytes`].
    pub(super) fn memory_usage_bytes(&self, cgroup: &Named) -> Result<u64, CgroupError> {
        read_as(cgroup, &self.required_dir("memory", cgroup)?, "memory.usage_in_bytes")
    }

    /// See [`ports::Cgroups::ensure`].
    pub(super) fn ensure(&self, cgroup: &Named, values: &CgroupValues) -> Result<(), CgroupError> {
        let mut made = BTreeSet::new();
        for (name, hierarchy) in self.managed() {
            let dirs: Vec<PathBuf> = cgroup.dirs(hierarchy).collect();
            if made.insert(hierarchy) {
                make_dirs(cgroup, &dirs)?;
            }
            if name == "cpuset" {
                // An empty cpuset above would leave ours without processors, also above the agent's root.
                let above = hierarchy.ancestors().take(self.root.len());
                let upwards: Vec<&Path> = dirs.iter().rev().map(PathBuf::as_path).chain(above).collect();
                inherit_cpuset(cgroup, &upwards)?;
            }
        }
        self.set(cgroup, values)
    }

    fn set(&self, cgroup: &Named, values: &CgroupValues) -> Result<(), CgroupError> {
        if let Some(dir) = self.dir("cpu", cgroup) {
            set_cpu(&Setting { cgroup, dir: &dir }, values)?;
        }
        if let (Some(dir), Some(bytes)) = (self.dir("memory", cgroup), values.memory_limit_bytes) {
            Setting { cgroup, dir: &dir }.set_bytes("memory.limit_in_bytes", bytes, "-1")?;
        }
        if let (Some(dir), Some(limit)) = (self.dir("pids", cgroup), values.pids_limit) {
            let limit = if limit < 0 { "max".to_owned() } else { limit.to_string() };
            Setting { cgroup, dir: &dir }.set("pids.max", &limit, Missing::Fails)?;
        }
        if let Some(dir) = self.dir("hugetlb", cgroup) {
            let setting = Setting { cgroup, dir: &dir };
            for (size, bytes) in &values.hugepage_limits {
                let bytes = bytes.to_string();
                setting.set(&format!("hugetlb.{size}.limit_in_bytes"), &bytes, Missing::Skipped)?;
                setting.set(&format!("hugetlb.{size}.rsvd.limit_in_bytes"), &bytes, Missing::Skipped)?;
            }
        }
        Ok(())
    }

    fn dir(&self, controller: &str, cgroup: &Named) -> Option<PathBuf> {
        self.hierarchies.get(controller).map(|hierarchy| cgroup.dir(hierarchy))
    }
}

fn set_cpu(setting: &Setting<'_>, values: &CgroupValues) -> Result<(), CgroupError> {
    if let Some(shares) = values.cpu_shares {
        setting.set("cpu.shares", &shares.to_string(), Missing::Fails)?;
    }
    let quota = values.cpu_quota_us.map(|quota| quota.max(-1).to_string());
    let period = values.cpu_period_us.map(|period| period.to_string());
    let set_period =
        || period.as_ref().map_or(Ok(()), |p| setting.set("cpu.cfs_period_us", p, Missing::Fails));
    // The kernel refuses a quota above that of the parent: a shorter period may need the new quota first.
    let early = set_period();
    if early.is_err() && quota.is_none() {
        return early;
    }
    if let Some(quota) = quota {
        setting.set("cpu.cfs_quota_us", &quota, Missing::Fails)?;
    }
    if early.is_err() { set_period() } else { Ok(()) }
}

/// Copies processors and memory nodes from the next directory above that has some: a cpuset without them takes no task. The kernel gives
/// none to a cpuset below one that has none, so what is above the first that has some needs no look.
fn inherit_cpuset(cgroup: &Named, upwards: &[&Path]) -> Result<(), CgroupError> {
    let topmost = upwards.last().and_then(|dir| dir.parent());
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut empty = Vec::new();
        for dir in upwards.iter().copied().chain(topmost) {
            match read(dir, file) {
                Ok(current) if current.is_empty() => empty.push(dir),
                Ok(inherited) => {
                    for dir in empty.into_iter().rev() {
                        let operation = format!("write {inherited} to");
                        write(dir, file, &inherited)
                            .map_err(|error| cgroup.error(operation, &dir.join(file), error))?;
                    }
                    break;
                }
                // The hierarchy is mounted with `noprefix` or shares a directory that is not a cpuset's.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(cgroup.error("read", &dir.join(file), error)),
            }
        }
    }
    Ok(())
}
