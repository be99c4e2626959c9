//! Why a listener could not be started.

use std::path::PathBuf;

/// Why a listener could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address} ({purpose}): {source}")]
    Bind {
        /// What listens, e.g. `--healthz-port`.
        purpose: &'static str,
        /// Address and port, or path.
        address: String,
        /// Cause.
        source: std::io::Error,
    },
    /// Another agent holds the socket.
    #[error("another agent already listens on {path}: stop it first, or give this one another socket")]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// A file of a certificate, key or authority cannot be read or made.
    #[error("{what} {path}: {problem}")]
    File {
        /// What the file is, e.g. `serving certificate`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The TLS settings do not fit together.
    #[error("TLS settings: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
    /// The settings ask for what needs an API server, and there is none.
    #[error("no client provided, cannot use webhook {feature}")]
    NoClient {
        /// `authentication` or `authorization`.
        feature: &'static str,
    },
    /// A thread or runtime cannot be had.
    #[error("cannot start the thread of {purpose}: {source}")]
    Thread {
        /// What it is for.
        purpose: &'static str,
        /// Cause.
        source: std::io::Error,
    },
}
