//! Which file of a log comes after a given one, when the log was rotated while it was read.
//!
//! Reads the directory of the log; writes nothing. Files that were compressed meanwhile are passed over.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that was begun when `own` was moved aside, the oldest that can be read when `own` is gone, or else the current
/// file `log`.
pub(super) fn of(log: &Path, own: &Metadata) -> PathBuf {
    let older = moved_aside(log);
    let is_own = |path: &PathBuf| {
        std::fs::symlink_metadata(path)
            .is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    let next = older.iter().position(is_own).map_or(0, |index| index + 1);
    older.into_iter().nth(next).unwrap_or_else(|| log.to_owned())
}

/// Files of the log that were moved aside and are not compressed, oldest first. Links are left out.
fn moved_aside(log: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_older = |other: &str| {
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with(".gz") && !rest.ends_with(".tmp"))
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_older))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found
}
