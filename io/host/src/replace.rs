//! Replacing a file as a whole.

use std::io::Write;

use ports::FileError;

use crate::beneath::Dir;
use crate::error::AtPath;

/// What the new content must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A crash of the machine: file and directory are synced.
    OutlivesTheMachine,
    /// The end of the process: nothing is synced, for files on the way to a pod's start.
    OutlivesTheProcess,
}

/// Temporary file, sync, rename, sync of the directory: readers never see a part of the content. `name` is a plain name.
pub(crate) fn replace_file(
    dir: &Dir,
    name: &str,
    content: &[u8],
    durability: Durability,
) -> Result<(), FileError> {
    let shortened = name.chars().take(60).collect::<String>();
    let temporary = format!(".{shortened}.new");
    dir.remove_tree(&temporary)?;
    let mut file = dir.create_new(&temporary, 0o600)?;
    let path = dir.path().join(&temporary);
    let sync = |file: &std::fs::File| match durability {
        Durability::OutlivesTheMachine => file.sync_all(),
        Durability::OutlivesTheProcess => Ok(()),
    };
    let written = file.write_all(content).and_then(|()| sync(&file)).at("write", &path);
    let done = written.and_then(|()| dir.rename(&temporary, name));
    if done.is_err() {
        dir.unlink(&temporary)?;
    }
    done?;
    match durability {
        Durability::OutlivesTheMachine => rustix::fs::fsync(dir.fd()).at("write", dir.path()),
        Durability::OutlivesTheProcess => Ok(()),
    }
}
