//! Clients that ask for too much or hold on: they are refused or bounded, and `/healthz` still answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Idle connections at once in the test; the bound on connections lies above it.
const IDLE: usize = 1000;

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let address = running.handle.socket_address().expect("bound");
    let large = "x".repeat(2 << 20);
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for fields in [format!("x: {large}\r\n"), many] {
        let mut stream = connect(address, None).await;
        // The listener may answer and close before it has read everything.
        let _ =
            stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{fields}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(running.get("/healthz").await.body, "ok");
}

#[tokio::test]
async fn a_thousand_idle_and_slow_connections_leave_the_node_answering() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let address = running.handle.socket_address().expect("bound");
    let mut held = Vec::new();
    for n in 0..IDLE {
        // Some say nothing, some begin a handshake and stop, as slow-loris clients do.
        let mut stream = TcpStream::connect(address).await.expect("connect");
        if n % 2 == 0 {
            stream.write_all(&[0x16, 0x03]).await.expect("write");
        }
        held.push(stream);
    }
    let answer = tokio::time::timeout(Duration::from_secs(60), running.get("/healthz")).await;
    assert_eq!(answer.expect("in time").body, "ok");
}

#[tokio::test]
async fn a_slow_head_holds_up_nobody_else() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let address = running.handle.socket_address().expect("bound");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(address, None).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.expect("write");
        slow.push(stream);
    }
    assert_eq!(running.get("/healthz").await.body, "ok");
}
