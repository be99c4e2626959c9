//! Requests for certificates of pods.

use async_trait::async_trait;
use core_certificates::pod::{PodCertificateAsk, RequestState};
use core_types::WallTime;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use ports::{ApiError, ApiResult, PodCertificateRequests};

use crate::{ApiClient, ObjectPath};

/// The requests of one node.
#[derive(Clone, Debug)]
pub struct ApiPodCertificates {
    client: ApiClient,
    node_name: String,
}

impl ApiPodCertificates {
    /// Asks through this client, for pods of this node.
    pub fn new(client: ApiClient, node_name: impl Into<String>) -> Self {
        Self { client, node_name: node_name.into() }
    }
}

#[async_trait]
impl PodCertificateRequests for ApiPodCertificates {
    async fn create(&self, ask: &PodCertificateAsk, request_der: Vec<u8>) -> ApiResult<String> {
        let namespace = &ask.pod.namespace;
        let account = ObjectPath::namespaced::<ServiceAccount>(namespace, &ask.service_account);
        let account: ServiceAccount = self.client.get(&account).await?;
        let node: Node = self.client.get(&ObjectPath::cluster::<Node>(&self.node_name)).await?;
        let request = PodCertificateRequest {
            metadata: ObjectMeta {
                generate_name: Some("req-".to_owned()),
                namespace: Some(namespace.to_string()),
                ..ObjectMeta::default()
            },
            spec: PodCertificateRequestSpec {
                signer_name: ask.signer.clone(),
                pod_name: ask.pod.name.to_string(),
                pod_uid: ask.pod_uid.to_string(),
                service_account_name: ask.service_account.clone(),
                service_account_uid: account.metadata.uid.unwrap_or_default(),
                node_name: self.node_name.clone(),
                node_uid: node.metadata.uid.unwrap_or_default(),
                max_expiration_seconds: ask.max_expiration_secs,
                stub_pkc_s10_request: ByteString(request_der),
                unverified_user_annotations: Some(ask.annotations.clone()).filter(|it| !it.is_empty()),
            },
            status: None,
        };
        let path = ObjectPath::collection::<PodCertificateRequest>(namespace);
        let made: PodCertificateRequest = self.client.create(&path, &request).await?;
        made.metadata.name.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::Malformed {
            request: "POST podcertificaterequests".to_owned(),
            problem: "the answer holds no name".to_owned(),
        })
    }

    async fn look(&self, namespace: &str, name: &str) -> ApiResult<Option<RequestState>> {
        let path = ObjectPath::namespaced::<PodCertificateRequest>(namespace, name);
        match self.client.get::<PodCertificateRequest>(&path).await {
            Ok(request) => Ok(Some(state_of(request))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn state_of(request: PodCertificateRequest) -> RequestState {
    let status = request.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    let words = |Condition { reason, message, .. }: &Condition| (reason.clone(), message.clone());
    if let Some((reason, message)) = find("Denied").map(words) {
        return RequestState::Denied { reason, message };
    }
    if let Some((reason, message)) = find("Failed").map(words) {
        return RequestState::Failed { reason, message };
    }
    let issued = find("Issued").and(status.certificate_chain);
    let times = status.begin_refresh_at.zip(status.not_after);
    match issued.zip(times) {
        Some((chain_pem, (refresh, end))) => RequestState::Issued {
            chain_pem,
            begin_refresh_at: WallTime::from_api(&refresh),
            not_after: WallTime::from_api(&end),
        },
        None => RequestState::Pending,
    }
}
