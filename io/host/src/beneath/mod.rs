//! File access through directory handles: nothing is opened, made, written or removed outside of the directory that a
//! [`Dir`] stands for, whatever somebody else renames or links meanwhile.
//!
//! Paths are relative, without `..`. Symlinks are refused, unless a call says that they may lead to places beneath.
//! `openat2` does the work; where it is missing (Linux before 5.6, or a seccomp filter) a walk with one `O_NOFOLLOW` open
//! per component does the same.

mod open;
mod remove;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ports::FileError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::error::{AtPath, refused};

pub(crate) use open::{Links, open_beneath};

/// A directory held open. The path is for messages and for telling others where it is.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryKind {
    /// Type of file; a symlink is a symlink.
    pub(crate) file_type: FileType,
    /// Something is mounted on it.
    pub(crate) is_mount: bool,
}

impl Dir {
    /// Opens a directory that the agent's settings name; symlinks in it are followed.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).at("open directory", path)?;
        Ok(Self { fd, path: path.to_path_buf() })
    }

    /// Its path, as it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its handle.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a directory beneath; `None` when there is none.
    pub(crate) fn find(&self, relative: impl AsRef<Path>) -> Result<Option<Self>, FileError> {
        let path = self.path.join(&relative);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match open_beneath(self.fd(), relative.as_ref(), flags, Mode::empty(), Links::Refuse) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(explain(error, "open directory", &path)),
        }
    }

    /// Opens a directory beneath that must be there.
    pub(crate) fn dir(&self, relative: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = self.path.join(&relative);
        self.find(relative)?.ok_or(Errno::NOENT).at("open directory", &path)
    }

    /// Opens a directory beneath; makes what is missing of it with exactly this mode, whatever the umask.
    pub(crate) fn make_dir(&self, relative: impl AsRef<Path>, mode: u32) -> Result<Self, FileError> {
        let mut current: Option<Self> = None;
        for name in relative.as_ref().components() {
            let parent = current.as_ref().unwrap_or(self);
            let name = name.as_os_str();
            let path = parent.path.join(name);
            let made = match rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(mode)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(explain(error, "create directory", &path)),
            };
            let child = parent.dir(name)?;
            if made {
                child.set_mode(mode)?;
            }
            current = Some(child);
        }
        current.map_or_else(|| self.dir("."), Ok)
    }

    /// Sets the directory's own mode.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), FileError> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)).at("set the mode of", &self.path)
    }

    /// The directory's own attributes.
    pub(crate) fn stat(&self) -> Result<Stat, FileError> {
        rustix::fs::fstat(&self.fd).at("stat", &self.path)
    }

    /// Attributes of an entry of this directory, without following it; `None` when there is none.
    pub(crate) fn stat_entry(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>, FileError> {
        let name = name.as_ref();
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(explain(error, "stat", &self.path.join(name))),
        }
    }

    /// Kind of an entry of this directory; `None` when there is none.
    pub(crate) fn kind(&self, name: impl AsRef<OsStr>) -> Result<Option<EntryKind>, FileError> {
        let name = name.as_ref();
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(&self.fd, name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(Some(EntryKind {
                file_type: FileType::from_raw_mode(stat.stx_mode.into()),
                is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(explain(error, "stat", &self.path.join(name))),
        }
    }

    /// Opens a regular file beneath; anything else is refused without blocking on it.
    pub(crate) fn open_file(
        &self,
        relative: impl AsRef<Path>,
        flags: OFlags,
        mode: u32,
    ) -> Result<Option<std::fs::File>, FileError> {
        let path = self.path.join(&relative);
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd =
            match open_beneath(self.fd(), relative.as_ref(), flags, Mode::from_raw_mode(mode), Links::Refuse)
            {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(explain(error, "open", &path)),
            };
        regular_file(fd, &path).map(Some)
    }

    /// Opens a regular file for reading; symlinks lead as if this directory were the root. `None` when there is none.
    pub(crate) fn open_inside(&self, relative: impl AsRef<Path>) -> Result<Option<std::fs::File>, FileError> {
        let path = self.path.join(&relative);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match open_beneath(self.fd(), relative.as_ref(), flags, Mode::empty(), Links::Inside) {
            Ok(fd) => regular_file(fd, &path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(explain(error, "open", &path)),
        }
    }

    /// Reads a regular file beneath, at most `max_bytes` of it; `None` when there is none.
    pub(crate) fn read(
        &self,
        relative: impl AsRef<Path>,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path.join(&relative);
        let Some(file) = self.open_file(relative, OFlags::RDONLY, 0)? else { return Ok(None) };
        read_at_most(file, max_bytes).at("read", &path).map(Some)
    }

    /// Makes a new regular file with exactly this mode.
    pub(crate) fn create_new(
        &self,
        relative: impl AsRef<Path>,
        mode: u32,
    ) -> Result<std::fs::File, FileError> {
        let path = self.path.join(&relative);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let fd = open_beneath(self.fd(), relative.as_ref(), flags, Mode::from_raw_mode(mode), Links::Refuse)
            .map_err(|error| explain(error, "create", &path))?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).at("set the mode of", &path)?;
        Ok(fd.into())
    }

    /// Names and types of the entries; the type is `Unknown` on file systems that do not tell.
    pub(crate) fn entries(&self) -> Result<Vec<(OsString, FileType)>, FileError> {
        self.some_entries(usize::MAX)
    }

    /// As [`Dir::entries`], at most `limit` of them.
    pub(crate) fn some_entries(&self, limit: usize) -> Result<Vec<(OsString, FileType)>, FileError> {
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).at("list", &self.path)? {
            let entry = entry.at("list", &self.path)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                found.push((OsString::from_vec(name.to_vec()), entry.file_type()));
                if found.len() >= limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Removes a file or symlink of this directory. Gone already is success.
    pub(crate) fn unlink(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        let name = name.as_ref();
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(explain(error, "remove", &self.path.join(name))),
        }
    }

    /// Target of a symlink of this directory; `None` when there is none or it is no symlink.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> Result<Option<OsString>, FileError> {
        let name = name.as_ref();
        match rustix::fs::readlinkat(&self.fd, name, Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(explain(error, "read link", &self.path.join(name))),
        }
    }

    /// Makes a symlink in this directory.
    pub(crate) fn symlink(
        &self,
        target: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
    ) -> Result<(), FileError> {
        let name = name.as_ref();
        rustix::fs::symlinkat(target.as_ref(), &self.fd, name).at("create symlink", &self.path.join(name))
    }

    /// Renames an entry of this directory, replacing what has the new name.
    pub(crate) fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<(), FileError> {
        let to = to.as_ref();
        rustix::fs::renameat(&self.fd, from.as_ref(), &self.fd, to).at("rename to", &self.path.join(to))
    }

    /// Removes an entry with everything below it. Never follows a symlink, never enters or removes what is mounted.
    /// Gone already is success.
    pub(crate) fn remove_tree(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        remove::remove_tree(self, name.as_ref())
    }
}

/// A text that becomes one component of a path. Names come from API objects, manifests and runtimes.
pub(crate) fn component<'a>(parent: &Path, name: &'a str) -> Result<&'a str, FileError> {
    let fits = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
    if fits && !name.bytes().any(|byte| byte == b'/' || byte == 0) {
        Ok(name)
    } else {
        Err(refused(&parent.join("?"), format!("{name:?} cannot be the name of a file")))
    }
}

fn regular_file(fd: OwnedFd, path: &Path) -> Result<std::fs::File, FileError> {
    let file = std::fs::File::from(fd);
    if file.metadata().at("stat", path)?.is_file() {
        Ok(file)
    } else {
        Err(refused(path, "it is not a regular file"))
    }
}

/// Reads at most `max_bytes` from the start.
pub(crate) fn read_at_most(file: std::fs::File, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    file.take(u64::try_from(max_bytes).unwrap_or(u64::MAX)).read_to_end(&mut content)?;
    Ok(content)
}

/// Path of an open file for calls that take only paths, `mount` above all.
pub(crate) fn fd_path(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// A system error in words where the kernel's own would mislead.
fn explain(error: Errno, operation: &'static str, path: &Path) -> FileError {
    match error {
        Errno::LOOP => refused(path, "a symlink is in the way; the agent follows none here"),
        Errno::XDEV => refused(path, "the path leads out of its directory"),
        Errno::BUSY => FileError::StillMounted { path: path.to_path_buf() },
        other => FileError::Io { operation, path: path.to_path_buf(), source: other.into() },
    }
}

/// True when the name starts with these bytes.
pub(crate) fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.as_bytes().starts_with(prefix.as_bytes())
}

#[cfg(test)]
mod tests;
