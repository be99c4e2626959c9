//! Fetches from local servers, plain and TLS.

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::connect::{Io, tls_config_with};

/// Answers each connection with the next text and tells what was asked.
async fn server(answers: Vec<String>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (asked, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.expect("accept");
            answer_one(stream, &answer, &asked).await;
        }
    });
    (format!("http://{address}"), receiver)
}

async fn answer_one(mut stream: impl Io, answer: &str, asked: &mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("head"));
    }
    asked.send(String::from_utf8(head).expect("text")).expect("test listens");
    // A client that has seen enough hangs up.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn manifests(url: &str) -> HttpManifests {
    let headers = [("Metadata-Flavor".to_owned(), vec!["a".to_owned(), "b".to_owned()])];
    HttpManifests::new(url, &headers, Duration::from_secs(20)).expect("usable")
}

async fn error(url: &str) -> String {
    manifests(url).fetch().await.expect_err("fails").to_string()
}

#[tokio::test]
async fn the_body_of_a_200_comes_back_and_the_headers_went_along() {
    let (base, mut asked) = server(vec![ok("kind: Pod")]).await;
    let url = format!("{base}/manifests?token=x");
    assert_eq!(manifests(&url).fetch().await.expect("body"), "kind: Pod");
    let asked = asked.recv().await.expect("asked").to_ascii_lowercase();
    assert!(asked.starts_with("get /manifests?token=x http/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nmetadata-flavor: a\r\nmetadata-flavor: b\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nhost: {}\r\n", base.trim_start_matches("http://"))), "{asked}");
}

#[tokio::test]
async fn anything_but_a_good_answer_is_an_error_without_secrets() {
    let (base, _asked) = server(vec!["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".into(), ok("")]).await;
    let url = base.replace("http://", "http://user:secret@") + "/m?token=secret";
    let text = error(&url).await;
    assert_eq!(text, format!("GET {base}/m: status 503 Service Unavailable; it is tried again in 20s"));
    assert_eq!(error(&url).await, format!("GET {base}/m: the answer is empty; it is tried again in 20s"));
    let refused = error(&url).await;
    assert!(refused.contains("connect: ") || refused.contains("connection"), "{refused}");
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let huge = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
    let (base, _asked) = server(vec![huge]).await;
    assert!(error(&base).await.contains("the answer is larger than 10 MiB"));
}

#[tokio::test]
async fn redirects_stay_on_the_same_server() {
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let (base, mut asked) = server(vec![redirect("/new"), ok("kind: Pod")]).await;
    assert_eq!(manifests(&format!("{base}/old")).fetch().await.expect("body"), "kind: Pod");
    asked.recv().await.expect("first");
    assert!(asked.recv().await.expect("second").starts_with("GET /new "));

    let (base, _asked) = server(vec![redirect("http://127.0.0.2:1/steal?x=y")]).await;
    let text = error(&base).await;
    assert!(text.contains("redirected to another server (http://127.0.0.2:1/steal)"), "{text}");

    let (base, _asked) = server(vec![redirect("/again"); MAX_REDIRECTS + 1]).await;
    assert!(error(&base).await.contains("more than 10 redirects"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_10_s() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    assert!(error(&url).await.contains("no complete answer within 10s"));
}

#[tokio::test]
async fn https_needs_a_known_authority() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let key = PrivateKeyDer::from_pem_slice(own.signing_key.serialize_pem().as_bytes()).expect("key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("config");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("https://localhost:{}/m", listener.local_addr().expect("address").port());
    let (asked, _receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            if let Ok(stream) = acceptor.accept(stream).await {
                answer_one(stream, &ok("kind: Pod"), &asked).await;
            }
        }
    });
    assert!(error(&url).await.contains("TLS: invalid peer certificate"));
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("root");
    let tls = tls_config_with(roots).expect("config");
    let known = HttpManifests::with_tls(&url, &[], Duration::from_secs(20), tls).expect("usable");
    assert_eq!(known.fetch().await.expect("body"), "kind: Pod");
}

#[test]
fn unusable_settings_are_refused_without_showing_secrets() {
    let refuse = |url: &str, name: &str, value: &str| {
        let headers = [(name.to_owned(), vec![value.to_owned()])];
        HttpManifests::new(url, &headers, Duration::ZERO).err().expect("refused").to_string()
    };
    assert_eq!(
        refuse("ftp://u:p@host/x?q=s", "A", "b"),
        "staticPodURL \"ftp://host/x\" cannot be used: the scheme \"ftp\" is neither http nor https"
    );
    assert_eq!(
        refuse("http://host", "X-Token", "sec\nret"),
        "staticPodURLHeader \"X-Token\" is no valid HTTP header"
    );
}
