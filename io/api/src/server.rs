//! Where the API server is.

use rustls::pki_types::ServerName;
use url::Url;

/// The address of an API server, and the name that its certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What every path starts with; no slash at its end.
    pub(crate) prefix: String,
    pub(crate) tls_name: ServerName<'static>,
    authority: String,
}

/// Why a server's URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Not an https URL with a host.
    #[error("server {url:?} cannot be used: {problem}")]
    Url {
        /// URL as far as it may be shown.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// `tls-server-name` is no host name.
    #[error("tls-server-name {name:?} is no host name")]
    TlsName {
        /// The name.
        name: String,
    },
}

impl Server {
    /// Reads `server` and `tls-server-name` of a kubeconfig; an empty name means the URL's host.
    ///
    /// # Errors
    /// When it is no https URL. Plain HTTP is refused: certificates and tokens would be readable on the way.
    pub fn new(text: &str, tls_name: &str) -> Result<Self, ServerError> {
        let refused = |shown: &str, problem: &str| ServerError::Url {
            url: shown.to_owned(),
            problem: problem.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| refused("(unreadable)", &error.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        let shown = format!("{}://{host}", url.scheme());
        if url.scheme() != "https" {
            return Err(refused(&shown, "it must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(&shown, "it holds a user name or password"));
        }
        let port = url.port_or_known_default().unwrap_or(443);
        // An IPv6 address stands in brackets in a URL and without them everywhere else.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = if tls_name.is_empty() { bare } else { tls_name };
        let tls_name = ServerName::try_from(name.to_owned())
            .map_err(|_error| ServerError::TlsName { name: name.to_owned() })?;
        Ok(Self {
            host: bare.to_owned(),
            port,
            prefix: url.path().trim_end_matches('/').to_owned(),
            tls_name,
            authority: format!("{host}:{port}"),
        })
    }

    /// `host:port`, as metrics and messages name the server.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}
