//! One connection: plain or TLS without verification.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either as EitherStream;

/// Names of protocols in the handshake of TLS (ALPN).
pub(crate) const HTTP2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// A stream to a server, plain or encrypted.
pub(crate) type Opened = EitherStream<Connection, Box<TlsStream<Connection>>>;

/// Host and port as they stand in messages and URLs.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A TCP connection that leaves nothing behind: it ends with a FIN, which the server reads as a clean end, and with a reset
/// right after it, so that the kernel keeps no TIME_WAIT for a minute. Upstream lingers for a second for the same end, which
/// blocks the one who closes and, as measured on Linux 6.18, leaves the TIME_WAIT where the server closes second.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A connection that is broken already has nothing to leave behind.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connects; the error has Go's form.
pub(crate) async fn tcp(host: &str, port: u16) -> Result<Connection, String> {
    let failed = |error: io::Error| {
        let text = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {}: {text}", address(host, port))
    };
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    Ok(Connection { stream })
}

/// Runs an exchange and the connection that carries it in one task, so that no message has to wake another one. The connection
/// ends with the exchange.
pub(crate) async fn carried<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _connection)) => answer,
        // How the connection ended shows in the answer.
        Either::Right((_ended, exchange)) => exchange.await,
    }
}

/// True when the server chose HTTP/2 in the handshake of TLS.
pub(crate) fn has_chosen_http2(opened: &Opened) -> bool {
    match opened {
        Opened::Left(_plain) => false,
        Opened::Right(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP2),
    }
}

/// Connects plainly, or with TLS when it is given settings for it.
pub(crate) async fn open(host: &str, port: u16, tls: Option<&Arc<ClientConfig>>) -> Result<Opened, String> {
    let stream = tcp(host, port).await?;
    let Some(config) = tls else { return Ok(Opened::Left(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    Ok(Opened::Right(Box::new(stream.map_err(|error| error.to_string())?)))
}

/// TLS settings that take any certificate and offer these protocols.
pub(crate) fn tls_config(protocols: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Takes any certificate, but not a handshake that its key did not sign.
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
