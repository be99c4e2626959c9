//! An API server for tests of this crate: TLS, HTTP/2, and answers that the test gives.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use core_metrics::Registry;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::{ApiClient, ClientOptions, Credentials, Rate, Server, ServerTrust, Token};

/// What a request said.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
    /// Number of the connection, from 0.
    pub(crate) connection: usize,
}

/// An answer.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: mpsc::UnboundedReceiver<Bytes>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let _ = sender.send(body.into());
        Self { status, headers: Vec::new(), body: receiver }
    }

    /// A body that the test goes on writing.
    pub(crate) fn open() -> (mpsc::UnboundedSender<Bytes>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self { status: 200, headers: Vec::new(), body: receiver })
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Handler = Arc<dyn Fn(Seen) -> Answering + Send + Sync>;

/// A server that ends with the value.
pub(crate) struct FakeServer {
    port: u16,
    ca_pem: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl FakeServer {
    pub(crate) async fn start<F>(handler: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Handler = Arc::new(move |seen| Box::pin(handler(seen)));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), handler, Arc::clone(&seen)));
        Self { port, ca_pem: certificate.pem(), seen, _tasks: tasks }
    }

    pub(crate) fn server(&self) -> Server {
        Server::new(&format!("https://127.0.0.1:{}", self.port), "").unwrap()
    }

    pub(crate) fn credentials(&self, token: Token) -> Credentials {
        let trust = ServerTrust::Authorities(self.ca_pem.clone().into_bytes());
        Credentials::new(&trust, None, token).unwrap()
    }

    pub(crate) fn client(&self) -> ApiClient {
        self.client_with(&Registry::new(), Token::None)
    }

    pub(crate) fn client_with(&self, registry: &Registry, token: Token) -> ApiClient {
        ApiClient::new(self.server(), self.credentials(token), options(), registry)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }
}

pub(crate) fn options() -> ClientOptions {
    ClientOptions {
        user_agent: "kubelet/test".to_owned(),
        rate: Rate::Unlimited,
        timeout: Duration::from_secs(20),
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, handler: Handler, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, handler, seen) = (tls.clone(), Arc::clone(&handler), Arc::clone(&seen));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                answer(request, connection, Arc::clone(&handler), Arc::clone(&seen))
            });
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type ReplyBody = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    handler: Handler,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let this = Seen {
        line: format!("{} {}", head.method, head.uri.path_and_query().unwrap()),
        authorization: header("authorization"),
        content_type: header("content-type"),
        body: body.collect().await.unwrap().to_bytes(),
        connection,
    };
    seen.lock().unwrap().push(this.clone());
    let reply = handler(this).await;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let frames = stream::unfold(reply.body, |mut body| async move {
        let bytes = body.recv().await?;
        Some((Ok(Frame::data(bytes)), body))
    });
    Ok(response.body(UnsyncBoxBody::new(StreamBody::new(frames))).unwrap())
}
