//! Files of this machine as an archive.

use std::io::PipeWriter;
use std::path::Path;

use crate::error::CliError;

/// Writes the file or directory `source`, called `name`, into the pipe. Links stay links.
pub(super) fn pack(pipe: PipeWriter, source: &Path, name: &str) -> Result<(), CliError> {
    let failed = |error| CliError::File { path: source.to_owned(), source: error };
    let mut archive = tar::Builder::new(pipe);
    archive.follow_symlinks(false);
    let is_directory = source.symlink_metadata().map_err(failed)?.is_dir();
    match is_directory {
        true => archive.append_dir_all(name, source),
        false => archive.append_path_with_name(source, name),
    }
    .map_err(failed)?;
    archive.finish().map_err(failed)
}
