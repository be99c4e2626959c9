//! One HTTP GET that the agent makes of a container: what a lifecycle hook asks for, with nothing left to look up.

/// Scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpScheme {
    /// Plain.
    Http,
    /// TLS; the server's certificate is not verified.
    Https,
}

impl HttpScheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// Scheme.
    pub scheme: HttpScheme,
    /// Name or address; empty for the pod's address, which whoever sends it fills in.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path, maybe with a query.
    pub path: String,
    /// Headers in order; a name may come more than once.
    pub headers: Vec<(String, String)>,
}

impl HttpGet {
    /// Host and port as in a URL: an IPv6 address stands in brackets.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}
