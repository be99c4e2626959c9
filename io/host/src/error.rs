//! Short ways to say where a file operation failed.

use std::io;
use std::path::{Path, PathBuf};

use ports::FileError;

use crate::blocking::BlockingError;

/// Adds the operation and the path to a system error.
pub(crate) trait AtPath<T> {
    /// `operation` in words, e.g. `create directory`.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|error| FileError::Io { operation, path: path.to_path_buf(), source: error.into() })
    }
}

/// A path that is not used, and why.
pub(crate) fn refused(path: &Path, problem: impl Into<String>) -> FileError {
    FileError::Refused { path: path.to_path_buf(), problem: problem.into() }
}

/// A call of the pool that gave no result.
pub(crate) fn no_result(error: BlockingError, operation: &'static str, path: PathBuf) -> FileError {
    match error {
        BlockingError::Timeout { after } => FileError::Timeout { operation, path, after },
        BlockingError::Broken(_) => {
            FileError::Io { operation, path, source: io::Error::other(error.to_string()) }
        }
    }
}
