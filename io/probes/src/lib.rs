//! Probes over the network: HTTP, TCP and gRPC health checks (CONTRACT 4.4).
//!
//! Each probe is one connection of its own, as upstream's: the answer tells of the server's way in, too. Certificates are
//! not verified, because pods sign their own; proxies of the environment are not used. Bounded: the caller's timeout for
//! everything together, 10 KiB of an answer, 10 redirects. Keeps nothing between two probes.

mod connect;
mod grpc;
mod http_get;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_probes::{GrpcMode, ProbeRequest};
use ports::ProbeDialer;
use ports::probes::ProbeAnswer;
use rustls::ClientConfig;

use self::connect::{HTTP1, HTTP2};

/// Why probes cannot be sent at all.
#[derive(Debug)]
pub struct TlsError(rustls::Error);

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TLS for https probes cannot be set up: {}", self.0)
    }
}

impl std::error::Error for TlsError {}

/// Sends probes from the host's network.
pub struct NetworkProbes {
    /// For HTTP, whose version the server chooses in the handshake.
    https: Arc<ClientConfig>,
    /// For gRPC, whose servers want to hear of HTTP/2 and nothing else.
    grpc: Arc<ClientConfig>,
    user_agent: String,
}

impl NetworkProbes {
    /// `version` is `major.minor`, for `User-Agent: kube-probe/<version>`.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn new(version: &str) -> Result<Self, TlsError> {
        let tls = |protocols: &[&[u8]]| connect::tls_config(protocols).map(Arc::new).map_err(TlsError);
        Ok(Self {
            https: tls(&[HTTP2, HTTP1])?,
            grpc: tls(&[HTTP2])?,
            user_agent: format!("kube-probe/{version}"),
        })
    }
}

#[async_trait]
impl ProbeDialer for NetworkProbes {
    async fn ask(&self, request: &ProbeRequest, timeout: Duration) -> ProbeAnswer {
        match request {
            ProbeRequest::Exec { .. } => {
                ProbeAnswer::Unknown("a command does not run over the network".to_owned())
            }
            ProbeRequest::Http(get) => {
                let asked = http_get::ask(get, &self.user_agent, &self.https);
                tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_elapsed| {
                    let url = get.url();
                    ProbeAnswer::TimedOut(format!(
                        "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                    ))
                })
            }
            ProbeRequest::Tcp { host, port } => {
                match tokio::time::timeout(timeout, connect::tcp(host, *port)).await {
                    Ok(Ok(_open)) => ProbeAnswer::Success(String::new()),
                    Ok(Err(message)) => ProbeAnswer::Failure(message),
                    Err(_elapsed) => ProbeAnswer::TimedOut(format!(
                        "dial tcp {}: i/o timeout",
                        connect::address(host, *port)
                    )),
                }
            }
            ProbeRequest::Grpc { host, port, service, mode } => {
                let tls = match mode {
                    GrpcMode::Plaintext => None,
                    GrpcMode::Tls => Some(&self.grpc),
                };
                let question = grpc::Question { host, port: *port, service, tls };
                grpc::ask(&question, &self.user_agent, timeout).await
            }
        }
    }
}
