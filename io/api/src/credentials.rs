//! Whom to trust and who one is: one value, swapped as a whole while the client runs.

use std::path::PathBuf;
use std::sync::Arc;

use core_types::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where Debian and most others keep their certificate authorities.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which servers are believed.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Those with a certificate of these authorities (PEM).
    Authorities(Vec<u8>),
    /// Those with a certificate of an authority of this system.
    System,
    /// Any (`insecure-skip-tls-verify`).
    Anyone,
}

/// A client certificate and its key, both PEM.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate, then those that lead to its authority.
    pub certificate_pem: Vec<u8>,
    /// The private key.
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// The bearer token that goes with each request.
#[derive(Clone, Debug)]
pub enum Token {
    /// None.
    None,
    /// This one.
    Fixed(Secret<String>),
    /// What this file holds; it is read again when it may have changed.
    File(PathBuf),
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No certificate authority.
    #[error("certificate-authority: it holds no usable PEM certificate")]
    Authorities,
    /// The system has no authorities.
    #[error(
        "the system has no certificate authorities in {SYSTEM_ROOTS}: set certificate-authority in the kubeconfig"
    )]
    System,
    /// The client certificate cannot be read.
    #[error("client-certificate: it holds no usable PEM certificate")]
    Certificate,
    /// The client key cannot be read.
    #[error("client-key: it holds no usable PEM private key")]
    Key,
    /// They do not go together.
    #[error("client-certificate and client-key cannot be used: {0}")]
    Pair(#[source] rustls::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

/// Whom to trust and who one is.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) token: Token,
}

impl Credentials {
    /// Makes them ready for use.
    ///
    /// # Errors
    /// When certificates or keys cannot be used.
    pub fn new(
        trust: &ServerTrust,
        identity: Option<&ClientIdentity>,
        token: Token,
    ) -> Result<Self, CredentialsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(CredentialsError::Tls)?;
        let builder = match trust {
            ServerTrust::Authorities(pem) => builder.with_root_certificates(authorities(pem)?),
            ServerTrust::System => builder.with_root_certificates(system()?),
            ServerTrust::Anyone => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            }
        };
        let mut tls = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = pair(identity)?;
                builder.with_client_auth_cert(chain, key).map_err(CredentialsError::Pair)?
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: Arc::new(tls), token })
    }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if added == 0 { Err(CredentialsError::Authorities) } else { Ok(roots) }
}

fn system() -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(SYSTEM_ROOTS).into_iter().flatten().flatten();
    let (added, _unusable) = roots.add_parsable_certificates(found);
    if added == 0 { Err(CredentialsError::System) } else { Ok(roots) }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(identity: &ClientIdentity) -> Result<Pair, CredentialsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificate_pem).collect();
    let chain = chain.map_err(|_error| CredentialsError::Certificate)?;
    if chain.is_empty() {
        return Err(CredentialsError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|_error| CredentialsError::Key)?;
    Ok((chain, key))
}

/// Takes any certificate. Signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
