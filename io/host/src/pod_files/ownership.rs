//! Gives a volume to the pod's `fsGroup` with everything in it (CONTRACT 6.7).
//!
//! What is below comes first and the directory itself last. Symlinks change their group and are never followed; what is
//! mounted below is left alone. Memory does not grow with the number of files, and handles not beyond [`MAX_DEPTH`].

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ports::FileError;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::beneath::{Dir, fd_path};
use crate::error::{AtPath, refused};

/// Levels of directories that are entered, each with two handles: the bound of removal too, and far from the number of
/// handles that a process may have.
const MAX_DEPTH: usize = 100;

/// Files of one volume, against a writer that makes them as fast as they are given away.
const MAX_FILES: usize = 100_000_000;

/// What the group may do in a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupAccess {
    /// Read and write.
    ReadWrite,
    /// Read, because the agent keeps the files.
    ReadOnly,
}

impl GroupAccess {
    /// Mode bits that are added. New files of a directory get its group by the set-group-ID bit.
    pub(super) fn bits(self, file_type: FileType) -> u32 {
        let access = match self {
            Self::ReadWrite => 0o660,
            Self::ReadOnly => 0o440,
        };
        if file_type.is_dir() { access | 0o2110 } else { access }
    }
}

/// `fsGroup` as the kernel takes it.
pub(super) fn group_id(volume: &Path, fs_group: i64) -> Result<Gid, FileError> {
    let raw = u32::try_from(fs_group).ok().filter(|&raw| raw != u32::MAX);
    raw.map(Gid::from_raw).ok_or_else(|| refused(volume, format!("fsGroup {fs_group} is not a group ID")))
}

/// Gives a directory and everything below it to the group.
pub(super) fn give(dir: &Dir, group: Gid, access: GroupAccess) -> Result<(), FileError> {
    Giving { group, access, files: 0 }.directory(dir, 0)
}

struct Giving {
    group: Gid,
    access: GroupAccess,
    files: usize,
}

impl Giving {
    fn directory(&mut self, dir: &Dir, depth: usize) -> Result<(), FileError> {
        if depth > MAX_DEPTH {
            let problem = format!("directories more than {MAX_DEPTH} deep cannot be given to fsGroup");
            return Err(refused(dir.path(), problem));
        }
        for entry in rustix::fs::Dir::read_from(dir.fd()).at("list", dir.path())? {
            let entry = entry.at("list", dir.path())?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.entry(dir, OsStr::from_bytes(name), depth)?;
            }
        }
        self.one(dir.fd(), &dir.stat()?, dir.path())
    }

    fn entry(&mut self, dir: &Dir, name: &OsStr, depth: usize) -> Result<(), FileError> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(refused(dir.path(), "something keeps writing into it while fsGroup gets it"));
        }
        match dir.kind(name)? {
            Some(kind) if kind.is_mount => Ok(()),
            Some(kind) if kind.file_type.is_dir() => {
                dir.find(name)?.map_or(Ok(()), |child| self.directory(&child, depth + 1))
            }
            Some(_) => self.file(dir, name),
            None => Ok(()),
        }
    }

    /// Changes what the name stood for when it was opened, though it may be something else by then.
    fn file(&self, dir: &Dir, name: &OsStr) -> Result<(), FileError> {
        let path = dir.path().join(name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir.fd(), name, flags, Mode::empty()) {
            Ok(fd) => self.one(fd.as_fd(), &rustix::fs::fstat(&fd).at("stat", &path)?, &path),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error).at("open", &path),
        }
    }

    fn one(&self, fd: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<(), FileError> {
        rustix::fs::chownat(fd, "", None, Some(self.group), AtFlags::EMPTY_PATH)
            .at("set the group of", path)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if file_type.is_symlink() {
            return Ok(());
        }
        // Also where all bits are there: a new group takes the set-ID bits from an executable.
        let mode = stat.st_mode & 0o7777 | self.access.bits(file_type);
        rustix::fs::chmod(fd_path(fd), Mode::from_raw_mode(mode)).at("set the mode of", path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("skipped: only root may give files to a group");
        }
        root
    }

    fn see(path: &Path) -> (u32, u32) {
        let stat = std::fs::symlink_metadata(path).unwrap();
        (stat.gid(), stat.mode() & 0o7777)
    }

    #[test]
    fn the_group_gets_everything_and_nothing_outside() {
        if !is_root() {
            return;
        }
        for (access, expected) in [
            (GroupAccess::ReadWrite, [0o2770, 0o2775, 0o664, 0o6775, 0o660]),
            (GroupAccess::ReadOnly, [0o2750, 0o2755, 0o644, 0o6755, 0o440]),
        ] {
            let temp = tempfile::tempdir().unwrap();
            let volume = temp.path().join("volume");
            let outside = temp.path().join("outside");
            std::fs::create_dir_all(volume.join("dir/inner")).unwrap();
            std::fs::write(&outside, "").unwrap();
            symlink(&outside, volume.join("dir/link")).unwrap();
            let modes =
                [("", 0o700), ("dir/inner", 0o755), ("file", 0o644), ("dir/run", 0o6755), ("none", 0)];
            for (name, mode) in modes {
                let path = volume.join(name);
                if !path.exists() {
                    std::fs::write(&path, "").unwrap();
                }
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            let before = see(&outside);
            give(&Dir::open(&volume).unwrap(), Gid::from_raw(4711), access).unwrap();
            for ((name, _), mode) in modes.iter().zip(expected) {
                assert_eq!(see(&volume.join(name)), (4711, mode), "{access:?} {name}");
            }
            assert_eq!(see(&volume.join("dir/link")).0, 4711);
            assert_eq!(see(&outside), before, "no symlink is followed");
        }
    }

    #[test]
    fn what_is_mounted_in_the_volume_keeps_its_group() {
        if !is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let (volume, other) = (temp.path().join("volume"), temp.path().join("other"));
        std::fs::create_dir_all(volume.join("mounted")).unwrap();
        std::fs::create_dir_all(other.join("dir")).unwrap();
        rustix::mount::mount_bind(&other, volume.join("mounted")).unwrap();
        let before = (see(&other), see(&other.join("dir")));
        let given = give(&Dir::open(&volume).unwrap(), Gid::from_raw(4711), GroupAccess::ReadWrite);
        rustix::mount::unmount(volume.join("mounted"), rustix::mount::UnmountFlags::DETACH).unwrap();
        given.unwrap();
        assert_eq!((see(&other), see(&other.join("dir"))), before);
        assert_eq!(see(&volume).0, 4711);
    }

    #[test]
    fn a_volume_that_is_too_deep_is_refused() {
        if !is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let deep = |levels: usize| temp.path().join("d/".repeat(levels));
        let give = || give(&Dir::open(temp.path()).unwrap(), Gid::from_raw(4711), GroupAccess::ReadWrite);
        std::fs::create_dir_all(deep(MAX_DEPTH)).unwrap();
        give().unwrap();
        assert_eq!(see(&deep(MAX_DEPTH)).0, 4711);
        std::fs::create_dir_all(deep(MAX_DEPTH + 1)).unwrap();
        let error = give().unwrap_err().to_string();
        assert!(error.contains("100 deep"), "{error}");
    }

    #[test]
    fn a_group_is_a_number_that_the_kernel_has() {
        assert_eq!(group_id(Path::new("v"), 4711).unwrap().as_raw(), 4711);
        for wrong in [-1, i64::from(u32::MAX), i64::MAX] {
            assert!(group_id(Path::new("v"), wrong).is_err(), "{wrong}");
        }
    }
}
