//! TLS settings as rustls takes them (CONTRACT 7.2).

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::authentication::Authenticator;
use super::certificate::Certificate;
use crate::ServeError;

/// `tlsMinVersion` and `tlsCipherSuites`, by upstream's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// e.g. `VersionTLS12`; empty for the default.
    pub min_version: String,
    /// e.g. `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`; empty for the default. TLS 1.3 suites are always on, as in Go.
    pub cipher_suites: Vec<String>,
}

/// The cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Puts the settings together. What rustls does not have is left out with a warning: suites without forward secrecy or
/// with CBC, and TLS before 1.2.
pub(super) fn server_config(
    settings: &TlsSettings,
    certificate: Certificate,
    authenticator: &Authenticator,
) -> Result<ServerConfig, ServeError> {
    let failed = |problem: String| ServeError::Tls { problem };
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = cipher_suites(&provider.cipher_suites, &settings.cipher_suites);
    let verifier = RequestedCertificate {
        algorithms: provider.signature_verification_algorithms,
        hints: authenticator.client_ca().map(|ca| ca.root_hint_subjects().to_vec()).unwrap_or_default(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions(&settings.min_version)?)
        .map_err(|error| failed(error.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(|error| failed(format!("the serving certificate and its key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn versions(min: &str) -> Result<Vec<&'static SupportedProtocolVersion>, ServeError> {
    match min {
        "" | "VersionTLS12" => Ok(vec![&TLS13, &TLS12]),
        "VersionTLS13" => Ok(vec![&TLS13]),
        "VersionTLS10" | "VersionTLS11" => {
            tracing::warn!(min, "TLS before 1.2 is not supported: the minimum is VersionTLS12");
            Ok(vec![&TLS13, &TLS12])
        }
        other => Err(ServeError::Tls {
            problem: format!("tlsMinVersion {other:?} is unknown: use VersionTLS12 or VersionTLS13"),
        }),
    }
}

fn cipher_suites(all: &[SupportedCipherSuite], names: &[String]) -> Vec<SupportedCipherSuite> {
    if names.is_empty() {
        return all.to_vec();
    }
    let name_of = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    for name in names {
        // Go has an older name for each ChaCha20 suite as well.
        if !all.iter().any(|suite| is_named(&name_of(suite), name)) {
            tracing::warn!(name, "cipher suite is not supported and left out");
        }
    }
    let chosen: Vec<_> = all
        .iter()
        .filter(|suite| suite.tls13().is_some() || names.iter().any(|name| is_named(&name_of(suite), name)))
        .copied()
        .collect();
    if chosen.iter().all(|suite| suite.tls13().is_some()) {
        tracing::warn!("no TLS 1.2 cipher suite of tlsCipherSuites is supported: clients need TLS 1.3");
    }
    chosen
}

fn is_named(own: &str, name: &str) -> bool {
    own == name
        || own
            .strip_suffix("_SHA256")
            .is_some_and(|short| short == name && short.ends_with("CHACHA20_POLY1305"))
}

/// Asks for a client certificate and takes any whose key the client holds; `authentication` judges it later.
#[derive(Debug)]
struct RequestedCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for RequestedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_chosen_by_upstreams_names() {
        let all = provider().cipher_suites.clone();
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let chosen = cipher_suites(&all, &names);
            chosen.iter().filter(|suite| suite.tls13().is_none()).count()
        };
        assert_eq!(choose(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"]), 1);
        assert_eq!(choose(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"]), 1);
        assert_eq!(choose(&["TLS_RSA_WITH_AES_128_CBC_SHA"]), 0);
        assert_eq!(cipher_suites(&all, &[]).len(), all.len());
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert!(versions("TLS1.2").is_err());
        assert_eq!(versions("VersionTLS13").expect("versions").len(), 1);
        assert_eq!(versions("VersionTLS10").expect("versions").len(), 2);
    }
}
