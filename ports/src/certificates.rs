//! The node's own certificates: files in the certificate directory, and who signs them (CONTRACT 7.1, 7.2).

use async_trait::async_trait;
use core_certificates::{Content, Purpose, Server, Template};
use core_types::Secret;

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePair {
    /// The certificate, then those that lead to its authority, PEM.
    pub chain_pem: Vec<u8>,
    /// The private key, PEM.
    pub key_pem: Secret<Vec<u8>>,
    /// What the certificate says.
    pub content: Content,
}

/// A new key, and the request for a certificate with it.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The private key, PEM.
    pub key_pem: Secret<Vec<u8>>,
    /// The request (PKCS#10), PEM.
    pub request_pem: Vec<u8>,
}

/// Why a certificate's file cannot be used or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {problem}")]
pub struct CertificateError {
    /// What was tried, e.g. `read`.
    pub operation: &'static str,
    /// On what.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

/// The files of one certificate.
#[async_trait]
pub trait CertificateFiles: Send + Sync {
    /// The pair that is in use; `None` when there is none.
    async fn current(&self) -> Result<Option<CertificatePair>, CertificateError>;
    /// Makes a key and a request for what the template says. Nothing is written.
    async fn new_key(&self, template: &Template) -> Result<NewKey, CertificateError>;
    /// Keeps a signed certificate with its key; from then on it is in use.
    async fn keep(
        &self,
        chain_pem: Vec<u8>,
        key_pem: Secret<Vec<u8>>,
    ) -> Result<CertificatePair, CertificateError>;
}

/// Why a certificate was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SignError {
    /// What went wrong.
    pub problem: String,
    /// What that says of the API server.
    pub server: Server,
}

/// Certificate signing requests.
#[async_trait]
pub trait CertificateSigner: Send + Sync {
    /// Asks for a certificate and waits until somebody has approved and signed it. Waits for ever: the caller bounds it.
    async fn sign(&self, purpose: Purpose, request_pem: Vec<u8>) -> Result<Vec<u8>, SignError>;
}
