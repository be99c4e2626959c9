//! One look at a file system. A mount that hangs hangs the caller, who runs this on the bounded pool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use core_stats::FilesystemSample;
use core_types::WallTime;
use ports::FileError;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::error::AtPath as _;
use crate::mountinfo;

/// Looks at file systems, and remembers what they are called: the list of mounts of a node full of pods is long.
#[derive(Default)]
pub(super) struct Filesystems {
    names: Mutex<BTreeMap<PathBuf, (MountId, String)>>,
}

/// What tells one mount from another: numbers of the device and of the mount.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MountId {
    device: u64,
    mount: u64,
}

impl Filesystems {
    /// Size and free space of the file system of a path.
    pub(super) fn read(&self, path: &Path, now: WallTime) -> Result<FilesystemSample, FileError> {
        let path = std::fs::canonicalize(path).at("resolve", path)?;
        let stat = rustix::fs::statvfs(&path).at("read the size of the file system of", &path)?;
        let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let place = rustix::fs::statx(CWD, &path, AtFlags::empty(), flags).at("stat", &path)?;
        let id = rustix::fs::makedev(place.stx_dev_major, place.stx_dev_minor);
        // Kernels before 5.8 do not number mounts.
        let is_numbered = StatxFlags::from_bits_retain(place.stx_mask).contains(StatxFlags::MNT_ID);
        let mount = is_numbered.then_some(MountId { device: id, mount: place.stx_mnt_id });
        let device = self.name(&path, mount)?;
        Ok(FilesystemSample { device, id, ..sample(&stat, now) })
    }

    fn name(&self, path: &Path, mount: Option<MountId>) -> Result<String, FileError> {
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mount) = mount
            && let Some((known, name)) = names().get(path)
            && *known == mount
        {
            return Ok(name.clone());
        }
        let name = device_of(&mountinfo::read()?, path).unwrap_or_default();
        if let Some(mount) = mount {
            names().insert(path.to_path_buf(), (mount, name.clone()));
        }
        Ok(name)
    }
}

/// Numbers of a file system, without its name.
pub(crate) fn sample(stat: &rustix::fs::StatVfs, now: WallTime) -> FilesystemSample {
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    FilesystemSample {
        taken_at: now,
        device: String::new(),
        id: 0,
        capacity_bytes: bytes(stat.f_blocks),
        available_bytes: bytes(stat.f_bavail),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    }
}

/// The source of the innermost mount above the path; of several on one place the last is the one that is seen.
fn device_of(mounts: &[mountinfo::Mount], path: &Path) -> Option<String> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
    let innermost = above.max_by_key(|mount| mount.mount_point.components().count())?;
    Some(innermost.source.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_innermost_mount() {
        let mounts = mountinfo::parse(
            b"1 0 254:0 / / rw - ext4 /dev/vda rw\n\
              2 1 254:1 / /var/lib rw - xfs /dev/vdb rw\n\
              3 1 254:2 / /var/lib rw - xfs /dev/vdc rw\n",
        );
        for (path, device) in
            [("/var/lib/containerd/x", "/dev/vdc"), ("/var/library", "/dev/vda"), ("/", "/dev/vda")]
        {
            assert_eq!(device_of(&mounts, Path::new(path)).as_deref(), Some(device), "{path}");
        }
        assert_eq!(device_of(&[], Path::new("/a")), None);
    }

    #[test]
    fn a_file_system_tells_its_size_and_what_is_left() {
        let now = WallTime::from_unix_secs(1);
        let temp = tempfile::tempdir().unwrap();
        let filesystems = Filesystems::default();
        let read = |path: &Path| filesystems.read(path, now);
        let sample = read(temp.path()).unwrap();
        assert!(sample.capacity_bytes >= sample.used_bytes && sample.capacity_bytes > sample.available_bytes);
        assert!(sample.inodes >= sample.inodes_free && !sample.device.is_empty(), "{sample:?}");
        assert_eq!(sample.taken_at, now);
        assert_eq!(read(temp.path()).unwrap().device, sample.device, "remembered");
        assert_eq!(read(temp.path().parent().unwrap()).unwrap().id, sample.id);
        assert_ne!(read(Path::new("/proc")).unwrap().id, sample.id);
        assert!(read(&temp.path().join("missing")).is_err());
    }
}
