//! What every port of the API server shares: errors, and what following objects tells.
//!
//! Each kind of object that the agent works with has a small trait of its own beside this module; `io/api` implements them on one
//! client. No error shows a token or a key.

use std::time::Duration;

/// The result of one request.
pub type ApiResult<T> = Result<T, ApiError>;

/// Why a request to the API server did not succeed. `request` is its method and path, e.g. `PATCH /api/v1/nodes/n1/status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection, or it broke before the answer was there.
    #[error("{request}: the API server at {server} cannot be reached: {message}")]
    Unreachable {
        /// The request.
        request: String,
        /// URL of the server.
        server: String,
        /// Cause.
        message: String,
    },
    /// No complete answer in time.
    #[error("{request}: no answer from the API server within {after:?}")]
    Timeout {
        /// The request.
        request: String,
        /// The deadline.
        after: Duration,
    },
    /// The server refused.
    #[error("{request}: {status}")]
    Refused {
        /// The request.
        request: String,
        /// Its answer.
        status: Box<ApiStatus>,
    },
    /// The answer, or an object to send, cannot be used.
    #[error("{request}: {problem}")]
    Malformed {
        /// The request.
        request: String,
        /// What is wrong.
        problem: String,
    },
}

/// What the server says of a request that it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiStatus {
    /// HTTP status.
    pub code: u16,
    /// CamelCase reason, e.g. `NotFound`; empty when the server gave none.
    pub reason: String,
    /// The server's own words.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for ApiStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{} (status {})", self.message, self.code),
            reason => write!(f, "{} ({reason}, status {})", self.message, self.code),
        }
    }
}

impl ApiError {
    /// The server's answer, if there was one.
    pub fn status(&self) -> Option<&ApiStatus> {
        match self {
            Self::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.has(404, "NotFound")
    }

    /// An object with that name exists.
    pub fn is_already_exists(&self) -> bool {
        self.has(409, "AlreadyExists")
    }

    /// The object was changed by somebody else, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.has(409, "Conflict")
    }

    /// The resource version is too old to go on from: list again.
    pub fn is_expired(&self) -> bool {
        self.status().is_some_and(|status| status.code == 410)
    }

    /// We may not do that.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// The server does not know who we are.
    pub fn is_unauthorized(&self) -> bool {
        self.status().is_some_and(|status| status.code == 401)
    }

    /// The server found the request itself wrong: sending it again does not help.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(|status| matches!(status.code, 400 | 422))
    }

    fn has(&self, code: u16, reason: &str) -> bool {
        self.status().is_some_and(|status| {
            status.code == code && (status.reason == reason || (status.reason.is_empty() && code == 404))
        })
    }
}

/// What following objects tells, in order. Whoever follows keeps the objects.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectEvent<K> {
    /// All objects there are; what was known before and is not among them is gone.
    Replaced(Vec<K>),
    /// One object is new or has changed.
    Applied(K),
    /// One object is gone; this was its last state.
    Deleted(K),
    /// The server cannot be asked now. What was told last holds, and following goes on by itself.
    Interrupted(ApiError),
}
