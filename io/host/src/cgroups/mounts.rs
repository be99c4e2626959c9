//! Which cgroup version the node has, and where the hierarchies of version 1 are mounted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ports::FileError;

use crate::error::AtPath;
use crate::mountinfo::{self, Mount};

/// Magic number of the cgroup2 file system.
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// Version of the cgroup interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy per controller; also the hybrid layout.
    V1,
    /// The unified hierarchy.
    V2,
}

/// Version by the file system at `mount_point`, as upstream decides it (CONTRACT 1.11).
///
/// # Errors
/// When nothing is there.
pub fn cgroup_version(mount_point: &Path) -> Result<CgroupVersion, FileError> {
    let stat = rustix::fs::statfs(mount_point).at("stat the file system of", mount_point)?;
    Ok(if stat.f_type == CGROUP2_SUPER_MAGIC { CgroupVersion::V2 } else { CgroupVersion::V1 })
}

/// Whether the kernel can limit the swap of a cgroup below `mount_point` (CONTRACT 3.27). Of version 2 the root group has
/// no such file, so this process's own group is asked; `own_groups` is the text of `/proc/self/cgroup`.
pub(crate) fn has_swap_controller(mount_point: &Path, version: CgroupVersion, own_groups: &str) -> bool {
    let file = match version {
        CgroupVersion::V1 => mount_point.join("memory/memory.memsw.limit_in_bytes"),
        CgroupVersion::V2 => {
            let own = own_groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
            mount_point.join(own).join("memory.swap.max")
        }
    };
    file.exists()
}

/// Directories of the version 1 hierarchies by controller; a named hierarchy by its name, the unified one of a hybrid
/// layout as `unified`.
pub(crate) fn v1_hierarchies() -> Result<BTreeMap<String, PathBuf>, FileError> {
    Ok(hierarchies(&mountinfo::read()?))
}

fn hierarchies(mounts: &[Mount]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for mount in mounts.iter().filter(|mount| mount.mount_point.starts_with(super::MOUNT_POINT)) {
        let names: Vec<&str> = match mount.fs_type.as_str() {
            "cgroup" => {
                let options =
                    mount.super_options.iter().map(|option| option.strip_prefix("name=").unwrap_or(option));
                options
                    .filter(|option| {
                        !matches!(*option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix")
                    })
                    .collect()
            }
            "cgroup2" => vec!["unified"],
            _ => continue,
        };
        for name in names.into_iter().filter(|name| !name.contains('=')) {
            // The first mount of a controller is the one that counts, as upstream takes it.
            found.entry(name.to_owned()).or_insert_with(|| mount.mount_point.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_mounted_together_share_a_directory_and_others_are_left_out() {
        let text = b"\
            1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
            3 0 0:3 / /elsewhere rw - cgroup cgroup rw,memory\n\
            4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(&mountinfo::parse(text));
        let found: Vec<_> = found.iter().map(|(name, dir)| (name.as_str(), dir.to_str().unwrap())).collect();
        assert_eq!(
            found,
            [
                ("cpu", "/sys/fs/cgroup/cpu,cpuacct"),
                ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                ("systemd", "/sys/fs/cgroup/systemd"),
                ("unified", "/sys/fs/cgroup/unified"),
            ]
        );
    }

    #[test]
    fn the_swap_controller_is_seen_by_its_file() {
        let root = tempfile::tempdir().unwrap();
        let has = |version| has_swap_controller(root.path(), version, "1:name=systemd:/x\n0::/a/b\n");
        assert!(!has(CgroupVersion::V1) && !has(CgroupVersion::V2));
        for (dir, file) in [("memory", "memory.memsw.limit_in_bytes"), ("a/b", "memory.swap.max")] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
            std::fs::write(root.path().join(dir).join(file), "").unwrap();
        }
        assert!(has(CgroupVersion::V1) && has(CgroupVersion::V2));
    }

    #[test]
    fn a_directory_that_is_no_cgroup2_is_version_1() {
        assert_eq!(cgroup_version(Path::new("/")).unwrap(), CgroupVersion::V1);
        assert!(cgroup_version(Path::new("/no/such")).is_err());
    }
}
