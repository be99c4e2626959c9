//! Small files in which the agent keeps what neither the runtime nor the kernel can tell it after a restart.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::FileError;

/// The checkpoints below the agent's root directory, each a file with a plain name.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// Content of a checkpoint; `None` when there is none. Bounded in size.
    async fn load(&self, name: &str) -> Result<Option<Bytes>, FileError>;
    /// Replaces a checkpoint as a whole: after a crash it is the old or the new one.
    async fn store(&self, name: &str, content: &[u8]) -> Result<(), FileError>;
    /// Moves a checkpoint that cannot be used out of the way, and says where it is now.
    async fn set_aside(&self, name: &str) -> Result<PathBuf, FileError>;
}
