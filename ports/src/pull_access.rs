//! What a pull may need of the API server beside Secrets: the pod's service account (CONTRACT 3.16, 6.11).

use async_trait::async_trait;
use core_types::api::ServiceAccount;
use core_types::{PodUid, Secret};

use crate::api::ApiResult;

/// Which token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAsk {
    /// Namespace of the pod and its service account.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// Its UID.
    pub account_uid: String,
    /// The pod that the token is bound to.
    pub pod_name: String,
    /// Its UID.
    pub pod_uid: PodUid,
    /// The only audience.
    pub audience: String,
}

/// Service accounts.
#[async_trait]
pub trait PullAccess: Send + Sync {
    /// A service account.
    async fn service_account(&self, namespace: &str, name: &str) -> ApiResult<ServiceAccount>;
    /// A token of a service account, bound to a pod, with the life that the API server gives by itself.
    async fn service_account_token(&self, ask: &TokenAsk) -> ApiResult<Secret<String>>;
}
