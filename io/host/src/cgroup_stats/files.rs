//! A directory of the kernel's files, opened once: its files are found without walking its path again, which costs more than most of
//! them are long.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use core_types::WallTime;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::parse::{self, Numbers};

/// What is read of a file at once.
const PAGE: usize = 4096;

/// The kernel ends a read early when what comes next does not fit, a line at most: one that is shorter than this is the last.
const SHORT: usize = PAGE / 2;

/// A file with one number is shorter.
const NUMBER: usize = 64;

/// The directory.
pub(super) struct Files(OwnedFd);

impl Files {
    /// Opens it; `None` when it is not there (any more).
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(dir, flags, Mode::empty()).ok().map(Self)
    }

    /// Text of a file; `None` when it is not there or cannot be read (any more).
    pub(super) fn text(&self, file: &str) -> Option<String> {
        let mut text = Vec::with_capacity(PAGE);
        let file = self.file(file)?;
        loop {
            text.reserve(PAGE);
            let read = rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)).ok()?;
            if read < SHORT {
                return String::from_utf8(text).ok();
            }
        }
    }

    fn file(&self, file: &str) -> Option<OwnedFd> {
        rustix::fs::openat(&self.0, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// The one number of a file; the largest for `max`.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        let mut text = [0; NUMBER];
        let read = rustix::io::read(self.file(file)?, &mut text).ok()?;
        parse::limit(str::from_utf8(text.get(..read)?).ok()?.trim())
    }

    /// Numbers by name.
    pub(super) fn numbers(&self, file: &str) -> Option<Numbers> {
        self.text(file).map(Numbers)
    }

    /// How many processes it lists.
    pub(super) fn count_processes(&self) -> Option<u64> {
        Some(self.text("cgroup.procs")?.lines().count() as u64)
    }

    /// When the cgroup was made: its directory's time changes when a cgroup is made below, that of a file hardly ever does.
    pub(super) fn created_at(&self, steady_file: &str) -> WallTime {
        let of_dir = rustix::fs::statat(&self.0, "", AtFlags::EMPTY_PATH);
        let of_file = rustix::fs::statat(&self.0, steady_file, AtFlags::empty());
        let times = [of_dir, of_file].into_iter().flatten();
        let ages = times.filter_map(|stat| {
            let secs = u64::try_from(stat.st_mtime).ok()?;
            Some(Duration::new(secs, u32::try_from(stat.st_mtime_nsec).ok()?))
        });
        let nanos = ages.min().and_then(|age| i64::try_from(age.as_nanos()).ok());
        nanos.map(WallTime::from_unix_nanos).unwrap_or_default()
    }
}
