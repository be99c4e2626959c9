//! Removes a tree that somebody hostile may have built: of any depth, with millions of entries, with symlinks and mounts.
//!
//! Depth costs one handle per level up to [`MAX_DEPTH`]; directories deeper than that are moved up to the tree's root
//! and removed from there, so neither the stack nor the number of open files grows with the tree. Entries are read in
//! batches.

use std::ffi::OsStr;
use std::path::Path;

use ports::FileError;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{Dir, explain};
use crate::error::{AtPath, refused};

/// Levels that are entered; what lies deeper is moved up.
const MAX_DEPTH: usize = 100;

/// Entries read at a time.
const BATCH: usize = 1024;

/// Batches of one removal, against a writer that makes entries as fast as they are removed.
const MAX_BATCHES: usize = 1_000_000;

/// See [`Dir::remove_tree`].
pub(super) fn remove_tree(parent: &Dir, name: &OsStr) -> Result<(), FileError> {
    let path = parent.path().join(name);
    match parent.kind(name)? {
        None => Ok(()),
        Some(kind) if kind.is_mount => Err(FileError::StillMounted { path }),
        Some(kind) if kind.file_type != FileType::Directory => parent.unlink(name),
        Some(_) => {
            let root = parent.dir(name)?;
            Removal { root: &root, batches: 0, moved: 0 }.empty(&root, 0)?;
            remove_dir(parent, name, &path)
        }
    }
}

struct Removal<'a> {
    root: &'a Dir,
    batches: usize,
    moved: usize,
}

impl Removal<'_> {
    fn empty(&mut self, dir: &Dir, depth: usize) -> Result<(), FileError> {
        loop {
            let batch = dir.some_entries(BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.batches += 1;
            if self.batches > MAX_BATCHES {
                return Err(refused(dir.path(), "something keeps writing into it while it is removed"));
            }
            for (name, file_type) in &batch {
                self.remove_entry(dir, name, *file_type, depth)?;
            }
        }
    }

    fn remove_entry(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        file_type: FileType,
        depth: usize,
    ) -> Result<(), FileError> {
        if !matches!(file_type, FileType::Directory | FileType::Unknown) {
            return dir.unlink(name);
        }
        let path = dir.path().join(name);
        let Some(kind) = dir.kind(name)? else { return Ok(()) };
        if kind.is_mount {
            return Err(FileError::StillMounted { path });
        }
        if kind.file_type != FileType::Directory {
            return dir.unlink(name);
        }
        if depth >= MAX_DEPTH {
            return self.move_up(dir, name);
        }
        if let Some(child) = dir.find(name)? {
            self.empty(&child, depth + 1)?;
        }
        remove_dir(dir, name, &path)
    }

    /// Moves a directory to the root of the tree, under a name that is free or belongs to an empty directory.
    fn move_up(&mut self, dir: &Dir, name: &OsStr) -> Result<(), FileError> {
        loop {
            self.moved += 1;
            let fresh = format!(".removing-{}", self.moved);
            match rustix::fs::renameat(dir.fd(), name, self.root.fd(), &fresh) {
                Ok(()) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if self.moved < MAX_BATCHES => {}
                Err(error) => return Err(error).at("move up for removal", &dir.path().join(name)),
            }
        }
    }
}

fn remove_dir(parent: &Dir, name: &OsStr, path: &Path) -> Result<(), FileError> {
    match rustix::fs::unlinkat(parent.fd(), name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(explain(error, "remove directory", path)),
    }
}
