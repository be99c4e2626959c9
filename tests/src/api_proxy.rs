//! Stands between a node and the API server, and fails as an overloaded server or a broken network does: requests are refused or
//! slow, connections stay open and nothing comes over them any more.
//!
//! Speaks HTTP/2 over TLS on both sides: to the node with the server's own certificate, to the server as the node.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lab::ControlPlane;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What happens to requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    #[default]
    None,
    /// They are answered with this status, and nothing is passed on.
    Answer(u16),
    /// They are passed on after this time.
    Slow(Duration),
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    /// Requests that met a fault.
    met: usize,
    /// Switches of the connections that pass bytes.
    flowing: Vec<Arc<AtomicBool>>,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running proxy; it ends with the value.
#[derive(Debug)]
pub struct ApiProxy {
    kubeconfig: PathBuf,
    state: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl ApiProxy {
    /// Starts a proxy for the node `name`.
    #[track_caller]
    pub fn start(plane: &ControlPlane, name: &str) -> Self {
        let direct = plane.node_kubeconfig(name).unwrap();
        let pki = plane.ca_file().parent().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let text = std::fs::read_to_string(&direct).unwrap();
        let kubeconfig = direct.with_extension("proxied");
        std::fs::write(&kubeconfig, text.replace(&plane.url(), &format!("https://{address}"))).unwrap();
        let server: SocketAddr = plane.url().trim_start_matches("https://").parse().unwrap();
        let state = Shared::default();
        let front = Front {
            acceptor: TlsAcceptor::from(server_side(&pki)),
            connector: TlsConnector::from(client_side(&pki, &format!("node-{name}"))),
            server,
            state: Arc::clone(&state),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(front.serve(listener));
        Self { kubeconfig, state, _runtime: runtime }
    }

    /// The node's kubeconfig that leads through the proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on requests meet this.
    pub fn set(&self, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault = fault;
        state.met = 0;
    }

    /// Requests that met the fault since it was set.
    pub fn met(&self) -> usize {
        lock(&self.state).met
    }

    /// Nothing comes over the connections of now any more, and nobody closes them. New ones work. Gives how many there were.
    pub fn freeze(&self) -> usize {
        let flowing = std::mem::take(&mut lock(&self.state).flowing);
        flowing.iter().for_each(|connection| connection.store(false, Ordering::SeqCst));
        flowing.len()
    }
}

/// The side of the node.
#[derive(Clone)]
struct Front {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server: SocketAddr,
    state: Shared,
}

impl Front {
    async fn serve(self, listener: TcpListener) {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let this = self.clone();
            // What ends one connection is the business of its two sides.
            tokio::spawn(async move { this.connection(stream).await.ok() });
        }
    }

    async fn connection(self, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let flows = Arc::new(AtomicBool::new(true));
        lock(&self.state).flowing.push(Arc::clone(&flows));
        let stream = self.acceptor.accept(Freezable { stream, flows }).await?;
        let to_server = TcpStream::connect(self.server).await?;
        let to_server = self.connector.connect(ServerName::from(self.server.ip()), to_server).await?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(to_server)).await?;
        tokio::spawn(connection);
        let state = Arc::clone(&self.state);
        let service =
            hyper::service::service_fn(move |request| answer(Arc::clone(&state), sender.clone(), request));
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await?;
        Ok(())
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

async fn answer(
    state: Shared,
    mut server: SendRequest<Incoming>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let fault = lock(&state).fault;
    match fault {
        Fault::None => {}
        Fault::Answer(status) => {
            lock(&state).met += 1;
            let words = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "not now",
            });
            let mut refused =
                Response::new(Full::from(words.to_string()).map_err(|never| match never {}).boxed());
            *refused.status_mut() = status.try_into().unwrap_or_default();
            refused
                .headers_mut()
                .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            if status == 429 {
                refused.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            }
            return Ok(refused);
        }
        Fault::Slow(time) => {
            lock(&state).met += 1;
            tokio::time::sleep(time).await;
        }
    }
    server.send_request(request).await.map(|response| response.map(|body| body.boxed()))
}

/// A connection that can be made to pass nothing any more.
struct Freezable {
    stream: TcpStream,
    flows: Arc<AtomicBool>,
}

impl Freezable {
    fn is_frozen(&self) -> bool {
        !self.flows.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Freezable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if self.is_frozen() && read.is_ready() {
            into.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Freezable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn pair(pki: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(pki.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.join(format!("{name}.key"))).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

fn server_side(pki: &Path) -> Arc<ServerConfig> {
    let (chain, key) = pair(pki, "apiserver");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn client_side(pki: &Path, name: &str) -> Arc<ClientConfig> {
    let (chain, key) = pair(pki, name);
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(pki.join("ca.crt")).unwrap() {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
