//! Probes over the network (CONTRACT 4.4).

use std::time::Duration;

use async_trait::async_trait;
use core_probes::ProbeRequest;

/// What is kept of an answer or of a command's output, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 10 << 10;

/// What came of one question, with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The container is well.
    Success(String),
    /// It is, with something to say about it.
    Warning(String),
    /// It is not.
    Failure(String),
    /// It did not answer in time.
    TimedOut(String),
    /// It could not be asked.
    Unknown(String),
}

/// Asks containers over the network.
#[async_trait]
pub trait ProbeDialer: Send + Sync {
    /// Sends one request; the answer comes within `timeout`. [`ProbeRequest::Exec`] goes to the container runtime instead
    /// and is unknown here.
    async fn ask(&self, request: &ProbeRequest, timeout: Duration) -> ProbeAnswer;
}
