//! The kernel's log, line by line.

use async_trait::async_trait;

/// Why the kernel's log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the kernel's log {path}: {source}; kills for lack of memory are not told")]
pub struct KernelLogError {
    /// The file.
    pub path: String,
    /// Cause.
    pub source: std::io::Error,
}

/// A place in the log of one boot: it outlives the agent, and means nothing after the next boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPlace {
    /// The boot, as the kernel names it.
    pub boot_id: String,
    /// The kernel's number of a line.
    pub sequence: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLine {
    /// Where it stands.
    pub place: LogPlace,
    /// Its text, without its head and without continuation lines.
    pub text: String,
}

/// The kernel's log.
#[async_trait]
pub trait KernelLog: Send + Sync {
    /// Opens it: from the line after `after` on as far as it is still there, or from now on.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn open(&self, after: Option<&LogPlace>) -> Result<Box<dyn KernelLines>, KernelLogError>;
}

/// An open log.
#[async_trait]
pub trait KernelLines: Send {
    /// Where the log ends when it is opened.
    fn begins_after(&self) -> &LogPlace;
    /// The next line; waits for it. Lines that were overwritten before they were read are left out. May be dropped half-way.
    ///
    /// # Errors
    /// When it cannot be read any more.
    async fn next(&mut self) -> Result<KernelLine, KernelLogError>;
}
