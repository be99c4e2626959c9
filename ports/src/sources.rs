//! Where manifests come from: files and URLs.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;

use crate::pod_files::FileError;

/// One manifest file as read. A file that is too large is not read: `content` says so.
#[derive(Clone, Debug)]
pub struct ManifestFile {
    /// Path.
    pub path: PathBuf,
    /// Bytes, or why they cannot be had.
    pub content: Result<bytes::Bytes, String>,
}

/// Stream of hints that something below the path changed.
pub type FileHints = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// Manifest files of one path: a directory (not recursive, no dot files, sorted) or one file (CONTRACT 3.1).
#[async_trait]
pub trait ManifestFiles: Send + Sync {
    /// Reads every manifest. A missing path is an empty list.
    async fn read_all(&self) -> Result<Vec<ManifestFile>, FileError>;
    /// Watches the path. Hints may be lost or doubled; the stream ends when the watch breaks.
    async fn watch(&self) -> Result<FileHints, FileError>;
    /// Writes a manifest into the directory, durably (temporary file, fsync, rename).
    async fn write(&self, file_name: &str, content: &[u8]) -> Result<(), FileError>;
    /// Removes a manifest from the directory. Gone already is success.
    async fn remove(&self, file_name: &str) -> Result<(), FileError>;
}

/// Why a manifest URL gave nothing.
#[derive(Debug, thiserror::Error)]
#[error("GET {url}: {message}; it is tried again in {retry_after:?}")]
pub struct FetchError {
    /// URL without user info and query.
    pub url: String,
    /// What went wrong.
    pub message: String,
    /// When it is tried again.
    pub retry_after: Duration,
}

/// Fetches the manifest URL with the configured headers, within 10 s and 10 MiB.
#[async_trait]
pub trait ManifestFetcher: Send + Sync {
    /// The URL, for messages: without user info and query.
    fn origin(&self) -> &str;
    /// Body of a 200 answer.
    async fn fetch(&self) -> Result<bytes::Bytes, FetchError>;
}
