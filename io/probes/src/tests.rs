//! The dialer against servers of its own on loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use core_probes::{GrpcMode, HttpRequest, HttpVersion, ProbeRequest, Scheme};
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ports::ProbeDialer;
use ports::probes::{MAX_OUTPUT_BYTES, ProbeAnswer};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::NetworkProbes;

const SOON: Duration = Duration::from_secs(10);

/// A server on one port: it shows each request and answers with the text that `answer` gives for it.
async fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let request = read_head(&mut stream).await;
            // The client may leave before it has read everything.
            let _ = stream.write_all(answer(&request).as_bytes()).await;
        }
    });
    port
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).expect("text")
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> ProbeRequest {
    ProbeRequest::Http(HttpRequest {
        scheme: Scheme::Http,
        version: HttpVersion::Http1,
        host: "127.0.0.1".to_owned(),
        port,
        path: path.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    })
}

fn grpc(port: u16, service: &str) -> ProbeRequest {
    let (host, service) = ("127.0.0.1".to_owned(), service.to_owned());
    ProbeRequest::Grpc { host, port, service, mode: GrpcMode::Plaintext }
}

async fn ask(request: &ProbeRequest) -> ProbeAnswer {
    NetworkProbes::new("1.37").expect("TLS").ask(request, SOON).await
}

#[tokio::test]
async fn the_status_decides() {
    let port = server(|request| {
        let status = request.split('/').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        reply(&format!("{status} X"), "", "body")
    })
    .await;
    let failed = |status: &str| ProbeAnswer::Failure(format!("HTTP probe failed with statuscode: {status}"));
    for (status, answer) in [
        ("200", ProbeAnswer::Success("body".to_owned())),
        ("299", ProbeAnswer::Success("body".to_owned())),
        ("300", ProbeAnswer::Warning("Probe terminated redirects, Response body: body".to_owned())),
        ("400", failed("400")),
        ("500", failed("500")),
    ] {
        assert_eq!(ask(&get(port, &format!("/{status}"), &[])).await, answer);
    }
}

#[tokio::test]
async fn headers_are_upstreams_and_the_pods() {
    let port = server(|request| reply("200 OK", "", &request.to_lowercase())).await;
    let text = |answer| match answer {
        ProbeAnswer::Success(text) => text,
        other => panic!("{other:?}"),
    };
    let plain = text(ask(&get(port, "/a?b=c", &[])).await);
    assert!(plain.starts_with("get /a?b=c http/1.1\r\n"), "{plain}");
    for header in ["user-agent: kube-probe/1.37", "accept: */*", &format!("host: 127.0.0.1:{port}")] {
        assert!(plain.contains(&format!("\r\n{header}\r\n")), "{plain}");
    }
    let own = [("Host", "example.org"), ("User-Agent", "me"), ("Accept", ""), ("X-A", "1"), ("X-A", "2")];
    let own = text(ask(&get(port, "/", &own)).await);
    for header in ["host: example.org", "user-agent: me", "x-a: 1", "x-a: 2"] {
        assert!(own.contains(&format!("\r\n{header}\r\n")), "{own}");
    }
    assert!(!own.contains("accept"), "{own}");
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let other = server(|_| reply("200 OK", "", "other port")).await;
    let port = server(move |request| {
        let to = match request {
            text if text.starts_with("GET /same ") => format!("http://127.0.0.1:{other}/"),
            text if text.starts_with("GET /away ") => "http://example.invalid/".to_owned(),
            _ => "/loop".to_owned(),
        };
        reply("302 Found", &format!("Location: {to}\r\n"), "moved")
    })
    .await;
    assert_eq!(ask(&get(port, "/same", &[])).await, ProbeAnswer::Success("other port".to_owned()));
    let warning = "Probe terminated redirects, Response body: moved".to_owned();
    assert_eq!(ask(&get(port, "/away", &[])).await, ProbeAnswer::Warning(warning));
    let looped = ask(&get(port, "/loop", &[])).await;
    assert!(
        matches!(&looped, ProbeAnswer::Failure(text) if text.ends_with("stopped after 10 redirects")),
        "{looped:?}"
    );
}

#[tokio::test]
async fn a_huge_answer_is_cut_and_a_missing_one_times_out() {
    let port = server(|_| reply("200 OK", "", &"x".repeat(1 << 20))).await;
    let answer = ask(&get(port, "/", &[])).await;
    assert!(matches!(&answer, ProbeAnswer::Success(text) if text.len() == MAX_OUTPUT_BYTES));
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let probes = NetworkProbes::new("1.37").expect("TLS");
    for request in [get(port, "/", &[]), grpc(port, "")] {
        let answer = probes.ask(&request, Duration::from_millis(50)).await;
        assert!(matches!(answer, ProbeAnswer::TimedOut(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_is_success_and_a_refused_one_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let tcp = ProbeRequest::Tcp { host: "127.0.0.1".to_owned(), port };
    assert!(matches!(ask(&tcp).await, ProbeAnswer::Success(_)));
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(ask(&tcp).await, ProbeAnswer::Failure(refused.clone()));
    let text = format!("Get \"http://127.0.0.1:{port}/\": {refused}");
    assert_eq!(ask(&get(port, "/", &[])).await, ProbeAnswer::Failure(text));
}

/// Connections of this port that the kernel still remembers as closed by this end.
fn time_waits(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let remote = format!(":{port:04X}");
    let is_own = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|field| field.ends_with(&remote)) && fields.next() == Some("06")
    };
    table.lines().filter(is_own).count()
}

#[tokio::test]
async fn closed_probes_leave_nothing_in_the_kernel_and_the_server_reads_a_clean_end() {
    const PROBES: usize = 200;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let server = tokio::spawn(async move {
        for _ in 0..PROBES {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut read = Vec::new();
            assert_eq!(stream.read_to_end(&mut read).await.expect("a clean end"), 0);
        }
    });
    let tcp = ProbeRequest::Tcp { host: "127.0.0.1".to_owned(), port };
    for _ in 0..PROBES {
        assert_eq!(ask(&tcp).await, ProbeAnswer::Success(String::new()));
    }
    server.await.expect("every connection ended well");
    assert_eq!(time_waits(port), 0);

    // Also when this end closes first, because it has read enough.
    let port = endless_server().await;
    for _ in 0..20 {
        assert!(matches!(ask(&get(port, "/", &[])).await, ProbeAnswer::Success(_)));
    }
    assert_eq!(time_waits(port), 0);
}

/// A server whose answers have no end.
async fn endless_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 4096]).await;
                }
            });
        }
    });
    port
}

/// A server's end of TLS with a certificate of its own, which speaks these protocols.
fn acceptor(protocols: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["else.example".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn certificates_are_not_verified() {
    let acceptor = acceptor(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        read_head(&mut stream).await;
        stream.write_all(reply("200 OK", "", "safe").as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("closed");
    });
    let ProbeRequest::Http(plain) = get(port, "/", &[]) else { panic!() };
    let https = ProbeRequest::Http(HttpRequest { scheme: Scheme::Https, ..plain });
    assert_eq!(ask(&https).await, ProbeAnswer::Success("safe".to_owned()));
}

/// What a gRPC server answers.
#[derive(Clone, Copy)]
struct Health {
    body: &'static [u8],
    code: &'static str,
    said: &'static str,
}

const SERVING: Health = Health { body: &[0, 0, 0, 0, 2, 8, 1], code: "0", said: "" };

/// A gRPC server that answers this on its first connection.
async fn grpc_server(health: Health) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        serve_health(stream, health).await;
    });
    port
}

/// Answers on one connection.
async fn serve_health(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, health: Health) {
    let Health { body, code, said } = health;
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let trailers = [("grpc-status", code), ("grpc-message", said)]
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let trailers = HeaderMap::from_iter(trailers);
        let frames =
            [Ok(Frame::data(Bytes::from_static(body))), Ok::<_, hyper::Error>(Frame::trailers(trailers))];
        let body = StreamBody::new(tokio_stream::iter(frames));
        Ok::<_, hyper::Error>(http::Response::new(body))
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // The client closes the connection when it has its answer.
    let _ = served.serve_connection(TokioIo::new(stream), service).await;
}

#[tokio::test]
async fn grpc_health_decides() {
    let failure = |text: &str| ProbeAnswer::Failure(text.to_owned());
    let not_serving = Health { body: &[0, 0, 0, 0, 2, 8, 2], ..SERVING };
    let status = |code, said| Health { body: &[], code, said };
    for (health, answer) in [
        (SERVING, ProbeAnswer::Success("service healthy".to_owned())),
        (not_serving, failure("service unhealthy (responded with \"NOT_SERVING\")")),
        (
            status("12", "no%20such method"),
            failure(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no such method",
            ),
        ),
        (
            status("5", "unknown service"),
            failure("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"),
        ),
        (status("1", ""), failure("error: health rpc probe failed: rpc error: code = Canceled desc = ")),
        (
            status("4", "the server's own deadline"),
            ProbeAnswer::TimedOut(format!("timeout: health rpc did not complete within {SOON:?}")),
        ),
    ] {
        let port = grpc_server(health).await;
        assert_eq!(ask(&grpc(port, "shop")).await, answer);
    }
    // A server that speaks HTTP/1.1 only.
    let port = server(|_| reply("200 OK", "", "")).await;
    assert!(matches!(ask(&grpc(port, "")).await, ProbeAnswer::Failure(_)));
}

/// As upstream's client does: a long timeout spans the start of a server.
#[tokio::test]
async fn a_grpc_server_that_is_about_to_listen_is_waited_for() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let port = socket.local_addr().expect("bound").port();
    let dialer = NetworkProbes::new("1.37").expect("TLS");

    let (asked, hasty) = (grpc(port, ""), Duration::from_secs(1));
    let refused = format!(
        "error: failed to connect service at \"127.0.0.1:{port}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!(
        dialer.ask(&asked, hasty).await,
        ProbeAnswer::Failure(refused),
        "no time for a second attempt"
    );

    let late = async {
        tokio::time::sleep(hasty / 2).await;
        let (stream, _) = socket.listen(1).expect("listens").accept().await.expect("a connection");
        serve_health(stream, SERVING).await;
    };
    let (answer, ()) = tokio::join!(dialer.ask(&asked, SOON), late);
    assert_eq!(answer, ProbeAnswer::Success("service healthy".to_owned()));
}

#[tokio::test]
async fn grpc_health_is_asked_over_tls_without_verification() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        // Servers refuse whom they have not heard to speak HTTP/2.
        let acceptor = acceptor(&[b"h2"]);
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            serve_health(stream, SERVING).await;
        }
    });
    let ProbeRequest::Grpc { host, service, .. } = grpc(port, "shop") else { panic!() };
    let safe = ProbeRequest::Grpc { host, port, service, mode: GrpcMode::Tls };
    assert_eq!(ask(&safe).await, ProbeAnswer::Success("service healthy".to_owned()));
    assert!(matches!(ask(&grpc(port, "shop")).await, ProbeAnswer::Failure(_)), "it speaks TLS only");
}

/// A server of HTTP/2 that shows what it was asked; `/moved` is at `/here`.
async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    let shown = |request: http::Request<hyper::body::Incoming>| async move {
        let agent = request.headers().get(http::header::USER_AGENT).map(|agent| format!("{agent:?}"));
        let text = format!("{:?} {} {}", request.version(), request.uri(), agent.unwrap_or_default());
        let moved = request.uri().path() == "/moved";
        let answer = http::Response::builder().status(if moved { 302 } else { 200 });
        answer.header(http::header::LOCATION, "/here").body(http_body_util::Full::new(Bytes::from(text)))
    };
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // The client closes the connection when it has its answer.
    let _ = served.serve_connection(TokioIo::new(stream), service_fn(shown)).await;
}

/// A server of HTTPS may speak HTTP/2 only; upstream's probes let it choose in the handshake.
#[tokio::test]
async fn a_server_of_https_chooses_http_2() {
    let acceptor = acceptor(&[b"h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            serve_http2(stream).await;
        }
    });
    let ProbeRequest::Http(plain) = get(port, "/here", &[]) else { panic!() };
    let https = ProbeRequest::Http(HttpRequest { scheme: Scheme::Https, ..plain });
    let said = format!("HTTP/2.0 https://127.0.0.1:{port}/here \"kube-probe/1.37\"");
    assert_eq!(ask(&https).await, ProbeAnswer::Success(said));
}

#[tokio::test]
async fn http_2_is_spoken_to_servers_that_expect_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve_http2(stream).await;
        }
    });
    let http_2 = |path: &str, headers: &[(&str, &str)]| {
        let ProbeRequest::Http(plain) = get(port, path, headers) else { panic!() };
        ProbeRequest::Http(HttpRequest { version: HttpVersion::Http2, ..plain })
    };
    let said = |authority: &str| {
        ProbeAnswer::Success(format!("HTTP/2.0 http://{authority}/here \"kube-probe/1.37\""))
    };
    let own = format!("127.0.0.1:{port}");
    assert_eq!(ask(&http_2("/here", &[])).await, said(&own));
    assert_eq!(ask(&http_2("/moved", &[])).await, said(&own));
    assert_eq!(ask(&http_2("/here", &[("Host", "shop.example")])).await, said("shop.example"));
    assert!(matches!(ask(&get(port, "/here", &[])).await, ProbeAnswer::Failure(_)), "it speaks HTTP/2 only");
}
