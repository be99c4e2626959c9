//! Certificates that projected volumes of pods show (CONTRACT 6.12): keys, and requests to sign for them.

use async_trait::async_trait;
use core_certificates::pod::{KeyType, PodCertificateAsk, RequestState};
use core_types::Secret;

use crate::api::ApiResult;

/// A key of a pod.
#[derive(Clone, Debug)]
pub struct PodKeyPair {
    /// The private key, PEM.
    pub key_pem: Secret<Vec<u8>>,
    /// A request (PKCS#10, DER) that shows who has the key, and says nothing else.
    pub request_der: Vec<u8>,
}

/// Makes keys.
#[async_trait]
pub trait PodKeys: Send + Sync {
    /// A new key. The error is for people.
    async fn new_key(&self, key_type: KeyType) -> Result<PodKeyPair, String>;
}

/// `PodCertificateRequest` objects.
#[async_trait]
pub trait PodCertificateRequests: Send + Sync {
    /// Asks for a certificate, and gives the name of the request.
    async fn create(&self, ask: &PodCertificateAsk, request_der: Vec<u8>) -> ApiResult<String>;
    /// What has become of a request; `None` when there is none.
    async fn look(&self, namespace: &str, name: &str) -> ApiResult<Option<RequestState>>;
}
