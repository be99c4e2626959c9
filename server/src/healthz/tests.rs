//! 10248 over real sockets: texts, the thread of its own, an address in use.

use std::time::Duration;

use tokio::net::TcpStream;

use super::*;
use crate::testing::{ANY_PORT, ask};

async fn get(address: SocketAddr, path: &str) -> crate::testing::Answer {
    ask(TcpStream::connect(address).await.expect("connect"), "GET", path, "").await
}

#[tokio::test]
async fn only_health_is_served_and_the_thread_ends_at_shutdown() {
    let handle = start(ANY_PORT, HealthChecks::ping()).expect("starts");
    let address = handle.socket_address().expect("bound");
    let plain = get(address, "/healthz").await;
    assert_eq!((plain.status.as_u16(), plain.body.as_str()), (200, "ok"));
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(plain.header("x-content-type-options"), "nosniff");
    assert_eq!(get(address, "/healthz?verbose").await.body, "[+]ping ok\nhealthz check passed\n");
    assert_eq!(get(address, "/healthz/ping").await.body, "ok");
    for path in ["/pods", "/metrics", "/healthz/syncloop", "/"] {
        let answer = get(address, path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, "404 page not found\n"), "{path}");
    }
    handle.shutdown(Duration::from_secs(5)).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn it_answers_while_the_agents_thread_is_blocked() {
    let handle = start(ANY_PORT, HealthChecks::ping()).expect("starts");
    let address = handle.socket_address().expect("bound");
    // This test's runtime has one thread, and a plain socket blocks it.
    let answer = {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).expect("connect");
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    };
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    handle.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_cause() {
    let handle = start(ANY_PORT, HealthChecks::ping()).expect("starts");
    let address = handle.socket_address().expect("bound");
    let error = start(address, HealthChecks::ping()).expect_err("in use").to_string();
    assert_eq!(error, format!("cannot listen on {address} (healthz): Address already in use (os error 98)"));
    handle.shutdown(Duration::ZERO).await;
}
