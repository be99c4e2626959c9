//! Clients that ask for too much or hold on: they are refused or bounded, and `/healthz` still answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Idle connections at once in the test; more than there may be.
const IDLE: usize = 1100;

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
async fn more_idle_and_slow_connections_than_there_may_be_keep_nobody_out() {
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
    // The oldest made room, the youngest did not have to.
    assert!(!matches!(held[0].read(&mut [0]).await, Ok(1..)), "it is closed");
    let youngest = held[IDLE - 1].try_read(&mut [0]).expect_err("nothing to read");
    assert_eq!(youngest.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_body_without_end_holds_up_nothing_and_a_large_one_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let address = running.handle.socket_address().expect("bound");
    let mut endless = connect(address, None).await;
    let head = "GET /pods HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    endless.write_all(head.as_bytes()).await.expect("write");
    let mut status = [0; 12];
    endless.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");

    let mut large = connect(address, None).await;
    let head = "PUT /debug/flags/v HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n";
    large.write_all(head.as_bytes()).await.expect("write");
    large.write_all(&[b'1'; 4096]).await.expect("write");
    large.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 400");
    assert_eq!(running.get("/healthz").await.body, "ok");
}

#[tokio::test]
async fn large_heads_are_refused_over_http_2_too() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::new(options(directory.path())).await;
    let mut connection = connect_http2(&running, None).await;
    let request = Request::get("https://node-1/healthz").header("x", "y".repeat(2 << 20));
    let request = request.body(http_body_util::Empty::new()).expect("request");
    match connection.send_request(request).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert_eq!(running.get("/healthz").await.body, "ok");
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
