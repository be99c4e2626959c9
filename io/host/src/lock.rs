//! A lock file that at most one process holds (`--lock-file`). The kernel frees it when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path} is locked by another process; stop it, or give this one a file of its own")]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be used.
    #[error("lock {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// A held lock; dropping it gives it free. The file stays, because removing it would let two processes lock two files.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock at once or not at all; makes the file (0600) when it is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_path_buf(), source };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it_and_dropping_frees_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let held = LockFile::try_acquire(&path).unwrap();
        assert!(matches!(LockFile::try_acquire(&path), Err(LockError::Held { .. })));
        drop(held);
        LockFile::try_acquire(&path).unwrap();
        assert!(matches!(LockFile::try_acquire(&temp.path().join("no/such")), Err(LockError::Io { .. })));
    }
}
