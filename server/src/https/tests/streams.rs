//! Exec, attach, port-forward and run on 10250, against a fake runtime: what is refused with which text, what passes through,
//! and WebSocket to SPDY.

mod bounds;

use bytes::Bytes;
use core_spdy::{Decoder, Encoder, End, Frame, StreamId};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::*;

/// Long enough for anything here, on a busy machine.
const SOON: Duration = Duration::from_secs(30);
const EXEC: &str = "/exec/default/web/main?command=cat&input=1&output=1&error=1";

async fn running() -> (Running, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("directory");
    (Running::new(options(directory.path())).await, directory)
}

impl Running {
    /// What a request for a SPDY stream is answered.
    async fn spdy(&self, method: &str, path: &str) -> http::Response<Incoming> {
        let stream = connect(self.handle.socket_address().expect("bound"), None).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection.with_upgrades());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "node")
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .header("authorization", "Bearer secret")
            .header("x-stream-protocol-version", "v4.channel.k8s.io")
            .body(Empty::<Bytes>::new());
        sender.send_request(request.expect("request")).await.expect("answer")
    }

    async fn spdy_refusal(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.spdy(method, path).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn websocket(
        &self,
        path: &str,
        protocols: &str,
    ) -> Result<(WebSocketStream<TlsStream<TcpStream>>, String), WsError> {
        let stream = connect(self.handle.socket_address().expect("bound"), None).await;
        let mut request = format!("ws://node{path}").into_client_request().expect("request");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("header"));
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await?;
        let protocol = answer.headers()["sec-websocket-protocol"].to_str().expect("text").to_owned();
        Ok((socket, protocol))
    }

    fn set_url(&self, url: impl Into<String>) {
        *self.agent.stream_url.lock().expect("lock") = url.into();
    }
}

/// A fake streaming server: takes one upgrade, checks its head, and hands the connection to `serve`.
async fn runtime<F>(
    head_has: &'static [&'static str],
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("head"));
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        for part in head_has {
            assert!(head.contains(part), "no {part:?} in {head}");
        }
        assert!(!head.contains("secret"), "credentials are not the runtime's business: {head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
            X-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("answer");
        serve(stream).await;
    });
    format!("http://{address}/stream/token")
}

/// Sends back what it gets, in capitals.
async fn shout(mut stream: TcpStream) {
    let mut data = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut data).await {
        stream.write_all(&data[..count].to_ascii_uppercase()).await.expect("write");
    }
}

const EXIT_3: &str = r#"{"status":"Failure","message":"command terminated with non-zero exit code",
    "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
// Streams in the order in which they are opened.
const ERROR: StreamId = StreamId(1);
const STDIN: StreamId = StreamId(3);
const STDOUT: StreamId = StreamId(5);
const STDERR: StreamId = StreamId(7);

/// The command `cat; echo done >&2; exit 3` over SPDY.
async fn cat(stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let mut decoder = Decoder::default();
    let mut data = vec![0; 4096];
    loop {
        let count = reader.read(&mut data).await.expect("read");
        assert!(count > 0, "the end of standard input comes before the end of the connection");
        decoder.push(&data[..count]);
        while let Some(frame) = decoder.next_frame().expect("frame") {
            let Frame::Data { stream: STDIN, data, is_last } = frame else { continue };
            let mut out = Vec::new();
            let encoder = Encoder::default();
            encoder.data(STDOUT, &data, End::More, &mut out);
            if is_last {
                encoder.data(STDERR, b"done\n", End::Last, &mut out);
                encoder.data(STDOUT, b"", End::Last, &mut out);
                encoder.data(ERROR, EXIT_3.as_bytes(), End::Last, &mut out);
            }
            writer.write_all(&out).await.expect("write");
            if is_last {
                return;
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_with_upstreams_codes_and_texts() {
    let (running, _directory) = running().await;
    let no_streams = "you must specify at least 1 of stdin, stdout, stderr";
    // Method, path, what the runtime says, code, text.
    let table = [
        ("POST", "/exec/default/web/main?command=ls", "", 400, no_streams),
        ("POST", "/exec/default/web/main?command=ls&output=true", "", 400, no_streams),
        ("GET", "/exec/default/web/main?error=1&tty=1", "", 400, no_streams),
        ("POST", "/attach/default/web/main", "", 400, no_streams),
        ("POST", "/exec/default/gone/main?output=1", "", 404, "pod does not exist"),
        ("POST", "/exec/other/web/main?output=1", "", 404, "pod does not exist"),
        ("POST", "/attach/default/gone/main?output=1", "", 404, "pod does not exist"),
        ("POST", "/portForward/default/gone", "", 404, "pod does not exist"),
        ("POST", "/portForward/default/web/other-uid", "", 404, "pod not found"),
        ("POST", "/attach/default/web/other-uid/main?output=1", "", 500, "pod web_default not found"),
        ("POST", "/exec/default/web/waiting?output=1", "", 500, "container not found (\"waiting\")"),
        (
            "POST",
            "/attach/default/web/waiting?output=1",
            "",
            500,
            "container waiting not found in pod web_default",
        ),
        ("POST", EXEC, "NotFound", 404, "rpc error: code = NotFound desc = no such container"),
        ("POST", EXEC, "ResourceExhausted", 429, "rpc error: code = ResourceExhausted desc = words"),
        ("POST", EXEC, "Unknown", 500, "rpc error: code = Unknown desc = words"),
        ("DELETE", EXEC, "", 405, "405: Method Not Allowed"),
        ("POST", "/exec/default/web", "", 404, "404: Page Not Found"),
    ];
    for (method, path, url, status, text) in table {
        running.set_url(url);
        assert_eq!(
            running.spdy_refusal(method, path).await,
            (status, text.to_owned()),
            "{method} {path} {url}"
        );
    }
    running.set_url("ResourceExhausted");
    assert_eq!(running.spdy("POST", EXEC).await.headers()["retry-after"], "60");
    for path in [EXEC, "/attach/default/web/main?output=1", "/portForward/default/web"] {
        let plain = running.ask_as(None, "POST", path).await;
        assert_eq!(
            (plain.status.as_u16(), plain.body.as_str()),
            (500, "Upgrade request required\n"),
            "{path}"
        );
    }
    running.set_url("http://127.0.0.1:1/token");
    let (status, text) = running.spdy_refusal("POST", EXEC).await;
    assert!(status == 500 && text.starts_with("error dialing backend: "), "{status} {text}");
}

#[tokio::test]
async fn run_answers_with_the_output_or_says_how_it_ended() {
    let (running, _directory) = running().await;
    let run = async |query: &str| {
        let answer = running.ask_as(None, "POST", &format!("/run/default/web/main{query}")).await;
        (answer.status.as_u16(), answer.body)
    };
    assert_eq!(run("?cmd=ls%20-l%20%20x").await, (200, r#"["ls", "-l", "", "x"]!"#.to_owned()));
    assert_eq!(run("?cmd=silent").await, (200, String::new()));
    assert_eq!(run("?cmd=fail%20a").await, (500, "command 'fail a' exited with 3: err".to_owned()));
    assert_eq!(run("?cmd=broken").await, (500, "rpc error: code = Unknown desc = no such file".to_owned()));
    let gone = running.ask_as(None, "POST", "/run/default/gone/main?cmd=ls").await;
    assert_eq!((gone.status.as_u16(), gone.body.as_str()), (404, "pod does not exist"));
    let get = running.ask_as(None, "GET", "/run/default/web/uid-web/main?cmd=ls").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn spdy_passes_byte_for_byte_and_the_request_tells_what_is_wanted() {
    let (running, _directory) = running().await;
    for (method, path) in [
        ("POST", EXEC),
        ("GET", "/exec/default/web/uid-web/main?command=a&command=b%20c&output=1&error=1&tty=1"),
        ("POST", "/attach/default/web/main?input=1&output=1&tty=1"),
        ("POST", "/portForward/default/web/uid-web"),
    ] {
        running.set_url(
            runtime(&["/stream/token http/1.1", "upgrade: spdy/3.1", "v4.channel.k8s.io"], shout).await,
        );
        let answer = running.spdy(method, path).await;
        assert_eq!(answer.status().as_u16(), 101, "{method} {path}");
        assert_eq!(answer.headers()["upgrade"], "SPDY/3.1");
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.expect("upgraded"));
        stream.write_all(b"hi").await.expect("write");
        let mut echo = [0; 2];
        stream.read_exact(&mut echo).await.expect("read");
        assert_eq!(&echo, b"HI");
    }
    let asked = running.agent.stream_requests.lock().expect("lock").clone();
    assert_eq!(
        (asked[0].command.clone(), asked[0].stderr, asked[0].tty),
        (vec!["cat".to_owned()], true, false)
    );
    assert_eq!(
        (asked[1].command.clone(), asked[1].stderr, asked[1].tty),
        (vec!["a".to_owned(), "b c".to_owned()], false, true)
    );
    assert!(asked[2].stdin && !asked[2].tty, "the container has no terminal, whatever the client says");
    assert_eq!(*running.agent.forwarded_ports.lock().expect("lock"), [Vec::<i32>::new()]);
}

/// All messages up to the orderly close, by channel.
async fn to_the_end(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> [Vec<u8>; 4] {
    let mut channels: [Vec<u8>; 4] = Default::default();
    loop {
        match tokio::time::timeout(SOON, socket.next()).await.expect("in time") {
            Some(Ok(Message::Binary(data))) => channels[usize::from(data[0])].extend_from_slice(&data[1..]),
            // kubectl takes any other end for an error, and forgets the status.
            Some(Ok(Message::Close(frame))) => {
                assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1000));
                return channels;
            }
            None => panic!("the connection broke"),
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn channels_of_a_web_socket_become_streams_of_spdy() {
    let (running, _directory) = running().await;
    running.set_url(runtime(&["post /stream/token http/1.1", "v4.channel.k8s.io"], cat).await);
    let (mut socket, protocol) =
        running.websocket(EXEC, "v5.channel.k8s.io, v4.channel.k8s.io").await.expect("upgraded");
    assert_eq!(protocol, "v5.channel.k8s.io");
    let first = socket.next().await.expect("message").expect("message");
    assert_eq!(
        first.into_data(),
        Bytes::from_static(&[1]),
        "an empty message shows that the connection is there"
    );
    let input = vec![b'x'; 300_000];
    for part in input.chunks(32 * 1024) {
        socket.send(Message::binary([&[0], part].concat())).await.expect("send");
    }
    // What has no place is ignored: a size without a terminal, an unknown channel, nothing at all.
    for odd in [&[4, b'{', b'}'][..], &[9, 1], &[]] {
        socket.send(Message::binary(odd.to_vec())).await.expect("send");
    }
    socket.send(Message::binary(vec![255, 0])).await.expect("send");
    let [_, stdout, stderr, status] = to_the_end(&mut socket).await;
    assert!(stdout == input, "{} bytes", stdout.len());
    assert_eq!(String::from_utf8_lossy(&stderr), "done\n");
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    let counted = running.get("/metrics").await.body;
    assert!(
        counted.contains("kubelet_websocket_streaming_requests_total{subresource=\"exec\"} 1"),
        "{counted}"
    );
}

#[tokio::test]
async fn a_runtime_that_fails_is_told_in_the_error_channel() {
    let (running, _directory) = running().await;
    running.set_url("http://127.0.0.1:1/token");
    let (mut socket, _) = running.websocket(EXEC, "v5.channel.k8s.io").await.expect("upgraded");
    let [.., status] = to_the_end(&mut socket).await;
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    assert_eq!((status["reason"].as_str(), status["code"].as_u64()), (Some("InternalError"), Some(500)));

    running.set_url(runtime(&[], async |stream| drop(stream)).await);
    let (mut socket, _) = running.websocket(EXEC, "v5.channel.k8s.io").await.expect("upgraded");
    let [.., status] = to_the_end(&mut socket).await;
    assert!(String::from_utf8_lossy(&status).contains("without the command's exit code"));
}

/// What clients must not do, and a client that goes: each ends the runtime's connection.
#[tokio::test]
async fn the_runtime_is_let_go_when_the_client_is_gone_or_makes_no_sense() {
    let (running, _directory) = running().await;
    let bad: [&[Message]; 4] = [
        &[Message::Close(None)],
        &[Message::binary(vec![255, 99])],
        &[Message::binary(vec![255])],
        &[Message::binary(vec![0; (1 << 20) + 1])],
    ];
    for messages in bad {
        let (ended, end) = tokio::sync::oneshot::channel();
        let url = runtime(&[], async |mut stream: TcpStream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            let _ = ended.send(());
        });
        running.set_url(url.await);
        let (mut socket, _) = running.websocket(EXEC, "v5.channel.k8s.io").await.expect("upgraded");
        for message in messages {
            // The server may be gone in the middle of a message that is too long.
            let _ = socket.send(message.clone()).await;
        }
        tokio::time::timeout(SOON, end).await.expect("in time").expect("ended");
    }
}

#[tokio::test]
async fn a_tunnel_carries_spdy_in_messages() {
    let (running, _directory) = running().await;
    running.set_url(
        runtime(&["upgrade: spdy/3.1", "x-stream-protocol-version: portforward.k8s.io"], shout).await,
    );
    let (mut socket, protocol) =
        running.websocket("/portForward/default/web", "SPDY/3.1+portforward.k8s.io").await.expect("upgraded");
    assert_eq!(protocol, "SPDY/3.1+portforward.k8s.io");
    let mut back = Vec::new();
    for _ in 0..20 {
        socket.send(Message::binary(vec![b'a'; 10_000])).await.expect("send");
    }
    while back.len() < 200_000 {
        let message = tokio::time::timeout(SOON, socket.next()).await.expect("in time").expect("more");
        back.extend_from_slice(&message.expect("message").into_data());
    }
    assert!(back.iter().all(|byte| *byte == b'A') && back.len() == 200_000);
    socket.send(Message::text("no")).await.expect("send");
    let end = tokio::time::timeout(SOON, socket.next()).await.expect("in time");
    assert!(!matches!(end, Some(Ok(Message::Binary(_)))), "text ends a tunnel: {end:?}");

    let refused = running.websocket("/portForward/default/web?port=x", "v4.channel.k8s.io").await;
    let Err(WsError::Http(answer)) = refused else { panic!("must be refused") };
    assert_eq!(answer.status().as_u16(), 400);
}

#[tokio::test]
async fn other_web_sockets_are_the_runtimes() {
    let (running, directory) = running().await;
    let answer_v4 = async |mut stream: TcpStream| {
        let _ = stream.write_all(b"raw").await;
        let _ = stream.read_u8().await;
    };
    running.set_url(
        runtime(&["upgrade: websocket", "sec-websocket-protocol: v4.channel.k8s.io"], answer_v4).await,
    );
    // The fake answers with SPDY's headers, so the client gives up: what matters is what it was asked.
    assert!(running.websocket(EXEC, "v4.channel.k8s.io").await.is_err());

    let passing = HttpsOptions { websockets: WebSockets::PassedOn, ..options(directory.path()) };
    let running = Running::new(passing).await;
    running.set_url(
        runtime(&["upgrade: websocket", "sec-websocket-protocol: v5.channel.k8s.io"], answer_v4).await,
    );
    assert!(running.websocket(EXEC, "v5.channel.k8s.io").await.is_err());
    running.set_url(runtime(&["upgrade: websocket"], answer_v4).await);
    assert!(
        running
            .websocket("/portForward/default/web?port=80,81", "SPDY/3.1+portforward.k8s.io")
            .await
            .is_err()
    );
    assert_eq!(*running.agent.forwarded_ports.lock().expect("lock"), [vec![80, 81]]);
}

#[tokio::test]
async fn streams_are_counted_and_freed() {
    let streams = Streams::new(Tasks::default(), Duration::ZERO);
    let mut held = Vec::new();
    while let Ok(slot) = streams.slot() {
        held.push(slot);
    }
    assert_eq!(held.len(), MAX_CONNECTIONS);
    held.pop();
    assert!(streams.slot().is_ok());
}
