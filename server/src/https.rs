//! 10250: everything, over TLS, for those who may (CONTRACT 2.1-2.5).
//!
//! ```text
//! path known? -no-> 404      who? -nobody-> 401      may? -no-> 403      method right? -no-> 405      handler
//! ```
//! Reads the snapshots, the serving certificate, the client authority, and log files of the node through its doors.

mod answers;
pub mod authentication;
pub mod authorization;
mod certificate;
mod checkpoint;
mod containers;
mod node;
mod reload;
mod reviewers;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use ports::certificates::CertificatePair;
use ports::reviews::User;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::authentication::{AnonymousAccess, Authenticator, WebhookAuthentication};
use self::authorization::{Attributes, AuthorizationMode, Authorizer, Decision};
pub use self::checkpoint::CheckpointOptions;
use self::checkpoint::Checkpoints;
use self::containers::Containers;
pub use self::containers::WebSockets;
use self::node::NodePages;
pub use self::node::{LogVerbosity, NodeLogs, NodeOptions, Switch};
pub use self::reload::Reload;
pub use self::reviewers::{AccessTtl, Reviewers};
use self::tls::Tls;
pub use self::tls::TlsSettings;
use crate::body::{self, Body};
use crate::container_logs;
use crate::listener::{Connection, Protocols, ServerHandle, Tasks, accept_loop, bind, serve_connection};
use crate::metrics::ServerType;
use crate::pods;
use crate::query::Query;
use crate::read_only::{Public, debug_disabled};
use crate::routes::{self, DebugRoute, Match, PublicRoute};
use crate::streams::Streams;
use crate::{ServeError, ServerContext};

/// Connections at once: the API server holds one for each log or exec stream, for up to 110 pods several each.
const MAX_CONNECTIONS: usize = 1024;
/// Time for a TLS handshake; a slow or silent client must not hold one of the connections.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// `enableDebuggingHandlers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugHandlers {
    /// Container logs, running pods and configuration are served.
    Enabled,
    /// Their paths answer 405.
    Disabled,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// `tlsCertFile` and `tlsPrivateKeyFile`.
    Files {
        /// Certificate chain, PEM.
        certificate: PathBuf,
        /// Private key, PEM.
        key: PathBuf,
        /// Gate `ReloadKubeletServerCertificateFile`.
        reload: Reload,
    },
    /// Signed by the API server (`serverTLSBootstrap`). As long as there is none, handshakes fail.
    Signed(watch::Receiver<Option<Arc<CertificatePair>>>),
    /// Self-signed, kept as `kubelet.crt` and `kubelet.key` in the certificate directory (CONTRACT 7.2).
    SelfSigned {
        /// `--cert-dir`.
        directory: PathBuf,
        /// Host name in the certificate.
        host_name: String,
    },
}

/// Settings of the listener.
#[derive(Clone)]
pub struct HttpsOptions {
    /// `address` and `port`.
    pub address: SocketAddr,
    /// Serving certificate.
    pub certificate: CertificateSource,
    /// TLS versions and cipher suites.
    pub tls: TlsSettings,
    /// `authentication.x509.clientCAFile`.
    pub client_ca_file: Option<PathBuf>,
    /// Gate `ReloadKubeletClientCAFile`.
    pub reload_client_ca: Reload,
    /// `authentication.anonymous.enabled`.
    pub anonymous: AnonymousAccess,
    /// `authentication.webhook`.
    pub webhook: WebhookAuthentication,
    /// `authorization.mode`.
    pub authorization: AuthorizationMode,
    /// Who answers questions about users.
    pub reviewers: Reviewers,
    /// `enableDebuggingHandlers`.
    pub debugging: DebugHandlers,
    /// `ExtendWebSocketsToKubelet`.
    pub websockets: WebSockets,
    /// Where checkpoints go; `None` when `ContainerCheckpoint` is off.
    pub checkpoints: Option<CheckpointOptions>,
    /// Log files, flags, status and debugging of the node.
    pub node: NodeOptions,
}

/// Starts the listener.
pub async fn start(options: HttpsOptions, context: ServerContext) -> Result<ServerHandle, ServeError> {
    let authenticator = Authenticator::new(&options, Arc::clone(&context.clock))?;
    let authorizer = authorization::build(&options, &context)?;
    let certificate = certificate::load(&options.certificate, &context.clock)?;
    let tls = Arc::new(Tls::new(&options.tls, certificate, authenticator.client_ca()).await?);
    let (listener, bound) = bind("HTTPS port", options.address).await?;
    let tasks = Tasks::default();
    let streams = Streams::new(tasks.clone(), context.facts.stream_idle_limit);
    let node = Arc::new(Node {
        containers: Containers::new(context.clone(), streams, options.websockets),
        checkpoints: options.checkpoints.map(|options| Checkpoints::new(options, context.clone())),
        pages: NodePages::new(options.node, context.clone()),
        public: Public::new(context, ServerType::ReadWrite),
        authenticator,
        authorizer,
        debugging: options.debugging,
        tasks: tasks.clone(),
    });
    tasks.tracker.spawn(accept_loop(listener, MAX_CONNECTIONS, tasks.clone(), move |accepted| {
        connection(Arc::clone(&tls), accepted, Arc::clone(&node))
    }));
    Ok(ServerHandle::new(bound.to_string(), Some(bound), tasks))
}

async fn connection(tls: Arc<Tls>, accepted: Connection<TcpStream>, node: Arc<Node>) {
    let Connection { io, seat } = accepted;
    let handshake = async { TlsAcceptor::from(tls.config().await).accept(io).await };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
    let finished = tokio::select! {
        finished = handshake => finished,
        () = seat.asked_to_leave() => return tracing::debug!("a TLS handshake had to make room"),
    };
    let stream = match finished {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_elapsed) => return tracing::debug!("TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}"),
    };
    let certificates: Arc<[CertificateDer<'static>]> =
        stream.get_ref().1.peer_certificates().unwrap_or_default().into();
    let tasks = node.tasks.clone();
    let connection = Connection { io: stream, seat };
    serve_connection(connection, Protocols::Http1And2, tasks, move |request| {
        let (node, certificates) = (Arc::clone(&node), Arc::clone(&certificates));
        async move {
            let running =
                node.public.requests.begin(&node.public.context, request.method(), request.uri().path());
            running.attach(node.answer(request, &certificates).await)
        }
    })
    .await;
}

struct Node {
    public: Public,
    containers: Containers,
    checkpoints: Option<Checkpoints>,
    pages: NodePages,
    authenticator: Authenticator,
    authorizer: Arc<dyn Authorizer>,
    debugging: DebugHandlers,
    tasks: Tasks,
}

/// What a request on 10250 leads to, before it is known whether it may.
enum Target {
    Public(PublicRoute),
    Debug(DebugRoute),
    DebugDisabled,
    Disabled(&'static str),
    WrongMethod(&'static str),
    NoRoute,
}

impl Node {
    async fn answer(
        &self,
        request: Request<Incoming>,
        certificates: &[CertificateDer<'static>],
    ) -> Response<Body> {
        let Some(target) = self.target(request.method(), request.uri().path()) else {
            return body::unknown_path();
        };
        let user = match self.authenticator.authenticate(certificates, request.headers()).await {
            Ok(user) => user,
            Err(reason) => {
                tracing::debug!(reason, path = request.uri().path(), "unauthorized");
                return body::text(StatusCode::UNAUTHORIZED, "Unauthorized");
            }
        };
        if let Err(refused) = self.authorize(&user, request.method(), request.uri().path()).await {
            return refused;
        }
        match target {
            Target::Public(route) => self.public.answer(&route, request.uri().query()).await,
            Target::Debug(route) => self.debug(&route, request).await,
            Target::DebugDisabled => debug_disabled(),
            Target::Disabled(words) => body::error_text(StatusCode::METHOD_NOT_ALLOWED, words),
            Target::WrongMethod(allow) => body::method_not_allowed(allow),
            Target::NoRoute => body::unknown_route(),
        }
    }

    fn target(&self, method: &Method, path: &str) -> Option<Target> {
        match routes::public(method, path) {
            Match::Route(route) => return self.public.knows(&route).then_some(Target::Public(route)),
            Match::WrongMethod(allow) => return Some(Target::WrongMethod(allow)),
            Match::NoRoute => return Some(Target::NoRoute),
            Match::Unknown => {}
        }
        if self.debugging == DebugHandlers::Disabled {
            return routes::is_disabled_debug(path).then_some(Target::DebugDisabled);
        }
        if let Some(words) = self.pages.disabled(path) {
            return Some(Target::Disabled(words));
        }
        // What a feature gate switches off is unknown, by every method.
        if !self.pages.knows(path) || (self.checkpoints.is_none() && path.starts_with("/checkpoint/")) {
            return None;
        }
        match routes::debug(method, path) {
            Match::Route(route) => Some(Target::Debug(route)),
            Match::WrongMethod(allow) => Some(Target::WrongMethod(allow)),
            Match::NoRoute => Some(Target::NoRoute),
            Match::Unknown => None,
        }
    }

    /// Asks for each subresource in turn; the first that is allowed wins.
    async fn authorize(&self, user: &User, method: &Method, path: &str) -> Result<(), Response<Body>> {
        let attributes = Attributes::of_request(&self.public.context.facts.node_name, method, path);
        for subresource in attributes.subresources {
            match self.authorizer.authorize(attributes.question(user, subresource)).await {
                Ok(Decision::Allow) => return Ok(()),
                Ok(Decision::Deny) => {}
                Err(problem) => {
                    let Attributes { verb, .. } = attributes;
                    let message = format!(
                        "Authorization error (user={}, verb={verb}, resource=nodes, subresource={subresource})",
                        user.name
                    );
                    tracing::warn!(problem, message, "authorization failed");
                    return Err(body::text(StatusCode::INTERNAL_SERVER_ERROR, message));
                }
            }
        }
        let message = format!(
            "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])\n",
            user.name,
            attributes.verb,
            attributes.subresources.join(" ")
        );
        Err(body::text(StatusCode::FORBIDDEN, message))
    }

    async fn debug(&self, route: &DebugRoute, request: Request<Incoming>) -> Response<Body> {
        let context = &self.public.context;
        let query = || Query::parse(request.uri().query());
        match route {
            DebugRoute::ContainerLogs(path) => {
                container_logs::answer(context, path, &query(), self.tasks.stop.clone()).await
            }
            DebugRoute::Run(path) => self.containers.run(path, &query()).await,
            DebugRoute::Exec(path) => self.containers.exec(path, request).await,
            DebugRoute::Attach(path) => self.containers.attach(path, request).await,
            DebugRoute::PortForward(path) => self.containers.port_forward(path, request).await,
            DebugRoute::Checkpoint(path) => match &self.checkpoints {
                Some(checkpoints) => checkpoints.make(path, &query()).await,
                None => body::unknown_path(),
            },
            DebugRoute::NodeLogs(path) => self.pages.logs(path, &query()).await,
            DebugRoute::Flagz => self.pages.flagz(request.headers()),
            DebugRoute::Statusz => self.pages.statusz(request.headers()),
            DebugRoute::Verbosity => self.pages.set_verbosity(request).await,
            DebugRoute::Profile(name) => self.pages.profile(name),
            DebugRoute::RunningPods => body::json(StatusCode::OK, &pods::running(&context.control.view())),
            DebugRoute::Configz => body::json(
                StatusCode::OK,
                &serde_json::json!({ "kubeletconfig": context.facts.configuration }),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
