//! A cgroup root of one's own, in every controller of a v1 machine or in the one tree of a v2 machine.
//!
//! Guarantees: nothing outside `<mount>/<name>` is written, except that on a v2 machine the controllers are switched on for the
//! children of the mount's root. Removal kills what is left inside, depth first, and says what it could not remove.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{CgroupDriver, process, wait};

/// How long the kernel may take to let go of a cgroup whose last process has just died.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// One cgroup hierarchy of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V1,
    /// A v2 tree that has controllers to hand out.
    V2,
    /// A v2 tree beside v1 ones: no controllers, used only to sort processes.
    V2Bare,
}

/// A private cgroup root.
#[derive(Clone, Debug)]
pub struct CgroupRoot {
    name: String,
    driver: CgroupDriver,
}

impl CgroupRoot {
    /// Makes `/<name>` in every controller; for systemd that of the slice of this name.
    pub fn create(name: &str, driver: CgroupDriver) -> Result<Self> {
        let root = Self { name: name.to_owned(), driver };
        for hierarchy in hierarchies()? {
            create_in(&hierarchy, &root.folder())?;
        }
        Ok(root)
    }

    fn folder(&self) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => self.name.clone(),
            CgroupDriver::Systemd => slice(&self.name),
        }
    }

    /// The path as the kubelet's `cgroupRoot` wants it: `/<name>`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// The folder of this root in the hierarchy that carries `controller`.
    pub fn dir(&self, controller: &str) -> Result<PathBuf> {
        let all = hierarchies()?;
        let found = all.iter().find(|h| match h.kind {
            Kind::V1 => {
                h.mount.file_name().is_some_and(|n| n.to_string_lossy().split(',').any(|c| c == controller))
            }
            Kind::V2 => true,
            Kind::V2Bare => false,
        });
        let found = found.with_context(|| format!("no cgroup hierarchy carries {controller}"))?;
        Ok(found.mount.join(self.folder()))
    }
}

/// Kills what is left inside `/<name>`, and inside the slice of this name, in every hierarchy and removes the folders.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        for root in [name, &slice(name)].map(|folder| hierarchy.mount.join(folder)) {
            if root.is_dir() {
                remove_tree(&root)?;
            }
        }
    }
    Ok(())
}

/// The folder of the slice that systemd makes of a name.
fn slice(name: &str) -> String {
    format!("{}.slice", name.replace('-', "_"))
}

fn remove_tree(root: &Path) -> Result<()> {
    let mut pids = Vec::new();
    collect_pids(root, &mut pids);
    process::kill_all(&pids)?;
    wait::until_even_if_interrupted(
        &format!("the cgroup {} to be removed", root.display()),
        REMOVE_LIMIT,
        || {
            Ok(match remove_dirs(root) {
                Ok(()) => wait::Look::Done(()),
                Err(error) => wait::Look::Waiting(error.to_string()),
            })
        },
    )
}

fn collect_pids(dir: &Path, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 1));
    for child in child_dirs(dir) {
        collect_pids(&child, pids);
    }
}

/// A cgroup folder is removed with rmdir alone; its files are not files.
fn remove_dirs(dir: &Path) -> Result<()> {
    for child in child_dirs(dir) {
        remove_dirs(&child)?;
    }
    fs::remove_dir(dir).with_context(|| format!("rmdir {}", dir.display()))
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn create_in(hierarchy: &Hierarchy, name: &str) -> Result<()> {
    let dir = hierarchy.mount.join(name);
    if hierarchy.kind == Kind::V2 {
        let on = |file: &str| fs::read_to_string(hierarchy.mount.join(file)).unwrap_or_default();
        for controller in on("cgroup.controllers").split_whitespace() {
            let control = hierarchy.mount.join("cgroup.subtree_control");
            fs::write(&control, format!("+{controller}"))
                .with_context(|| format!("{}", control.display()))?;
        }
    }
    if !dir.is_dir() {
        fs::create_dir(&dir).with_context(|| format!("cannot make the cgroup {}", dir.display()))?;
    }
    if hierarchy.kind == Kind::V1 {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            copy_down(&hierarchy.mount.join(file), &dir.join(file))?;
        }
    }
    Ok(())
}

/// A v1 cpuset without CPUs and memory nodes takes no process.
fn copy_down(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let value = fs::read_to_string(from).with_context(|| format!("{}", from.display()))?;
    fs::write(to, value.trim()).with_context(|| format!("{}", to.display()))
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    Ok(parse_hierarchies(&mounts, |mount| {
        fs::read_to_string(mount.join("cgroup.controllers")).is_ok_and(|text| !text.trim().is_empty())
    }))
}

fn parse_hierarchies(mountinfo: &str, has_controllers: impl Fn(&Path) -> bool) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = before.split(' ').collect();
        let (Some(&"/"), Some(mount)) = (fields.get(3), fields.get(4)) else { continue };
        let mount = PathBuf::from(mount);
        let kind = match after.split(' ').next() {
            Some("cgroup") => Kind::V1,
            Some("cgroup2") if has_controllers(&mount) => Kind::V2,
            Some("cgroup2") => Kind::V2Bare,
            _ => continue,
        };
        found.push(Hierarchy { mount, kind });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
1 0 8:0 / / rw - ext4 /dev/vda rw
2 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw
3 2 0:2 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory
4 2 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
5 2 0:2 /pod /elsewhere rw - cgroup cgroup rw,memory
";

    #[test]
    fn hierarchies_are_whole_mounts_with_their_kind() {
        let bare = parse_hierarchies(MOUNTINFO, |_| false);
        assert_eq!(
            bare,
            vec![
                Hierarchy { mount: "/sys/fs/cgroup/memory".into(), kind: Kind::V1 },
                Hierarchy { mount: "/sys/fs/cgroup/unified".into(), kind: Kind::V2Bare },
            ]
        );
        assert_eq!(parse_hierarchies(MOUNTINFO, |_| true)[1].kind, Kind::V2);
    }

    #[test]
    fn folders_go_depth_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).expect("made");
        fs::create_dir_all(root.join("d")).expect("made");
        remove_dirs(&root).expect("removed");
        assert!(!root.exists());
    }
}
