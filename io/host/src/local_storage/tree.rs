//! Counting a tree that somebody hostile may have built, as `du` does: blocks and inodes, on one file system.
//!
//! Memory does not grow with the tree: entries are read in batches, and a file with several names counts with its share for
//! each name, so that all of them together count once and none has to be remembered. Time is bounded by the caller.

use std::time::Duration;

use core_stats::{Coverage, DiskUse};
use ports::{Clock, FileError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::beneath::Dir;
use crate::error::AtPath as _;

/// Levels that are entered; each holds a handle and a buffer. No program makes trees as deep.
const MAX_DEPTH: usize = 512;

/// The clock is read once in so many entries.
const ENTRIES_PER_LOOK: u32 = 256;

/// Size of the kernel's unit of blocks, in bytes.
const BLOCK_BYTES: u64 = 512;

/// Inodes are summed in parts of so many, for those that count as a share.
const SHARES: u64 = 1 << 20;

/// The use of one file or directory itself.
pub(super) fn use_of(stat: &Stat) -> DiskUse {
    DiskUse { bytes: bytes(stat), inodes: 1 }
}

fn bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

/// Counts a directory with everything below it on its own file system.
pub(super) fn count(
    root: &Dir,
    clock: &dyn Clock,
    at_most: Duration,
) -> Result<(DiskUse, Coverage), FileError> {
    let stat = root.stat()?;
    let mut count = Count { device: stat.st_dev, bytes: 0, shares: 0, coverage: Coverage::Whole };
    count.add(&stat);
    let began = clock.now();
    let mut levels = vec![rustix::fs::Dir::read_from(root.fd()).at("list", root.path())?];
    let mut seen = 0u32;
    while let Some(level) = levels.last_mut() {
        let entry = match level.read() {
            None => {
                levels.pop();
                continue;
            }
            Some(entry) => entry.at("list", root.path())?,
        };
        seen = seen.wrapping_add(1);
        if seen.is_multiple_of(ENTRIES_PER_LOOK) && clock.now().since(began) > at_most {
            count.coverage = Coverage::AtLeast;
            break;
        }
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if let Some(below) = count.enter(level, entry.file_name()) {
            if levels.len() < MAX_DEPTH {
                levels.push(below);
            } else {
                count.coverage = Coverage::AtLeast;
            }
        }
    }
    Ok((count.sum(), count.coverage))
}

struct Count {
    device: u64,
    bytes: u64,
    shares: u64,
    coverage: Coverage,
}

impl Count {
    // The number of names is narrower on other machines.
    #[allow(clippy::useless_conversion)]
    fn add(&mut self, stat: &Stat) {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // What a directory has as names are the links of its own entries.
        let names = if is_dir { 1 } else { stat.st_nlink.max(1) };
        self.bytes = self.bytes.saturating_add(bytes(stat) / names);
        self.shares = self.shares.saturating_add(SHARES / names);
    }

    fn sum(&self) -> DiskUse {
        DiskUse { bytes: self.bytes, inodes: self.shares.saturating_add(SHARES / 2) / SHARES }
    }

    /// Counts an entry; a directory of the same file system is opened. What vanishes meanwhile counts no more, what cannot
    /// be read is missing.
    fn enter(&mut self, parent: &rustix::fs::Dir, name: &std::ffi::CStr) -> Option<rustix::fs::Dir> {
        let result = self.try_enter(parent, name);
        match result {
            Ok(below) => below,
            Err(Errno::NOENT) => None,
            Err(_) => {
                self.coverage = Coverage::AtLeast;
                None
            }
        }
    }

    fn try_enter(
        &mut self,
        parent: &rustix::fs::Dir,
        name: &std::ffi::CStr,
    ) -> Result<Option<rustix::fs::Dir>, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statat(parent.fd()?, name, flags)?;
        if stat.st_dev != self.device {
            return Ok(None);
        }
        self.add(&stat);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = rustix::fs::openat(parent.fd()?, name, flags, Mode::empty())?;
        // What was opened may be another directory by now.
        match rustix::fs::fstat(&below)?.st_dev == self.device {
            true => rustix::fs::Dir::new(below).map(Some),
            false => Ok(None),
        }
    }
}
