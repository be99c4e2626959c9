//! Programs of the node's administrator that give credentials for images (CONTRACT 3.16).

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginCommand {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// Variables that are added to the agent's own, or replace them.
    pub env: Vec<(String, String)>,
    /// How long it may take.
    pub limit: Duration,
}

/// Why a plugin gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It could not be started.
    #[error("cannot run it: {0}")]
    Start(#[source] std::io::Error),
    /// It ended with an error.
    #[error("it ended with {status}: {stderr}")]
    Failed {
        /// Exit code or signal.
        status: String,
        /// The beginning of what it said.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("no answer within {after:?}; it was killed")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// It said more than is read, and was killed.
    #[error("its answer is longer than {max_bytes} bytes")]
    TooLong {
        /// The bound.
        max_bytes: usize,
    },
}

/// Runs plugins, without a shell.
#[async_trait]
pub trait CredentialPlugins: Send + Sync {
    /// Runs a plugin with `input` as its standard input and gives its standard output, bounded in size. Dropping the future
    /// kills it. The output may hold passwords: never log it.
    async fn run(&self, command: &PluginCommand, input: &[u8]) -> Result<Vec<u8>, PluginError>;
}
