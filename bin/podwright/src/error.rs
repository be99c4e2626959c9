//! What goes wrong, in words that say what to do, and the exit code that goes with it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Exit code: it failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code: wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Exit code: not done in time.
pub(crate) const TIMEOUT: u8 = 3;
/// Exit code: the agent cannot be reached.
pub(crate) const UNREACHABLE: u8 = 4;

/// Exit code: `doctor` found something that is still there.
pub(crate) const FOUND: u8 = 5;

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Nobody listens.
    #[error(
        "no agent listens on {socket}: start it (kubelet), or name its socket with --socket or PODWRIGHT_SOCKET"
    )]
    NoAgent { socket: PathBuf },
    /// The socket belongs to somebody else.
    #[error("you may not connect to the agent at {socket}: run podwright as root or as the agent's user")]
    NotAllowed { socket: PathBuf },
    /// The connection failed in another way.
    #[error("the agent at {socket}: {problem}")]
    Connection { socket: PathBuf, problem: String },
    /// Without an agent nobody says where things are.
    #[error(
        "{agent}; and {path}, where an agent leaves word of where it keeps things, is not there: name the root directory of \
         the agent with --root-dir"
    )]
    NoPlaces { path: PathBuf, agent: String },
    /// The agent refused.
    #[error("{0}")]
    Refused(String),
    /// The answer is not understood.
    #[error(
        "the agent's answer to {request} is not understood ({problem}): agent and podwright may be of different versions"
    )]
    Answer { request: String, problem: String },
    /// No pod, or more than one, has the name.
    #[error("{0}")]
    Pod(String),
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// The manifests cannot be used as given.
    #[error("{0}")]
    Manifest(String),
    /// It took too long.
    #[error("not done within {after:?}: {state}")]
    Timeout { after: Duration, state: String },
    /// A stream broke.
    #[error("the stream broke off: {0}")]
    Stream(String),
    /// Standard input, output or the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CliError {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoAgent { .. }
            | Self::NotAllowed { .. }
            | Self::Connection { .. }
            | Self::NoPlaces { .. } => UNREACHABLE,
            Self::Manifest(_) => USAGE,
            Self::Timeout { .. } => TIMEOUT,
            Self::Refused(_)
            | Self::Answer { .. }
            | Self::Pod(_)
            | Self::File { .. }
            | Self::Stream(_)
            | Self::Io(_) => FAILED,
        }
    }

    /// True when who read our output has gone, which is no failure (`podwright logs web | head`).
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
