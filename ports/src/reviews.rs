//! Questions about who asks and who may, which the API server answers (CONTRACT 2.2, 2.3).

use std::collections::BTreeMap;

use async_trait::async_trait;
use core_types::Secret;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// User name.
    pub name: String,
    /// Unique ID; empty when none is known.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known, e.g. which certificate or token was shown.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a TokenReview says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// The token is this user's.
    Known(User),
    /// It is nobody's.
    Unknown,
    /// It is nobody's, and the API server says why. The reason is for the log.
    Refused(String),
}

/// What a SubjectAccessReview asks: whether a user may do something with a subresource of this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessQuestion {
    /// Who.
    pub user: User,
    /// `get`, `create`, ... or empty for an HTTP method without a verb.
    pub verb: &'static str,
    /// Name of this node.
    pub node_name: String,
    /// Subresource of the node, e.g. `proxy`.
    pub subresource: &'static str,
}

/// What a SubjectAccessReview says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessVerdict {
    /// The user may.
    Allowed,
    /// The user may not.
    Refused,
}

/// Whether the same question may be asked again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    No,
    /// The API server is busy or the connection broke: upstream asks up to five times.
    Soon,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ReviewError {
    /// What went wrong, without any credentials.
    pub problem: String,
    /// Whether to ask again.
    pub retry: Retry,
}

/// `tokenreviews` of the API server.
#[async_trait]
pub trait TokenReviews: Send + Sync {
    /// Whose token this is. Asks once.
    async fn review_token(&self, token: &Secret<String>) -> Result<TokenVerdict, ReviewError>;
}

/// `subjectaccessreviews` of the API server.
#[async_trait]
pub trait SubjectAccessReviews: Send + Sync {
    /// Whether a user may. Asks once.
    async fn review_access(&self, question: &AccessQuestion) -> Result<AccessVerdict, ReviewError>;
}
