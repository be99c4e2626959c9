//! TLS settings as rustls takes them (CONTRACT 7.2), and the configuration for the next connection.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, NamedGroup, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use super::authentication::ClientCa;
use super::certificate::{Certificate, Serving};
use super::reload::Reloaded;
use crate::ServeError;

/// `tlsMinVersion`, `tlsCipherSuites` and `tlsCurvePreferences`, by upstream's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// e.g. `VersionTLS12`; empty for the default.
    pub min_version: String,
    /// e.g. `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`; empty for the default. TLS 1.3 suites are always on, as in Go.
    pub cipher_suites: Vec<String>,
    /// TLS numbers of key exchange groups, best first; empty for the default.
    pub curves: Vec<i32>,
}

/// The cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What does not change: versions, suites and groups.
#[derive(Clone, Debug)]
struct Choice {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Choice {
    /// Puts the settings together. What rustls does not have is left out with a warning: suites without forward secrecy
    /// or with CBC, TLS before 1.2, the group P-521.
    fn new(settings: &TlsSettings) -> Result<Self, ServeError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = cipher_suites(&provider.cipher_suites, &settings.cipher_suites);
        if !settings.curves.is_empty() {
            provider.kx_groups = groups(&settings.curves)?;
        }
        Ok(Self { provider: Arc::new(provider), versions: versions(&settings.min_version)? })
    }

    fn config(
        &self,
        certificate: Option<Arc<Certificate>>,
        client_ca: Option<&ClientCa>,
    ) -> Result<ServerConfig, ServeError> {
        let verifier = RequestedCertificate {
            algorithms: self.provider.signature_verification_algorithms,
            hints: client_ca.map(|ca| ca.root_hint_subjects().to_vec()).unwrap_or_default(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(|error| ServeError::Tls { problem: error.to_string() })?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Shown(certificate)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The certificate that is shown, whatever name the client asks for. Without one the handshake fails.
#[derive(Debug)]
struct Shown(Option<Arc<Certificate>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<Certificate>> {
        self.0.clone()
    }
}

/// The TLS side of the listener: each connection begins with the certificate and the authority of that moment.
pub(super) struct Tls {
    choice: Choice,
    certificate: Serving,
    client_ca: Option<Arc<Reloaded<ClientCa>>>,
    built: Mutex<Built>,
}

/// The newest configuration, and what it was built from.
struct Built {
    certificate: Option<Arc<Certificate>>,
    client_ca: Option<Arc<ClientCa>>,
    config: Arc<ServerConfig>,
}

impl Tls {
    pub(super) async fn new(
        settings: &TlsSettings,
        certificate: Serving,
        client_ca: Option<Arc<Reloaded<ClientCa>>>,
    ) -> Result<Self, ServeError> {
        let choice = Choice::new(settings)?;
        let built = build(&choice, certificate.current().await, current(client_ca.as_deref()).await)?;
        Ok(Self { choice, certificate, client_ca, built: Mutex::new(built) })
    }

    /// The configuration for a connection that begins now.
    pub(super) async fn config(&self) -> Arc<ServerConfig> {
        let certificate = self.certificate.current().await;
        let client_ca = current(self.client_ca.as_deref()).await;
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_same(&built.client_ca, &client_ca) || !is_same(&built.certificate, &certificate) {
            match build(&self.choice, certificate, client_ca) {
                Ok(new) => *built = new,
                Err(error) => tracing::error!(%error, "the old TLS configuration stays in force"),
            }
        }
        Arc::clone(&built.config)
    }
}

fn is_same<T>(old: &Option<Arc<T>>, new: &Option<Arc<T>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}

async fn current(client_ca: Option<&Reloaded<ClientCa>>) -> Option<Arc<ClientCa>> {
    match client_ca {
        Some(client_ca) => Some(client_ca.current().await),
        None => None,
    }
}

fn build(
    choice: &Choice,
    certificate: Option<Arc<Certificate>>,
    client_ca: Option<Arc<ClientCa>>,
) -> Result<Built, ServeError> {
    let config = Arc::new(choice.config(certificate.clone(), client_ca.as_deref())?);
    Ok(Built { certificate, client_ca, config })
}

/// The key exchange groups with these numbers, in their order.
fn groups(numbers: &[i32]) -> Result<Vec<&'static dyn SupportedKxGroup>, ServeError> {
    let all = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
    let mut chosen = Vec::new();
    for number in numbers {
        let named = u16::try_from(*number).map(NamedGroup::from);
        match all.iter().find(|group| Ok(group.name()) == named) {
            Some(group) => chosen.push(*group),
            None => {
                tracing::warn!(
                    number,
                    "key exchange group of tlsCurvePreferences is not supported and left out"
                )
            }
        }
    }
    match chosen.is_empty() {
        true => Err(ServeError::Tls {
            problem: format!("none of the tlsCurvePreferences {numbers:?} is supported"),
        }),
        false => Ok(chosen),
    }
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
    fn groups_are_taken_in_their_order() {
        let names = |numbers: &[i32]| -> Vec<NamedGroup> {
            groups(numbers).expect("groups").iter().map(|group| group.name()).collect()
        };
        assert_eq!(
            names(&[4588, 29, 23]),
            [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1]
        );
        assert_eq!(names(&[25, 24]), [NamedGroup::secp384r1], "P-521 is left out");
        assert!(groups(&[25, -1]).is_err());
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert!(versions("TLS1.2").is_err());
        assert_eq!(versions("VersionTLS13").expect("versions").len(), 1);
        assert_eq!(versions("VersionTLS10").expect("versions").len(), 2);
    }
}
