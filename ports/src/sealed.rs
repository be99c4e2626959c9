//! A file in which the agent keeps secrets over a reboot, unreadable without its key.

use std::path::PathBuf;

use async_trait::async_trait;
use core_types::Secret;

use crate::FileError;

/// Why a sealed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was sealed with this key for this purpose.
    #[error("{path} cannot be opened: {problem}")]
    NotOpened {
        /// File.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// One sealed file.
#[async_trait]
pub trait SealedFile: Send + Sync {
    /// Its content; `None` when there is none. Bounded in size.
    async fn load(&self) -> Result<Option<Secret<Vec<u8>>>, SealedError>;
    /// Replaces it as a whole: after a crash of the machine it is the old or the new one. Makes the key when there is none.
    async fn store(&self, content: Secret<Vec<u8>>) -> Result<(), SealedError>;
    /// Moves a file that cannot be used out of the way, and says where it is now.
    async fn set_aside(&self) -> Result<PathBuf, FileError>;
    /// Removes the file, what was set aside, and the key that was made for it. Gone already is success.
    async fn remove(&self) -> Result<(), FileError>;
}
