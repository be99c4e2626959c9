//! HTTP requests of lifecycle hooks (CONTRACT 3.14).

use async_trait::async_trait;
use core_types::HttpGet;

/// Which way an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// As it was asked for.
    AsAsked,
    /// The server answered https with plain HTTP, and the same request over http went well.
    OverHttpInstead,
}

/// Why there was no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("GET {url}: {message}")]
pub struct HookDialError {
    /// URL without the query.
    pub url: String,
    /// Cause.
    pub message: String,
}

/// Makes the requests of hooks.
#[async_trait]
pub trait HookDialer: Send + Sync {
    /// One GET; an answer of any status is success, and its body is read no further than 10 KiB. It has no time limit of
    /// its own: drop the future to give up.
    async fn get(&self, request: &HttpGet) -> Result<HookAnswer, HookDialError>;
}
