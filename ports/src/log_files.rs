//! The files of container logs, for their rotation (CONTRACT 3.28). A log is named by the path of its current file, as the
//! runtime tells it; other files of it lie beside it and are named by their file names.

use async_trait::async_trait;

use crate::FileError;

/// One answer for each log asked for: its size in bytes, `None` when the file is not there.
pub type LogSizes = Vec<Result<Option<u64>, FileError>>;

/// Files of container logs below `podLogsDir`. A log elsewhere is refused, and no symlink is followed: a pod that may write
/// there must not have the node's files renamed or removed.
#[async_trait]
pub trait ContainerLogFiles: Send + Sync {
    /// Sizes of the current files of these logs, in their order. One bad log is an error of its own only. The next write to
    /// each, from before its size was read, is told by [`ContainerLogFiles::written`].
    async fn sizes(&self, logs: &[String]) -> Result<LogSizes, FileError>;
    /// Waits for writes to logs whose sizes were read, and names these logs. Each reading of a size is good for one write; it may
    /// tell of one that the size already holds, and where a host cannot tell of writes it waits for ever. May be cancelled.
    async fn written(&self) -> Vec<String>;
    /// Names of the files in the directory of the log.
    async fn list(&self, log: &str) -> Result<Vec<String>, FileError>;
    /// Removes files beside the log. Gone already is success.
    async fn remove(&self, log: &str, names: &[String]) -> Result<(), FileError>;
    /// Renames a file beside the log, or the log itself. Never replaces another file.
    async fn rename(&self, log: &str, from: &str, to: &str) -> Result<(), FileError>;
    /// Replaces a file beside the log by `<name>.gz`, written as `<name>.tmp`. A file that goes away meanwhile, or was gone
    /// before, is success.
    async fn compress(&self, log: &str, name: &str) -> Result<(), FileError>;
}
