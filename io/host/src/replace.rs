//! Replacing a file as a whole.

use std::io::Write;

use ports::FileError;

use crate::beneath::Dir;
use crate::error::AtPath;

/// Temporary file, fsync, rename, fsync of the directory: after success the content survives a crash, and readers never
/// see a part of it. `name` is a plain name.
pub(crate) fn replace_file(dir: &Dir, name: &str, content: &[u8]) -> Result<(), FileError> {
    let shortened = name.chars().take(60).collect::<String>();
    let temporary = format!(".{shortened}.new");
    dir.remove_tree(&temporary)?;
    let mut file = dir.create_new(&temporary, 0o600)?;
    let path = dir.path().join(&temporary);
    let written = file.write_all(content).and_then(|()| file.sync_all()).at("write", &path);
    let done = written.and_then(|()| dir.rename(&temporary, name));
    if done.is_err() {
        dir.unlink(&temporary)?;
    }
    done?;
    rustix::fs::fsync(dir.fd()).at("write", dir.path())
}
