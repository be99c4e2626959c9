//! Who asks: the holder of a client certificate or of a bearer token, or nobody in particular (CONTRACT 2.2).
//!
//! The TLS handshake takes any client certificate; whether its authority is ours is asked for each request. So a bad
//! certificate gets a 401 that says so in HTTP, as with upstream, instead of a broken connection. Credentials that are
//! shown and wrong make nobody anonymous.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use core_types::Secret;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use ports::Clock;
use ports::reviews::User;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::oid_registry::{Oid, asn1_rs::oid};

use super::reload::Reloaded;
use super::reviewers::Tokens;
use super::{HttpsOptions, tls};
use crate::ServeError;

/// Group of everybody who showed who they are.
const AUTHENTICATED: &str = "system:authenticated";
/// Group of everybody else.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// User who showed nothing.
const ANONYMOUS: &str = "system:anonymous";
/// Under this key a user's `extra` tells which certificate was shown.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Object identifier of a user's unique ID in the subject of a certificate.
const UID_IN_SUBJECT: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);
/// How a browser shows a token with a WebSocket: as a sub-protocol with this prefix.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// `authentication.anonymous.enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonymousAccess {
    /// Who shows nothing is `system:anonymous`.
    Enabled,
    /// Who shows nothing gets 401.
    Disabled,
}

/// `authentication.webhook`: bearer tokens checked by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookAuthentication {
    /// Needs an API server.
    Enabled {
        /// `authentication.webhook.cacheTTL`.
        cache_ttl: Duration,
    },
    /// Tokens are not looked at.
    Disabled,
}

/// Authority for client certificates.
pub(super) type ClientCa = Arc<dyn ClientCertVerifier>;

/// Tells who asks.
pub(super) struct Authenticator {
    client_ca: Option<Arc<Reloaded<ClientCa>>>,
    tokens: Option<Tokens>,
    anonymous: AnonymousAccess,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub(super) fn new(options: &HttpsOptions, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let tokens = match options.webhook {
            WebhookAuthentication::Disabled => None,
            WebhookAuthentication::Enabled { cache_ttl } => {
                Some(Tokens::new(options.reviewers.tokens()?, Arc::clone(&clock), cache_ttl)?)
            }
        };
        let client_ca = match &options.client_ca_file {
            None => None,
            Some(path) => {
                let file = path.clone();
                let read = move || read_client_ca(&file);
                let reload = options.reload_client_ca;
                Some(Arc::new(Reloaded::new(vec![path.clone()], reload, Arc::clone(&clock), read)?))
            }
        };
        Ok(Self { client_ca, tokens, anonymous: options.anonymous, clock })
    }

    /// The authority for client certificates.
    pub(super) fn client_ca(&self) -> Option<Arc<Reloaded<ClientCa>>> {
        self.client_ca.clone()
    }

    /// Who showed these certificates and headers; the error is for the log, the client is told nothing.
    pub(super) async fn authenticate(
        &self,
        certificates: &[CertificateDer<'static>],
        headers: &HeaderMap,
    ) -> Result<User, String> {
        let mut problems = Vec::new();
        match self.by_certificate(certificates).await {
            Ok(Some(user)) => return Ok(authenticated(user)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
        if let (Some(tokens), Some(token)) = (&self.tokens, bearer_token(headers)) {
            match tokens.user_of(&token).await {
                Ok(Some(user)) => return Ok(authenticated(user)),
                Ok(None) => problems.push("invalid bearer token".to_owned()),
                Err(problem) => problems.push(format!("bearer token: {problem}")),
            }
        }
        match self.anonymous {
            _ if !problems.is_empty() => Err(problems.join("; ")),
            AnonymousAccess::Enabled => {
                Ok(User { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() })
            }
            AnonymousAccess::Disabled => Err("no accepted credentials, and anonymous access is off".into()),
        }
    }

    async fn by_certificate(&self, certificates: &[CertificateDer<'static>]) -> Result<Option<User>, String> {
        let (Some(authority), Some((own, chain))) = (&self.client_ca, certificates.split_first()) else {
            return Ok(None);
        };
        let since_epoch = u64::try_from(self.clock.wall().unix_nanos()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(since_epoch));
        let authority = authority.current().await;
        authority
            .verify_client_cert(own, chain, now)
            .map_err(|error| format!("client certificate: {error}"))?;
        user_of(own)
    }
}

/// Everybody who is known belongs to one group more.
fn authenticated(mut user: User) -> User {
    let says_already = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
    if user.name != ANONYMOUS && !user.groups.iter().any(says_already) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

/// User = common name, groups = organizations. A certificate without a name is as none.
fn user_of(certificate: &CertificateDer<'_>) -> Result<Option<User>, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("client certificate: {error}"))?;
    let subject = parsed.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().ok().map(str::to_owned).filter(|text| !text.is_empty())
    };
    let Some(name) = subject.iter_common_name().last().and_then(text) else { return Ok(None) };
    let mut uids = subject.iter_by_oid(&UID_IN_SUBJECT).map(text);
    let uid = uids.next().map(|uid| uid.ok_or("client certificate: the user's UID is no text"));
    if uids.next().is_some() {
        return Err("client certificate: expected 1 UID, but found multiple".into());
    }
    let print = digest::digest(&digest::SHA256, certificate);
    let print: String = print.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(User {
        name,
        uid: uid.transpose()?.unwrap_or_default(),
        groups: subject.iter_organization().filter_map(text).collect(),
        extra: [(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={print}")])].into(),
    }))
}

/// The token of an `Authorization` header, or of a WebSocket's sub-protocols.
fn bearer_token(headers: &HeaderMap) -> Option<Secret<String>> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some((scheme, rest)) = header.trim().split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
    {
        let token = rest.split(' ').next().unwrap_or_default();
        return (!token.is_empty()).then(|| Secret::new(token.to_owned()));
    }
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded = protocols
        .flat_map(|line| line.split(','))
        .find_map(|name| name.trim().strip_prefix(TOKEN_PROTOCOL))?;
    let token = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    (!token.is_empty()).then(|| Secret::new(token))
}

fn read_client_ca(path: &Path) -> Result<ClientCa, ServeError> {
    let failed =
        |problem: String| ServeError::File { what: "client CA file", path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    Ok(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_where_upstream_finds_them() {
        let token = |name: http::HeaderName, value: &str| {
            let headers = [(name, value.parse().expect("header"))].into_iter().collect::<HeaderMap>();
            bearer_token(&headers).map(Secret::into_exposed)
        };
        assert_eq!(token(AUTHORIZATION, "Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token(AUTHORIZATION, " bearer abc d").as_deref(), Some("abc"));
        for none in ["Bearer", "Bearer ", "Bearer  abc", "Basic abc", "abc"] {
            assert_eq!(token(AUTHORIZATION, none), None, "{none:?}");
        }
        let protocols = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(token(SEC_WEBSOCKET_PROTOCOL, protocols).as_deref(), Some("abc"));
        assert_eq!(token(SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io"), None);
    }
}
