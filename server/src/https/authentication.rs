//! Who asks: the client certificate, or nobody in particular (CONTRACT 2.2).
//!
//! The TLS handshake takes any client certificate; whether its authority is ours is asked for each request. So a bad
//! certificate gets a 401 that says so in HTTP, as with upstream, instead of a broken connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ports::Clock;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::{HttpsOptions, tls};
use crate::ServeError;

/// `authentication.anonymous.enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonymousAccess {
    /// Who shows nothing is `system:anonymous`.
    Enabled,
    /// Who shows nothing gets 401.
    Disabled,
}

/// `authentication.webhook.enabled`: bearer tokens checked by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookAuthentication {
    /// Needs an API server.
    Enabled,
    /// Tokens are not looked at.
    Disabled,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// Tells who asks.
pub(super) struct Authenticator {
    client_ca: Option<Arc<dyn ClientCertVerifier>>,
    anonymous: AnonymousAccess,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub(super) fn new(options: &HttpsOptions, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        if options.webhook == WebhookAuthentication::Enabled {
            return Err(ServeError::NoClient { feature: "authentication" });
        }
        let client_ca = options.client_ca_file.as_deref().map(read_client_ca).transpose()?;
        Ok(Self { client_ca, anonymous: options.anonymous, clock })
    }

    /// The authority for client certificates.
    pub(super) fn client_ca(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        self.client_ca.as_ref()
    }

    /// Who showed these certificates; the error is for the log, the client is told nothing.
    pub(super) fn authenticate(&self, certificates: &[CertificateDer<'static>]) -> Result<User, String> {
        if let (Some(authority), Some((own, chain))) = (&self.client_ca, certificates.split_first()) {
            let since_epoch = u64::try_from(self.clock.wall().unix_nanos()).unwrap_or(0);
            let now = UnixTime::since_unix_epoch(Duration::from_nanos(since_epoch));
            authority
                .verify_client_cert(own, chain, now)
                .map_err(|error| format!("client certificate: {error}"))?;
            if let Some(user) = user_of(own)? {
                return Ok(user);
            }
        }
        match self.anonymous {
            AnonymousAccess::Enabled => {
                Ok(User { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()] })
            }
            AnonymousAccess::Disabled => Err("no accepted credentials, and anonymous access is off".into()),
        }
    }
}

/// User = common name, groups = organizations. A certificate without a name is as none.
fn user_of(certificate: &CertificateDer<'_>) -> Result<Option<User>, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("client certificate: {error}"))?;
    let subject = parsed.subject();
    let Some(name) = subject.iter_common_name().last().and_then(|name| name.as_str().ok()) else {
        return Ok(None);
    };
    let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned));
    let groups = organizations.chain(["system:authenticated".to_owned()]).collect();
    Ok((!name.is_empty()).then(|| User { name: name.to_owned(), groups }))
}

fn read_client_ca(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, ServeError> {
    let failed =
        |problem: String| ServeError::File { what: "client CA file", path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|error| failed(error.to_string()))
}
