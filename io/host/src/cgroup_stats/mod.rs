//! Resource use of cgroups, file systems and the machine, read when asked (`ports::HostStats`), for cgroup v1 and v2
//! (CONTRACT 5.14, 5.18).
//!
//! | module | what |
//! |---|---|
//! | `files` | files of an opened directory |
//! | `parse` | the kernel's text formats |
//! | `v1`, `v2` | which file has which number |
//! | `detail` | disk I/O, open files |
//! | `mounted` | which file systems are the machine's own, and their disks |
//! | `filesystem` | size and free space of file systems |
//!
//! Reads the named cgroups, for a network `/proc/<process>/net/dev` of a process in the cgroup, for open files what it has open. It never lists
//! cgroups and writes nothing. Whatever cannot be read is left out of the sample: a cgroup may go at any moment.

mod detail;
mod files;
mod filesystem;
mod mounted;
mod parse;
mod v1;
mod v2;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_cm::CgroupPath;
use core_stats::{
    CgroupDetail, CgroupSample, FilesystemSample, InterfaceSample, MachineTasks, MountedFilesystem, NetworkOf,
};
use ports::stats::CgroupTarget;
use ports::{CgroupError, Clock, FileError, HostStats};

use self::filesystem::Filesystems;
pub(crate) use self::filesystem::sample as filesystem_sample;
use crate::blocking::{Blocking, BlockingError};
use crate::cgroups::{self, CgroupSetupError, CgroupVersion, is_plain_name};
use crate::error::no_result;

/// A scraper gives up after 10 s unless told otherwise; it should get what else there is before.
const READ_DEADLINE: Duration = Duration::from_secs(4);

/// Where processes are listed.
const PROC: &str = "/proc";

/// Where devices are described.
const SYS: &str = "/sys";

/// The process that shares its network with the machine.
const INIT_PROCESS: &str = "1";

/// Reader of the kernel's figures.
pub struct HostStatsReader {
    machine: Arc<Machine>,
    blocking: Blocking,
}

/// Where to read, and the clock that stamps what was read.
struct Machine {
    tree: Tree,
    proc: PathBuf,
    sys: PathBuf,
    clock: Arc<dyn Clock>,
    filesystems: Filesystems,
}

/// The mounted hierarchies, from their roots.
enum Tree {
    V1(v1::V1),
    V2(v2::V2),
}

impl HostStatsReader {
    /// Finds the hierarchies of this node.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, CgroupSetupError> {
        let mount_point = Path::new(cgroups::MOUNT_POINT);
        let tree = match cgroups::cgroup_version(mount_point).map_err(CgroupSetupError::Mounts)? {
            CgroupVersion::V1 => {
                Tree::V1(v1::V1::new(cgroups::v1_hierarchies().map_err(CgroupSetupError::Mounts)?))
            }
            CgroupVersion::V2 => Tree::V2(v2::V2::new(mount_point, Path::new(PROC))),
        };
        Ok(Self::on(Machine {
            tree,
            proc: PathBuf::from(PROC),
            sys: PathBuf::from(SYS),
            clock,
            filesystems: Filesystems::default(),
        }))
    }

    fn on(machine: Machine) -> Self {
        Self { machine: Arc::new(machine), blocking: Blocking::new(READ_DEADLINE) }
    }
}

#[async_trait]
impl HostStats for HostStatsReader {
    async fn cgroups(
        &self,
        group: &str,
        targets: Vec<CgroupTarget>,
    ) -> Result<Vec<Option<CgroupSample>>, CgroupError> {
        let machine = Arc::clone(&self.machine);
        let read = move || targets.iter().map(|target| machine.read(target)).collect();
        self.blocking.run(group, read).await.map_err(|error| not_read(error, group))
    }

    async fn filesystem(&self, path: &str) -> Result<FilesystemSample, FileError> {
        let (machine, wanted) = (Arc::clone(&self.machine), PathBuf::from(path));
        let read = move || machine.filesystems.read(&wanted, machine.clock.wall());
        let result = self.blocking.run(path, read).await;
        result
            .unwrap_or_else(|error| Err(no_result(error, "read the size of the file system of", path.into())))
    }

    async fn details(
        &self,
        group: &str,
        targets: Vec<CgroupPath>,
    ) -> Result<Vec<Option<CgroupDetail>>, CgroupError> {
        let machine = Arc::clone(&self.machine);
        let read = move || targets.iter().map(|path| machine.detail(path)).collect();
        let key = format!("details of {group}");
        self.blocking.run(&key, read).await.map_err(|error| not_read(error, group))
    }

    async fn mounted(&self) -> Result<Vec<MountedFilesystem>, FileError> {
        let machine = Arc::clone(&self.machine);
        let result = self.blocking.run("mounts", move || mounted::read(&machine.proc)).await;
        result.unwrap_or_else(|error| Err(no_result(error, "read", self.machine.proc.join("self/mountinfo"))))
    }

    fn tasks(&self) -> Option<MachineTasks> {
        self.machine.tasks()
    }
}

fn not_read(error: BlockingError, group: &str) -> CgroupError {
    let cgroup = format!("of {group}");
    match error {
        BlockingError::Timeout { after } => CgroupError::Timeout { cgroup, after },
        BlockingError::Broken(_) => CgroupError::Io {
            path: cgroup.clone(),
            cgroup,
            operation: "read".to_owned(),
            source: std::io::Error::other(error.to_string()),
        },
    }
}

impl Machine {
    fn read(&self, target: &CgroupTarget) -> Option<CgroupSample> {
        if !target.path.0.iter().all(|name| is_plain_name(name)) {
            return None;
        }
        let mut sample = match &self.tree {
            Tree::V1(v1) => v1.read(&target.path)?,
            Tree::V2(v2) => v2.read(&target.path)?,
        };
        sample.taken_at = self.clock.wall();
        sample.interfaces = match target.network {
            NetworkOf::Nobody => Vec::new(),
            NetworkOf::Machine => self.interfaces(INIT_PROCESS).unwrap_or_default(),
            NetworkOf::ItsProcesses => self.interfaces_of(&target.path).unwrap_or_default(),
        };
        Some(sample)
    }

    fn detail(&self, path: &CgroupPath) -> Option<CgroupDetail> {
        if !path.0.iter().all(|name| is_plain_name(name)) {
            return None;
        }
        let (dir, disks) = match &self.tree {
            Tree::V1(v1) => (v1.process_dir(path)?, v1.disks(path, &self.sys)),
            Tree::V2(v2) => (v2.dir(path), detail::disks_v2(&v2.dir(path), &self.sys)),
        };
        let processes = parse::text(&dir, "cgroup.procs")?;
        let first = if path.0.is_empty() { Some(INIT_PROCESS) } else { processes.lines().next() };
        Some(CgroupDetail {
            taken_at: self.clock.wall(),
            descriptors: Some(detail::descriptors(&self.proc, &processes)),
            max_open_files: first.and_then(|process| detail::max_open_files(&self.proc, process)),
            disks,
        })
    }

    /// Interfaces that the first process of the cgroup sees. That process must still be in the cgroup after they were
    /// read: otherwise its number may have gone to a process elsewhere.
    fn interfaces_of(&self, path: &CgroupPath) -> Option<Vec<InterfaceSample>> {
        let first = |dir: &Path| Some(parse::text(dir, "cgroup.procs")?.lines().next()?.to_owned());
        let dir = match &self.tree {
            Tree::V1(v1) => v1.process_dir(path)?,
            Tree::V2(v2) => v2.dir(path),
        };
        let process = first(&dir)?;
        let found = self.interfaces(&process)?;
        (first(&dir)? == process).then_some(found)
    }

    /// The limit is the smaller of that of numbers and that of tasks, as upstream; the total stands in `loadavg`.
    fn tasks(&self) -> Option<MachineTasks> {
        let limits = ["sys/kernel/pid_max", "sys/kernel/threads-max"];
        let limits = limits.iter().filter_map(|file| parse::number(&self.proc, file));
        let load = parse::text(&self.proc, "loadavg")?;
        let total = load.split_whitespace().nth(3)?.split_once('/')?.1;
        Some(MachineTasks { taken_at: self.clock.wall(), max: limits.min()?, current: total.parse().ok()? })
    }

    fn interfaces(&self, process: &str) -> Option<Vec<InterfaceSample>> {
        parse::interfaces(&parse::text(&self.proc.join(process), "net/dev")?)
    }
}

/// Directory of a cgroup below the root of a hierarchy.
fn dir_below(hierarchy: &Path, path: &CgroupPath) -> PathBuf {
    path.0.iter().fold(hierarchy.to_path_buf(), |dir, name| dir.join(name))
}

#[cfg(test)]
mod tests;
