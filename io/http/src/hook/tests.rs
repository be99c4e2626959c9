//! Hooks against local servers, plain and TLS.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::connect::Io;

fn hook(port: u16, scheme: HttpScheme) -> HttpGet {
    let headers =
        vec![("X-Word".to_owned(), "a".to_owned()), ("Authorization".to_owned(), "secret".to_owned())];
    HttpGet { scheme, host: "127.0.0.1".to_owned(), port, path: "bye?now=1".to_owned(), headers }
}

async fn get(request: &HttpGet) -> Result<HookAnswer, HookDialError> {
    HttpHooks::new().expect("TLS").get(request).await
}

/// The head of a request, as far as it comes.
async fn head_of(stream: &mut impl Io) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

/// Answers each connection with the next text once a request or a hello has come, and tells what was asked over plain HTTP.
async fn server(answers: Vec<String>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (asked, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut first = [0];
            stream.peek(&mut first).await.expect("a first byte");
            if first == *b"G" {
                asked.send(head_of(&mut stream).await).expect("test listens");
            } else {
                // As Go's server: a hello is no request.
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).await;
            }
            // A client that has seen enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, receiver)
}

const BAD: &str = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
const FAILED: &str = "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno";

#[tokio::test]
async fn any_answer_is_success_and_the_headers_are_upstreams() {
    let (port, mut asked) = server(vec![FAILED.to_owned()]).await;
    assert_eq!(get(&hook(port, HttpScheme::Http)).await.expect("an answer"), HookAnswer::AsAsked);
    let asked = asked.recv().await.expect("asked");
    assert!(asked.starts_with("get /bye?now=1 http/1.1\r\n"), "{asked}");
    for line in
        ["user-agent: kube-lifecycle/1.37", "accept: */*", "x-word: a", &format!("host: 127.0.0.1:{port}")]
    {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
}

#[tokio::test]
async fn https_falls_back_to_http_without_the_credentials() {
    let (port, mut asked) = server(vec![BAD.to_owned(), FAILED.to_owned()]).await;
    assert_eq!(get(&hook(port, HttpScheme::Https)).await.expect("an answer"), HookAnswer::OverHttpInstead);
    let asked = asked.recv().await.expect("asked");
    assert!(asked.contains("x-word: a") && !asked.contains("secret"), "{asked}");
}

#[tokio::test]
async fn a_huge_answer_is_read_only_in_part() {
    let huge =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
    let (port, _asked) = server(vec![huge]).await;
    assert_eq!(get(&hook(port, HttpScheme::Http)).await.expect("an answer"), HookAnswer::AsAsked);
}

#[tokio::test]
async fn redirects_stay_on_the_same_host() {
    let to = |place: &str| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
    let (port, mut asked) = server(vec![to("/next"), to("http://127.0.0.2:1/elsewhere")]).await;
    assert_eq!(get(&hook(port, HttpScheme::Http)).await.expect("an answer"), HookAnswer::AsAsked);
    asked.recv().await.expect("first");
    assert!(asked.recv().await.expect("second").starts_with("get /next "));
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let error = get(&hook(port, HttpScheme::Http)).await.expect_err("nobody").to_string();
    assert!(error.starts_with(&format!("GET http://127.0.0.1:{port}: connect: ")), "{error}");
}

#[tokio::test]
async fn any_certificate_will_do() {
    let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).expect("certificate");
    let key = PrivateKeyDer::from_pem_slice(own.signing_key.serialize_pem().as_bytes()).expect("key");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("config");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        let head = head_of(&mut stream).await;
        let _ = stream.write_all(FAILED.as_bytes()).await;
        let _ = stream.shutdown().await;
        head
    });
    assert_eq!(get(&hook(port, HttpScheme::Https)).await.expect("an answer"), HookAnswer::AsAsked);
    assert!(served.await.expect("served").contains("authorization: secret"));
}
