//! Mount propagation of the root directory (CONTRACT 6.2): mounts below it must be seen by containers that ask for it.

use std::path::Path;

use ports::FileError;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use crate::error::AtPath;
use crate::mountinfo::{self, Mount};

/// Makes the mount that holds `path` shared, by mounting the path on itself when the mount is not shared yet. `path` must
/// be canonical. Safe to repeat.
///
/// # Errors
/// When the mounts cannot be read or changed, which needs privileges.
pub fn make_rshared(path: &Path) -> Result<(), FileError> {
    let mounts = mountinfo::read()?;
    let Some(holder) = holder(&mounts, path) else { return Ok(()) };
    if holder.propagation.iter().any(|field| field.starts_with("shared:")) {
        return Ok(());
    }
    if holder.mount_point != path {
        mount_bind(path, path).at("bind-mount on itself", path)?;
    }
    mount_change(path, MountPropagationFlags::SHARED | MountPropagationFlags::REC).at("make shared", path)
}

/// The mount that a path is in: the longest mount point, of several on one place the last.
fn holder<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let holding = mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
    holding.max_by_key(|mount| mount.mount_point.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_directory_becomes_a_shared_mount_once() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may mount");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(temp.path()).unwrap();
        let below = || {
            mountinfo::read()
                .unwrap()
                .into_iter()
                .filter(|mount| mount.mount_point == path)
                .collect::<Vec<_>>()
        };
        let _guard = Unmount(&path);
        let was_shared = holder(&mountinfo::read().unwrap(), &path)
            .unwrap()
            .propagation
            .iter()
            .any(|f| f.starts_with("shared"));
        make_rshared(&path).unwrap();
        make_rshared(&path).unwrap();
        let mounts = mountinfo::read().unwrap();
        assert!(holder(&mounts, &path).unwrap().propagation.iter().any(|field| field.starts_with("shared:")));
        assert_eq!(below().len(), usize::from(!was_shared));
    }

    struct Unmount<'a>(&'a Path);

    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
