//! Kills what is left in a cgroup and removes it, in every hierarchy, with everything below it and nothing beside it.
//!
//! A process is signalled through a handle, and only after its number was found in the cgroup again while the handle was
//! open: so a number that was given to another process meanwhile kills nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ports::CgroupError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::Named;
use super::files::child_dirs;

/// Depth of a cgroup tree that is removed; container runtimes nest a few levels, the kernel allows any.
const MAX_DEPTH: usize = 64;

/// How long one round waits for killed processes to end.
const EXIT_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What a round left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The cgroup is gone.
    Nothing,
    /// Something holds it.
    Busy {
        /// Processes that are still there.
        processes: usize,
    },
}

/// One round: kills, waits shortly, removes what can be removed.
pub(super) fn kill_and_remove(
    hierarchies: &BTreeMap<String, PathBuf>,
    cgroup: &Named,
) -> Result<Left, CgroupError> {
    let dirs = dirs_of(hierarchies, cgroup)?;
    let mut killed = Vec::new();
    for dir in &dirs {
        kill(dir, &mut killed).map_err(|error| cgroup.error("kill the processes of", dir, error))?;
    }
    wait_for_exit(&killed);
    remove_dirs(&dirs, cgroup)
}

/// Removes the cgroup if no process is in it, and kills nothing.
pub(super) fn remove_empty(
    hierarchies: &BTreeMap<String, PathBuf>,
    cgroup: &Named,
) -> Result<Left, CgroupError> {
    match processes_below(hierarchies, cgroup)?.len() {
        0 => remove_dirs(&dirs_of(hierarchies, cgroup)?, cgroup),
        processes => Ok(Left::Busy { processes }),
    }
}

/// Processes in the cgroup and below.
pub(super) fn processes_below(
    hierarchies: &BTreeMap<String, PathBuf>,
    cgroup: &Named,
) -> Result<BTreeSet<i32>, CgroupError> {
    let mut found = BTreeSet::new();
    for dir in dirs_of(hierarchies, cgroup)? {
        found.extend(processes(&dir).map_err(|error| cgroup.error("list the processes of", &dir, error))?);
    }
    Ok(found)
}

/// The cgroup and all below it in every hierarchy, deepest first.
fn dirs_of(hierarchies: &BTreeMap<String, PathBuf>, cgroup: &Named) -> Result<Vec<PathBuf>, CgroupError> {
    let tops: BTreeSet<PathBuf> = hierarchies.values().map(|hierarchy| cgroup.dir(hierarchy)).collect();
    let mut dirs = Vec::new();
    for top in tops.iter().filter(|top| is_real_dir(top)) {
        descend(top, 0, &mut dirs).map_err(|error| cgroup.error("list", top, error))?;
    }
    Ok(dirs)
}

fn remove_dirs(dirs: &[PathBuf], cgroup: &Named) -> Result<Left, CgroupError> {
    let mut busy = false;
    for dir in dirs {
        match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => busy = true,
            Err(error) => return Err(cgroup.error("remove", dir, error.into())),
        }
    }
    if !busy {
        return Ok(Left::Nothing);
    }
    let left: BTreeSet<i32> = dirs.iter().flat_map(|dir| processes(dir).unwrap_or_default()).collect();
    Ok(Left::Busy { processes: left.len() })
}

fn is_real_dir(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The directory and all below it, deepest first.
fn descend(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth < MAX_DEPTH {
        for name in child_dirs(dir)? {
            descend(&dir.join(name), depth + 1, found)?;
        }
    }
    found.push(dir.to_path_buf());
    Ok(())
}

/// Numbers of the processes directly in a cgroup; none when it is gone.
fn processes(dir: &Path) -> io::Result<BTreeSet<i32>> {
    match std::fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) => {
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error),
    }
}

/// Sends SIGKILL to every process directly in the cgroup, except this one.
fn kill(dir: &Path, killed: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut handles = Vec::new();
    for number in processes(dir)? {
        if let Some(pid) = Pid::from_raw(number).filter(|pid| *pid != getpid()) {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(handle) => handles.push((number, handle)),
                Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if handles.is_empty() {
        return Ok(());
    }
    let still_there = processes(dir)?;
    for (number, handle) in handles.into_iter().filter(|(number, _)| still_there.contains(number)) {
        match pidfd_send_signal(&handle, Signal::KILL) {
            Ok(()) => {
                tracing::info!(pid = number, cgroup = %dir.display(), "killed a process that was left in a cgroup");
                killed.push(handle);
            }
            Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until each has ended, but not long: a process in the kernel's hands ends when the kernel lets it.
fn wait_for_exit(killed: &[OwnedFd]) {
    for handle in killed {
        let mut waiting = [PollFd::new(handle, PollFlags::IN)];
        if !matches!(poll(&mut waiting, Some(&EXIT_WAIT)), Ok(1..)) {
            return;
        }
    }
}
