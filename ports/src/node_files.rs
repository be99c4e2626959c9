//! Files of the node beneath one directory, for `/logs/` and the node-log query (CONTRACT 2.5, 2.8), and the journal.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use core_types::WallTime;
use futures_core::Stream;

use crate::FileError;

/// Bytes as they are found. Dropping the stream stops the reading.
pub type Bytes = Pin<Box<dyn Stream<Item = std::io::Result<bytes::Bytes>> + Send>>;

/// What lies at a path.
pub enum NodeFile {
    /// A directory: the names in it, those of directories with a `/` at the end, sorted.
    Directory(Vec<String>),
    /// A regular file.
    File {
        /// Size when it was opened.
        size_bytes: u64,
        /// When it was changed last.
        modified: WallTime,
        /// What is in it, up to that size.
        content: Bytes,
    },
}

/// The files beneath one directory. Nothing outside of it is ever reached, by no path and no link.
#[async_trait]
pub trait NodeFiles: Send + Sync {
    /// Opens what lies at a relative path; `None` when there is nothing. A path or link that leads out is an error, and so is
    /// what is neither a directory nor a regular file.
    async fn open(&self, path: &str) -> Result<Option<NodeFile>, FileError>;
}

/// The journal of the node's services.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Whether services of that name write to the journal. False when there is no journal.
    async fn knows(&self, service: &str) -> bool;
    /// What the journal's reader prints for these arguments, errors included; it is ended after `limit`. An error when there
    /// is no journal.
    async fn read(&self, arguments: Vec<String>, limit: Duration) -> std::io::Result<Bytes>;
}
