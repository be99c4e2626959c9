//! Making, listing and removing the directory of a pod.

use std::path::{Path, PathBuf};

use core_types::PodUid;
use core_volumes::VolumePlugin;
use ports::FileError;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{Layout, PRIVATE_DIR};
use crate::beneath::{Dir, component, fd_path};
use crate::error::{AtPath, refused};
use crate::mountinfo;

impl Layout {
    /// See [`ports::PodFiles::ensure_pod_dirs`].
    pub(super) fn ensure_pod_dirs(&self, uid: &PodUid) -> Result<(), FileError> {
        let pod = self.make_pod(uid)?;
        for name in ["volumes", "plugins", "containers"] {
            pod.make_dir(name, PRIVATE_DIR)?;
        }
        Ok(())
    }

    /// See [`ports::PodFiles::list_pod_dirs`].
    pub(super) fn list_pod_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        let pods = self.pods()?;
        let mut found = Vec::new();
        for (name, file_type) in pods.entries()? {
            let Some(text) = name.to_str() else { continue };
            let is_dir = match file_type {
                FileType::Directory => true,
                FileType::Unknown => {
                    pods.kind(&name)?.is_some_and(|kind| kind.file_type == FileType::Directory)
                }
                _ => false,
            };
            if is_dir {
                found.push(PodUid::from(text));
            }
        }
        found.sort();
        Ok(found)
    }

    /// See [`ports::PodFiles::tear_down_volumes`]. A mount that is busy stays.
    pub(super) fn tear_down_volumes(&self, uid: &PodUid) -> Result<(), FileError> {
        let Some(pod) = self.find_pod(uid)? else { return Ok(()) };
        unmount_all(&pod)?;
        // The marks of volumes that are set up first: what is half gone must not count as set up.
        for parent in ["plugins", "volumes"] {
            if let Some(dir) = pod.find(parent)? {
                dir.remove_tree(VolumePlugin::EmptyDir.dir_name())?;
            }
        }
        Ok(())
    }

    /// See [`ports::PodFiles::remove_pod_dir`]. A mount that is busy stays, and with it the directory.
    pub(super) fn remove_pod_dir(&self, uid: &PodUid) -> Result<(), FileError> {
        let pods = self.pods()?;
        let name = component(pods.path(), uid.as_str())?;
        if let Some(pod) = pods.find(name)? {
            unmount_all(&pod)?;
        }
        pods.remove_tree(name)
    }
}

/// Unmounts what is mounted at a path below the directory of a pod in `pods`, if it is not in use. Gone already is success.
pub(crate) fn unmount_in_pod(pods: &Dir, uid: &PodUid, relative: &Path) -> Result<(), FileError> {
    let name = component(pods.path(), uid.as_str())?;
    let Some(pod) = pods.find(name)? else { return Ok(()) };
    let place = pod.path().join(relative);
    match mountinfo::read()?.iter().any(|mount| mount.mount_point == place) {
        true => unmount(&pod, relative),
        false => Ok(()),
    }
}

/// Removes the directory of a pod in `pods` in which nothing is mounted.
pub(crate) fn remove_unmounted(pods: &Dir, uid: &PodUid) -> Result<(), FileError> {
    let name = component(pods.path(), uid.as_str())?;
    let path = pods.path().join(name);
    match mountinfo::read()?.into_iter().find(|mount| mount.mount_point.starts_with(&path)) {
        Some(mount) => Err(FileError::StillMounted { path: mount.mount_point }),
        None => pods.remove_tree(name),
    }
}

/// Unmounts everything below the directory, what was mounted last first. Nothing is detached lazily: a mount in use would
/// go on in secret.
fn unmount_all(dir: &Dir) -> Result<(), FileError> {
    let mounts = mountinfo::read()?;
    for mount in mounts.iter().rev() {
        if mount.mount_point != dir.path()
            && let Ok(relative) = mount.mount_point.strip_prefix(dir.path())
        {
            unmount(dir, relative)?;
        }
    }
    Ok(())
}

/// Unmounts a mount point beneath a directory; the way to it is opened without following symlinks.
pub(super) fn unmount(dir: &Dir, relative: &Path) -> Result<(), FileError> {
    unmount_with(dir, relative, UnmountFlags::NOFOLLOW)
}

/// As [`unmount`], but a mount in use disappears from the tree at once and ends when its last user is gone.
pub(super) fn unmount_lazily(dir: &Dir, relative: &Path) -> Result<(), FileError> {
    unmount_with(dir, relative, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
}

fn unmount_with(dir: &Dir, relative: &Path, flags: UnmountFlags) -> Result<(), FileError> {
    let path: PathBuf = dir.path().join(relative);
    let (Some(name), Some(parent)) = (relative.file_name(), relative.parent()) else {
        return Err(refused(&path, "it is not below the directory of the pod"));
    };
    let parent = dir.dir(parent)?;
    match rustix::mount::unmount(fd_path(parent.fd()).join(name), flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(FileError::StillMounted { path }),
        Err(error) => Err(error).at("unmount", &path),
    }
}
