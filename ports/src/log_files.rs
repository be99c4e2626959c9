//! The files of container logs, for their rotation (CONTRACT 3.28). A log is named by the path of its current file, as the
//! runtime tells it; other files of it lie beside it and are named by their file names.

use async_trait::async_trait;
use core_logs::Plan;

use crate::FileError;

/// One answer for each log asked for: its size in bytes, `None` when the file is not there.
pub type LogSizes = Vec<Result<Option<u64>, FileError>>;

/// A look at the size of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLook {
    /// Path of the log.
    pub log: String,
    /// Whether [`ContainerLogFiles::written`] tells of the next write, from before the size is read. It costs more than the look.
    pub tells_write: bool,
}

/// Makes the plan of a rotation from the names of the files in the directory of a log.
pub type PlanRotation = Box<dyn FnOnce(&[String]) -> Plan + Send>;

/// Files of container logs below `podLogsDir`. A log elsewhere is refused, and no symlink is followed: a pod that may write
/// there must not have the node's files renamed or removed.
#[async_trait]
pub trait ContainerLogFiles: Send + Sync {
    /// Sizes of the current files of these logs, in their order. One bad log is an error of its own only.
    async fn sizes(&self, looks: &[LogLook]) -> Result<LogSizes, FileError>;
    /// Waits for writes that looks asked for, and names their logs. Each of these looks is good for one write; it may tell of one
    /// that the size already holds, and where a host cannot tell of writes it waits for ever. May be cancelled.
    async fn written(&self) -> Vec<String>;
    /// Moves the log aside as `plan` says, which is given the names of all files in its directory, and returns the plan: removes
    /// and renames, in one go, since a fast writer fills the log meanwhile. A file to be removed that is gone already is
    /// success; another file is never replaced. Compresses nothing.
    async fn move_aside(&self, log: &str, plan: PlanRotation) -> Result<Plan, FileError>;
    /// Gives the log its name back: it was moved aside as `name`. Never replaces another file.
    async fn move_back(&self, log: &str, name: &str) -> Result<(), FileError>;
    /// Replaces a file beside the log by `<name>.gz`, written as `<name>.tmp`. A file that goes away meanwhile, or was gone
    /// before, is success.
    async fn compress(&self, log: &str, name: &str) -> Result<(), FileError>;
}
