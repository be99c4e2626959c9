//! Files about pulls, in the directories that upstream's kubelet keeps them in (CONTRACT 3.16, 7.4).

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::FileError;

/// Which of the two directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullFileKind {
    /// `pulling`: pulls that have begun.
    Intent,
    /// `pulled`: images that were pulled.
    Record,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullFile {
    /// Its name, the one it had for a file that was set aside.
    pub name: String,
    /// What is in it.
    pub content: PullContent,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullContent {
    /// These bytes.
    Bytes(Bytes),
    /// Something that could not be used and was set aside.
    SetAside,
}

/// The files `sha256-...` of both directories. None is ever synced to the disk: what is lost in a crash of the machine is
/// proved once more by a pull.
#[async_trait]
pub trait PullRecords: Send + Sync {
    /// All files of a kind, bounded in number and size. What is too large comes without its content's end.
    async fn list(&self, kind: PullFileKind) -> Result<Vec<PullFile>, FileError>;
    /// Replaces a file as a whole: after the agent was killed it is the old or the new one.
    async fn store(&self, kind: PullFileKind, name: &str, content: &[u8]) -> Result<(), FileError>;
    /// Removes a file. Gone already is success.
    async fn remove(&self, kind: PullFileKind, name: &str) -> Result<(), FileError>;
    /// Gives a file that cannot be used a name that neither kubelet reads, and says where it is now.
    async fn set_aside(&self, kind: PullFileKind, name: &str) -> Result<PathBuf, FileError>;
}
