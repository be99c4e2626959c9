//! 10250 over real TLS connections: who is let in, what is refused with which text, container logs.

mod bounds;
mod reviews;

use std::path::Path;

use core_types::view::NodeView;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod node;
mod streams;

use super::*;
use crate::testing::{ANY_PORT, Answer, FakeAgent, ask, pod_view, view_of};

/// A client authority and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let pem = params.self_signed(&key).expect("certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str, group: &str) -> Identity {
        let key = KeyPair::generate().expect("key");
        let certificate = client_params(name, group).signed_by(&key, &self.issuer).expect("certificate");
        identity(&certificate, &key)
    }

    fn sign_expired(&self, name: &str) -> Identity {
        let mut params = client_params(name, "system:masters");
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 1, 2));
        let key = KeyPair::generate().expect("key");
        identity(&params.signed_by(&key, &self.issuer).expect("certificate"), &key)
    }
}

fn client_params(name: &str, group: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn identity(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("key");
    (certificate.der().clone(), key)
}

/// A certificate that its holder made for himself.
fn self_made(name: &str) -> Identity {
    let key = KeyPair::generate().expect("key");
    let params = client_params(name, "system:masters");
    identity(&params.self_signed(&key).expect("certificate"), &key)
}

#[derive(Debug)]
struct TrustAnything;

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

fn options(directory: &Path) -> HttpsOptions {
    HttpsOptions {
        address: ANY_PORT,
        certificate: CertificateSource::SelfSigned {
            directory: directory.to_owned(),
            host_name: "node-1".into(),
        },
        tls: TlsSettings::default(),
        client_ca_file: None,
        reload_client_ca: Reload::WhenChanged,
        anonymous: AnonymousAccess::Enabled,
        webhook: WebhookAuthentication::Disabled,
        authorization: AuthorizationMode::AlwaysAllow,
        reviewers: Reviewers::Missing,
        debugging: DebugHandlers::Enabled,
        websockets: WebSockets::Translated,
        checkpoints: Some(CheckpointOptions {
            directory: "/var/lib/kubelet/checkpoints".into(),
            files: FakeAgent::new(),
        }),
        node: node_options(),
    }
}

fn node_options() -> NodeOptions {
    let agent = FakeAgent::new();
    NodeOptions {
        logs: NodeLogs::Query,
        profiling: Switch::On,
        debug_flags: Switch::On,
        flagz: Switch::On,
        statusz: Switch::On,
        files: agent.clone(),
        journal: agent.clone(),
        verbosity: agent,
        flags: Arc::new(
            [("v".to_owned(), "2".to_owned()), ("config".to_owned(), "/k.yaml".to_owned())].into(),
        ),
        command_line: ["kubelet".to_owned(), "--v=2".to_owned()].into(),
        started: core_types::WallTime::from_unix_secs(1_800_000_000 - 3_725),
    }
}

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn client_config(identity: Option<Identity>) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything));
    match identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).expect("identity"),
    }
}

async fn handshake(address: SocketAddr, config: ClientConfig) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("connect");
    let name = ServerName::try_from("node-1").expect("name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("handshake")
}

async fn connect(address: SocketAddr, identity: Option<Identity>) -> TlsStream<TcpStream> {
    handshake(address, client_config(identity)).await
}

struct Running {
    agent: Arc<FakeAgent>,
    handle: ServerHandle,
}

impl Running {
    async fn new(options: HttpsOptions) -> Self {
        let agent = FakeAgent::new();
        let handle = start(options, agent.context()).await.expect("starts");
        Self { agent, handle }
    }

    async fn ask_as(&self, identity: Option<Identity>, method: &str, path: &str) -> Answer {
        let address = self.handle.socket_address().expect("bound");
        ask(connect(address, identity).await, method, path, "").await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask_as(None, "GET", path).await
    }
}

#[tokio::test]
async fn who_shows_nothing_is_anonymous_or_unauthorized() {
    let directory = tempfile::tempdir().expect("directory");
    let open = Running::new(options(directory.path())).await;
    assert_eq!(open.get("/healthz").await.body, "ok");
    let closed =
        Running::new(HttpsOptions { anonymous: AnonymousAccess::Disabled, ..options(directory.path()) })
            .await;
    for path in ["/healthz", "/pods", "/containerLogs/a/b/c", "/pods/x"] {
        let answer = closed.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, "Unauthorized"), "{path}");
    }
    assert_eq!(
        closed.get("/nothing").await.status.as_u16(),
        404,
        "an unknown path is told before authentication"
    );
}

#[tokio::test]
async fn a_client_certificate_counts_when_our_authority_signed_it() {
    let directory = tempfile::tempdir().expect("directory");
    let (ours, other) = (Authority::new(), Authority::new());
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &ours.pem).expect("write");
    let closed = HttpsOptions {
        client_ca_file: Some(ca),
        anonymous: AnonymousAccess::Disabled,
        ..options(directory.path())
    };
    let running = Running::new(closed.clone()).await;
    let good = running.ask_as(Some(ours.sign("admin", "system:masters")), "GET", "/healthz").await;
    assert_eq!((good.status.as_u16(), good.body.as_str()), (200, "ok"));
    let bad = [
        ("another authority", Some(other.sign("admin", "system:masters"))),
        ("expired", Some(ours.sign_expired("admin"))),
        ("self-made", Some(self_made("admin"))),
        ("no name", Some(ours.sign("", "system:masters"))),
        ("none", None),
    ];
    for (what, identity) in bad {
        let bad = running.ask_as(identity, "GET", "/healthz").await;
        assert_eq!((bad.status.as_u16(), bad.body.as_str()), (401, "Unauthorized"), "{what}");
    }

    let open = Running::new(HttpsOptions { anonymous: AnonymousAccess::Enabled, ..closed.clone() }).await;
    let bad = open.ask_as(Some(other.sign("admin", "x")), "GET", "/healthz").await;
    assert_eq!(bad.status.as_u16(), 401, "a bad certificate is no anonymous user");

    let authenticator = Authenticator::new(&closed, running.agent.clone()).expect("authenticator");
    let (certificate, _) = ours.sign("admin", "system:masters");
    let user = authenticator.authenticate(&[certificate], &http::HeaderMap::new()).await.expect("known");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("admin", ""));
    assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
    let shown = &user.extra["authentication.kubernetes.io/credential-id"];
    assert!(shown[0].starts_with("X509SHA256=") && shown[0].len() == 11 + 64, "{shown:?}");
}

/// Lets the fake clock go on, so that files are looked at again.
fn wait_for_the_next_look(agent: &FakeAgent) {
    agent.mono_secs.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
}

#[tokio::test]
async fn a_changed_client_authority_counts_at_once_and_a_broken_one_not_at_all() {
    let directory = tempfile::tempdir().expect("directory");
    let (first, second) = (Authority::new(), Authority::new());
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &first.pem).expect("write");
    let options = HttpsOptions {
        client_ca_file: Some(ca.clone()),
        anonymous: AnonymousAccess::Disabled,
        ..options(directory.path())
    };
    let fixed = Running::new(HttpsOptions { reload_client_ca: Reload::Never, ..options.clone() }).await;
    let running = Running::new(options).await;
    let status = async |running: &Running, authority: &Authority| {
        wait_for_the_next_look(&running.agent);
        running.ask_as(Some(authority.sign("admin", "x")), "GET", "/healthz").await.status.as_u16()
    };
    // A connection that is open already is judged by the new authority too.
    let mut open = connect_http2(&running, Some(first.sign("admin", "x"))).await;
    assert_eq!(get_over(&mut open, "/healthz").await, 200);
    assert_eq!((status(&running, &first).await, status(&running, &second).await), (200, 401));
    std::fs::write(&ca, &second.pem).expect("write");
    assert_eq!((status(&running, &first).await, status(&running, &second).await), (401, 200));
    assert_eq!(get_over(&mut open, "/healthz").await, 401);
    std::fs::write(&ca, "garbage").expect("write");
    assert_eq!((status(&running, &first).await, status(&running, &second).await), (401, 200));
    std::fs::write(&ca, &first.pem).expect("write");
    assert_eq!((status(&running, &first).await, status(&running, &second).await), (200, 401));
    std::fs::write(&ca, &second.pem).expect("write");
    assert_eq!((status(&fixed, &first).await, status(&fixed, &second).await), (200, 401));
}

#[tokio::test]
async fn a_changed_serving_certificate_is_shown_to_the_next_connection() {
    let directory = tempfile::tempdir().expect("directory");
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let pair = || {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["node-1".to_owned()]).expect("params");
        (params.self_signed(&key).expect("certificate"), key.serialize_pem())
    };
    let ((first, first_key), (second, second_key)) = (pair(), pair());
    std::fs::write(&certificate, first.pem()).expect("write");
    std::fs::write(&key, &first_key).expect("write");
    let source = CertificateSource::Files {
        certificate: certificate.clone(),
        key: key.clone(),
        reload: Reload::WhenChanged,
    };
    let running = Running::new(HttpsOptions { certificate: source, ..options(directory.path()) }).await;
    let shown = async || {
        wait_for_the_next_look(&running.agent);
        let stream = connect(running.handle.socket_address().expect("bound"), None).await;
        stream.get_ref().1.peer_certificates().expect("shown")[0].clone()
    };
    assert_eq!(shown().await, *first.der());
    std::fs::write(&certificate, second.pem()).expect("write");
    assert_eq!(shown().await, *first.der(), "half of a new pair is no pair");
    std::fs::write(&key, &second_key).expect("write");
    assert_eq!(shown().await, *second.der());
}

#[tokio::test]
async fn what_needs_an_api_server_is_a_start_error() {
    let directory = tempfile::tempdir().expect("directory");
    let start =
        async |options| start(options, FakeAgent::new().context()).await.expect_err("refused").to_string();
    let webhook = HttpsOptions { authorization: reviews::WEBHOOK, ..options(directory.path()) };
    assert_eq!(start(webhook).await, "no client provided, cannot use webhook authorization");
    let tokens = HttpsOptions { webhook: reviews::TOKENS, ..options(directory.path()) };
    assert_eq!(start(tokens).await, "no client provided, cannot use webhook authentication");
    let missing =
        HttpsOptions { client_ca_file: Some("/no/such/ca.crt".into()), ..options(directory.path()) };
    assert!(start(missing).await.starts_with("client CA file /no/such/ca.crt: "));
}

#[tokio::test]
async fn debugging_routes_and_their_switch() {
    let directory = tempfile::tempdir().expect("directory");
    let on = Running::new(options(directory.path())).await;
    assert_eq!(on.get("/configz").await.body, r#"{"kubeletconfig":{"kind":"KubeletConfiguration"}}"#);
    let running = on.get("/runningpods/").await.json();
    assert_eq!(
        running["items"][0]["spec"]["containers"],
        serde_json::json!([
            { "name": "main", "image": "app:1", "resources": {} }
        ])
    );
    let wrong = on.ask_as(None, "POST", "/containerLogs/default/web/main").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET"));

    let off =
        Running::new(HttpsOptions { debugging: DebugHandlers::Disabled, ..options(directory.path()) }).await;
    let answer = off.get("/containerLogs/default/web/main").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (405, "Debug endpoints are disabled.\n"));
    assert_eq!(off.get("/configz").await.status.as_u16(), 404);
    assert_eq!(off.get("/pods").await.status.as_u16(), 200);
}

#[tokio::test]
async fn container_logs_answer_with_upstreams_codes_and_texts() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let table = [
        ("default/web/main", 200, "hello\n"),
        ("default/web/main?previous=true", 200, "hello\n"),
        ("default/gone/main", 404, "pod \"gone\" does not exist"),
        ("default/web/gone", 404, "container \"gone\" not found in pod \"web\""),
        (
            "default/web/waiting",
            400,
            "container \"waiting\" in pod \"web\" is waiting to start: trying and failing to pull image",
        ),
        (
            "default/web/waiting?previous=1",
            400,
            "previous terminated container \"waiting\" in pod \"web\" not found",
        ),
        ("default/web/main?tailLines=x", 400, "{\"message\": \"Unable to decode query.\"}"),
        ("default/web/main?limitBytes=0", 422, "{\"message\": \"Invalid request.\"}"),
        ("default/web", 404, "404: Page Not Found"),
    ];
    for (path, status, body) in table {
        let answer = running.get(&format!("/containerLogs/{path}")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, body), "{path}");
    }
    running
        .get("/containerLogs/default/web/main?tailLines=5&sinceSeconds=60&timestamps=true&limitBytes=9")
        .await;
    let asked = running.agent.log_requests.lock().expect("lock").clone();
    assert_eq!(asked[0].path, Path::new("/logs/c1.log"));
    assert_eq!(asked[1].path, Path::new("/logs/c0.log"));
    let last = asked.last().expect("asked");
    assert_eq!((last.tail_lines, last.limit_bytes), (Some(5), Some(9)));
    assert_eq!(last.since, Some(core_types::WallTime::from_unix_secs(1_800_000_000 - 60)));
}

#[tokio::test]
async fn a_log_file_that_is_gone_is_a_400_with_its_cause() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let (pod, mut observed) = pod_view("default", "web");
    observed.containers[0].status.log_path = "/logs/missing.log".into();
    running.agent.view.send_replace(Arc::new(view_of(vec![(pod, observed)])));
    let answer = running.get("/containerLogs/default/web/main").await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(answer.body.starts_with("failed to try resolving symlinks in path \"/logs/missing.log\""));
}

async fn until_asked_for_a_log(agent: &FakeAgent) {
    while agent.log_requests.lock().expect("lock").is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let stop_container = async {
        until_asked_for_a_log(&running.agent).await;
        let pods = running.agent.view.borrow().pods.clone();
        running.agent.view.send_replace(Arc::new(NodeView { pods, ..NodeView::default() }));
    };
    let follow = running.get("/containerLogs/default/web/main?follow=true");
    let both = async { tokio::join!(follow, stop_container).0.body };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), both).await.expect("ends"), "hello\n");
}

#[tokio::test]
async fn a_followed_log_ends_with_the_listener() {
    let directory = tempfile::tempdir().expect("directory");
    let Running { agent, handle } = Running::new(options(directory.path())).await;
    let stream = connect(handle.socket_address().expect("bound"), None).await;
    let follow = ask(stream, "GET", "/containerLogs/default/web/main?follow=true", "");
    let shutdown = async {
        until_asked_for_a_log(&agent).await;
        handle.shutdown(Duration::from_secs(10)).await;
    };
    let both = async { tokio::join!(follow, shutdown).0.body };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), both).await.expect("ends"), "hello\n");
}

type Http2 = hyper::client::conn::http2::SendRequest<http_body_util::Empty<bytes::Bytes>>;

async fn connect_http2(running: &Running, identity: Option<Identity>) -> Http2 {
    let mut config = client_config(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = handshake(running.handle.socket_address().expect("bound"), config).await;
    let executor = hyper_util::rt::TokioExecutor::new();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.expect("h2");
    tokio::spawn(connection);
    sender
}

/// The status of an answer over HTTP/2.
async fn get_over(connection: &mut Http2, path: &str) -> u16 {
    let uri = format!("https://node-1{path}");
    let request = Request::get(uri).body(http_body_util::Empty::new()).expect("request");
    let response = connection.send_request(request).await.expect("answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    response.status().as_u16()
}

#[tokio::test]
async fn http_2_is_spoken_with_those_who_ask_for_it() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let mut connection = connect_http2(&running, None).await;
    assert_eq!(get_over(&mut connection, "/healthz").await, 200);
}

#[tokio::test]
async fn a_signed_certificate_is_shown_from_its_signing_to_its_end() {
    let directory = tempfile::tempdir().expect("directory");
    let (sender, signed) = watch::channel(None);
    let source = CertificateSource::Signed(signed);
    let running = Running::new(HttpsOptions { certificate: source, ..options(directory.path()) }).await;
    let address = running.handle.socket_address().expect("bound");
    let shown = async || {
        let stream = TcpStream::connect(address).await.expect("connect");
        let name = ServerName::try_from("node-1").expect("name");
        let stream = TlsConnector::from(Arc::new(client_config(None))).connect(name, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.clone())
    };
    assert_eq!(shown().await, None, "nothing is signed yet");
    let key = KeyPair::generate().expect("key");
    let certificate =
        CertificateParams::new(vec!["node-1".to_owned()]).expect("params").self_signed(&key).expect("pair");
    let until = |not_after| core_certificates::Content {
        common_name: String::new(),
        organizations: [].into(),
        dns_names: [].into(),
        ips: [].into(),
        not_before: core_types::WallTime::from_unix_secs(0),
        not_after,
    };
    let pair = |not_after| {
        Some(Arc::new(CertificatePair {
            chain_pem: certificate.pem().into_bytes(),
            key_pem: core_types::Secret::new(key.serialize_pem().into_bytes()),
            content: until(not_after),
        }))
    };
    sender.send_replace(pair(crate::testing::NOW + Duration::from_secs(1)));
    assert_eq!(shown().await.as_ref(), Some(certificate.der()));
    sender.send_replace(pair(core_types::WallTime::from_unix_secs(1)));
    assert_eq!(shown().await, None, "it has expired");
}
