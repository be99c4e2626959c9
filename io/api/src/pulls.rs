//! Service accounts as pulls of images need them.

use async_trait::async_trait;
use core_types::Secret;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::pull_access::TokenAsk;
use ports::{ApiError, ApiResult, PullAccess};

use crate::{ApiClient, ObjectPath};

/// Service accounts and their tokens.
#[derive(Clone, Debug)]
pub struct ApiPulls {
    client: ApiClient,
}

impl ApiPulls {
    /// Asks through this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl PullAccess for ApiPulls {
    async fn service_account(&self, namespace: &str, name: &str) -> ApiResult<ServiceAccount> {
        self.client.get(&ObjectPath::namespaced::<ServiceAccount>(namespace, name)).await
    }

    async fn service_account_token(&self, ask: &TokenAsk) -> ApiResult<Secret<String>> {
        let path =
            ObjectPath::namespaced::<ServiceAccount>(&ask.namespace, &ask.account).subresource("token");
        let request = TokenRequest {
            metadata: ObjectMeta { uid: Some(ask.account_uid.clone()), ..ObjectMeta::default() },
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![ask.audience.clone()]),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(ask.pod_name.clone()),
                    uid: Some(ask.pod_uid.to_string()),
                }),
                ..TokenRequestSpec::default()
            }),
            status: None,
        };
        let answer: TokenRequest = self.client.create(&path, &request).await?;
        let token = answer.status.unwrap_or_default().token.map(Secret::new);
        token.ok_or_else(|| ApiError::Malformed {
            request: format!("POST serviceaccounts/{}/token", ask.account),
            problem: "the answer holds no token".to_owned(),
        })
    }
}
