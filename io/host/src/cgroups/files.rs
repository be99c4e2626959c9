//! Files of a cgroup: read, and written only when the value differs.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ports::CgroupError;

use super::Named;

/// What to do when the kernel offers no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// An error.
    Fails,
    /// Nothing.
    Skipped,
}

/// Makes the last of these directories, each of which is in the one before it, and those before it that are not there.
pub(super) fn make_dirs(cgroup: &Named, dirs: &[PathBuf]) -> Result<(), CgroupError> {
    let Some((last, above)) = dirs.split_last() else { return Ok(()) };
    match create(last) {
        Err(error) if error.kind() == ErrorKind::NotFound && !above.is_empty() => {
            make_dirs(cgroup, above)?;
            make_dir(cgroup, last)
        }
        result => result.map_err(|error| cgroup.error("create", last, error)),
    }
}

/// Makes the directory if it is not there.
pub(super) fn make_dir(cgroup: &Named, dir: &Path) -> Result<(), CgroupError> {
    create(dir).map_err(|error| cgroup.error("create", dir, error))
}

fn create(dir: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Content without surrounding white space.
pub(super) fn read(dir: &Path, file: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(dir.join(file))?.trim().to_owned())
}

/// A file as a value of its kind.
pub(super) fn read_as<T: FromStr>(cgroup: &Named, dir: &Path, file: &str) -> Result<T, CgroupError> {
    let text = read(dir, file).map_err(|error| cgroup.error("read", &dir.join(file), error))?;
    text.parse().map_err(|_| {
        let error = io::Error::new(ErrorKind::InvalidData, format!("{text:?} is not what it should hold"));
        cgroup.error("read", &dir.join(file), error)
    })
}

/// A limit in bytes as the kernel shows it; `None` for no limit.
pub(super) fn read_limit_bytes(cgroup: &Named, dir: &Path, file: &str) -> Result<Option<i64>, CgroupError> {
    let text: String = read_as(cgroup, dir, file)?;
    if is_same_limit(&text, -1, "max") {
        return Ok(None);
    }
    read_as(cgroup, dir, file).map(Some)
}

/// Writes the value as it is.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).truncate(true).open(dir.join(file))?.write_all(value.as_bytes())
}

/// One value to be set: knows when the kernel already has it.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// The cgroup, for messages.
    pub(super) cgroup: &'a Named,
    /// Its directory.
    pub(super) dir: &'a Path,
}

impl Setting<'_> {
    /// Brings a file to a value that reads back as it is written.
    pub(super) fn set(&self, file: &str, value: &str, missing: Missing) -> Result<(), CgroupError> {
        self.set_if(file, value, missing, |current| current == value)
    }

    /// Brings a file of bytes to a limit, -1 for none; `unlimited` is the word for it. The kernel rounds to pages.
    pub(super) fn set_bytes(&self, file: &str, bytes: i64, unlimited: &str) -> Result<(), CgroupError> {
        let value = if bytes < 0 { unlimited.to_owned() } else { bytes.to_string() };
        self.set_if(file, &value, Missing::Fails, |current| is_same_limit(current, bytes, unlimited))
    }

    fn set_if(
        &self,
        file: &str,
        value: &str,
        missing: Missing,
        is_current: impl Fn(&str) -> bool,
    ) -> Result<(), CgroupError> {
        let result = match read(self.dir, file) {
            Ok(current) if is_current(&current) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && missing == Missing::Skipped => Ok(()),
            // A file may be writable only, or have the value in another form: the kernel decides.
            _ => write(self.dir, file, value),
        };
        result.map_err(|error| self.cgroup.error(format!("write {value} to"), &self.dir.join(file), error))
    }
}

fn is_same_limit(current: &str, bytes: i64, unlimited: &str) -> bool {
    let page = i64::try_from(rustix::param::page_size()).unwrap_or(4096);
    // Version 1 shows "no limit" as the largest multiple of a page.
    let none =
        current == unlimited || current.parse::<i64>().is_ok_and(|now| now >= i64::MAX - i64::MAX % page);
    if bytes < 0 {
        none
    } else {
        !none && current.parse::<i64>().is_ok_and(|now| now == bytes - bytes % page)
    }
}

/// Names of the directories in a directory; none when it is not there. Symlinks are not directories.
pub(super) fn child_dirs(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}
