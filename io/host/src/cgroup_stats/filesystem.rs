//! One look at a file system. A mount that hangs hangs the caller, who runs this on the bounded pool.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use core_stats::FilesystemSample;
use core_types::WallTime;
use ports::FileError;

use crate::error::AtPath as _;
use crate::mountinfo;

/// Size and free space of the file system of a path.
pub(super) fn read(path: &Path, now: WallTime) -> Result<FilesystemSample, FileError> {
    let path = std::fs::canonicalize(path).at("resolve", path)?;
    let stat = rustix::fs::statvfs(&path).at("read the size of the file system of", &path)?;
    let device = device_of(&mountinfo::read()?, &path).unwrap_or_default();
    let id = std::fs::metadata(&path).at("stat", &path)?.dev();
    Ok(FilesystemSample { device, id, ..sample(&stat, now) })
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
        let sample = read(temp.path(), now).unwrap();
        assert!(sample.capacity_bytes >= sample.used_bytes && sample.capacity_bytes > sample.available_bytes);
        assert!(sample.inodes >= sample.inodes_free && !sample.device.is_empty(), "{sample:?}");
        assert_eq!(sample.taken_at, now);
        assert_eq!(read(temp.path().parent().unwrap(), now).unwrap().id, sample.id);
        assert_ne!(read(Path::new("/proc"), now).unwrap().id, sample.id);
        assert!(read(&temp.path().join("missing"), now).is_err());
    }
}
