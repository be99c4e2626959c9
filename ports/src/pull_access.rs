//! What a pull may need of the API server: secrets that a pod names, and its service account (CONTRACT 3.16, 6.10, 6.11).

use async_trait::async_trait;
use core_types::PodUid;
use core_types::api::{Secret, ServiceAccount};

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

/// Secrets and service accounts.
#[async_trait]
pub trait PullAccess: Send + Sync {
    /// A secret of a pod's namespace.
    async fn secret(&self, namespace: &str, name: &str) -> ApiResult<Secret>;
    /// A service account.
    async fn service_account(&self, namespace: &str, name: &str) -> ApiResult<ServiceAccount>;
    /// A token of a service account, bound to a pod. Never log it.
    async fn service_account_token(&self, ask: &TokenAsk) -> ApiResult<String>;
}
