//! Certificate signing requests of the node (CONTRACT 7.1, 7.2).

use async_trait::async_trait;
use core_certificates::{Purpose, Server};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::certificates::SignError;
use ports::{ApiError, CertificateSigner, ObjectEvent};

use crate::{ApiClient, Follower, ObjectPath, Selector};

/// Asks for certificates.
#[derive(Clone, Debug)]
pub struct ApiSigner {
    client: ApiClient,
}

impl ApiSigner {
    /// Asks through this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl CertificateSigner for ApiSigner {
    async fn sign(&self, purpose: Purpose, request_pem: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let request = CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request_pem),
                signer_name: purpose.signer().to_owned(),
                usages: Some(purpose.usages().map(str::to_owned).into()),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        let path = ObjectPath::all::<CertificateSigningRequest>();
        let made: CertificateSigningRequest = self.client.create(&path, &request).await.map_err(|error| {
            let problem = format!("cannot create certificate signing request: {error}");
            SignError { problem, server: server(&error) }
        })?;
        let name = made.metadata.name.unwrap_or_default();
        tracing::info!(csr = name, signer = purpose.signer(), "certificate signing request created");
        let selector = Selector { fields: format!("metadata.name={name}"), labels: String::new() };
        let mut follower = Follower::<CertificateSigningRequest>::new(self.client.clone(), path, selector);
        loop {
            let found = match follower.next().await {
                ObjectEvent::Applied(request) => Some(request),
                ObjectEvent::Replaced(mut all) => all.pop(),
                ObjectEvent::Deleted(_) => return Err(unsigned(format!("csr {name} was deleted"))),
                ObjectEvent::Interrupted(error) => {
                    tracing::warn!(csr = name, %error, "a signing request cannot be followed now");
                    continue;
                }
            };
            match found.filter(|found| found.metadata.uid == made.metadata.uid).map(verdict) {
                Some(Verdict::Signed(chain)) => return Ok(chain),
                Some(Verdict::Refused(problem)) => return Err(unsigned(problem)),
                Some(Verdict::Open) => {}
                None => return Err(unsigned(format!("csr {name} does not exist any more"))),
            }
        }
    }
}

enum Verdict {
    Open,
    Signed(Vec<u8>),
    Refused(String),
}

fn verdict(request: CertificateSigningRequest) -> Verdict {
    let status = request.status.unwrap_or_default();
    for condition in status.conditions.iter().flatten() {
        let (reason, message) = (condition.reason.as_deref(), condition.message.as_deref());
        let told =
            format!("reason: {}, message: {}", reason.unwrap_or_default(), message.unwrap_or_default());
        match condition.type_.as_str() {
            "Denied" => return Verdict::Refused(format!("certificate signing request is denied, {told}")),
            "Failed" => return Verdict::Refused(format!("certificate signing request failed, {told}")),
            _ => {}
        }
    }
    match status.certificate {
        Some(ByteString(chain)) if !chain.is_empty() => Verdict::Signed(chain),
        _ => Verdict::Open,
    }
}

fn unsigned(problem: String) -> SignError {
    SignError { problem, server: Server::Unknown }
}

/// What upstream reads as a server that is well and does not want us.
fn server(error: &ApiError) -> Server {
    match error.is_unauthorized() || error.is_forbidden() || error.is_not_found() {
        true => Server::Refuses,
        false => Server::Unknown,
    }
}
