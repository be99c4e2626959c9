//! The address of a runtime's socket: `unix:///run/containerd/containerd.sock`, or the bare path as upstream
//! still accepts.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why an endpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing is given.
    #[error("the container runtime endpoint is empty; give one like unix:///run/containerd/containerd.sock")]
    Empty,
    /// Not a unix socket.
    #[error(
        "container runtime endpoint {endpoint:?}: only unix sockets work here; give one like \
         unix:///run/containerd/containerd.sock"
    )]
    NotUnix {
        /// The endpoint as given.
        endpoint: String,
    },
    /// Not an absolute path.
    #[error(
        "container runtime endpoint {endpoint:?}: the path of the socket must be absolute, as in \
         unix:///run/containerd/containerd.sock"
    )]
    NotAbsolute {
        /// The endpoint as given.
        endpoint: String,
    },
}

/// A unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    path: PathBuf,
}

impl Endpoint {
    /// Reads `unix:///path`, `unix:/path` or `/path`.
    pub(crate) fn parse(endpoint: &str) -> Result<Self, EndpointError> {
        if endpoint.is_empty() {
            return Err(EndpointError::Empty);
        }
        let path = match endpoint.split_once(':') {
            Some(("unix", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, _)) if !scheme.contains('/') => {
                return Err(EndpointError::NotUnix { endpoint: endpoint.to_owned() });
            }
            _ => endpoint,
        };
        if !path.starts_with('/') {
            return Err(EndpointError::NotAbsolute { endpoint: endpoint.to_owned() });
        }
        Ok(Self { path: PathBuf::from(path) })
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_and_bare_path_name_the_same_socket() {
        for given in ["unix:///run/c.sock", "unix:/run/c.sock", "/run/c.sock"] {
            assert_eq!(Endpoint::parse(given).unwrap().to_string(), "unix:///run/c.sock", "{given}");
        }
        assert_eq!(Endpoint::parse("/run/a:b.sock").unwrap().path(), Path::new("/run/a:b.sock"));
    }

    #[test]
    fn other_endpoints_are_refused_by_name() {
        assert_eq!(Endpoint::parse(""), Err(EndpointError::Empty));
        for given in ["tcp://127.0.0.1:1", "http://h/p", "npipe:////./pipe/c"] {
            assert_eq!(Endpoint::parse(given), Err(EndpointError::NotUnix { endpoint: given.to_owned() }));
        }
        for given in ["unix://run/c.sock", "run/c.sock", "unix://"] {
            assert_eq!(
                Endpoint::parse(given),
                Err(EndpointError::NotAbsolute { endpoint: given.to_owned() })
            );
        }
    }
}
