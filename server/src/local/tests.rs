//! The local socket over real connections: who may, what is answered, streams passed through.

use std::collections::BTreeMap;
use std::time::Duration;

use core_status::Explanation;
use core_types::local::{EventsLine, NodeReport, PodReports, WatchLine};
use core_types::view::NodeView;
use core_types::{EventRecord, EventType, ObjectRef, PodKey};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{Answer, FakeAgent, NOW, ask, pod_view, view_of};

struct Running {
    agent: Arc<FakeAgent>,
    handle: ServerHandle,
    directory: tempfile::TempDir,
}

impl Running {
    async fn new() -> Self {
        let agent = FakeAgent::new();
        let directory = tempfile::tempdir().expect("directory");
        let handle = start(&directory.path().join("run/agent.sock"), agent.context()).await.expect("starts");
        Self { agent, handle, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/agent.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.expect("connect")
    }

    async fn ask(&self, method: &str, path: &str, body: &'static str) -> Answer {
        ask(self.connect().await, method, path, body).await
    }
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_a_stale_one_is_replaced() {
    let running = Running::new().await;
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&running.socket()), 0o600);
    assert_eq!(mode(running.socket().parent().expect("directory")), 0o755);

    let second = start(&running.socket(), running.agent.context()).await.expect_err("in use");
    assert!(matches!(second, ServeError::SocketInUse { .. }), "{second}");

    let Running { agent, handle, directory } = running;
    handle.shutdown(Duration::from_secs(5)).await;
    let socket = directory.path().join("run/agent.sock");
    assert!(socket.exists(), "a dead agent leaves its socket");
    let again = start(&socket, agent.context()).await.expect("replaced");
    let stream = UnixStream::connect(&socket).await.expect("connect");
    assert_eq!(ask(stream, "GET", "/v1/node", "").await.status.as_u16(), 200);
    again.shutdown(Duration::ZERO).await;
}

#[test]
fn only_root_and_the_own_user_may_connect() {
    assert!(may_connect(0, 1000) && may_connect(1000, 1000) && may_connect(0, 0));
    assert!(!may_connect(1000, 0) && !may_connect(1001, 1000));
}

#[tokio::test]
async fn pods_and_node_are_reported() {
    let running = Running::new().await;
    let pods: PodReports<Explanation> =
        serde_json::from_str(&running.ask("GET", "/v1/pods", "").await.body).expect("reports");
    let web = &pods.pods[0];
    assert_eq!(web.pod.metadata.name.as_deref(), Some("web"));
    assert_eq!(web.pod.status.as_ref().expect("status").phase.as_deref(), Some("Running"));
    assert_eq!(web.explanation.key.to_string(), "default/web");
    let node: NodeReport =
        serde_json::from_str(&running.ask("GET", "/v1/node", "").await.body).expect("report");
    assert_eq!((node.node_name.as_str(), node.runtime.ready), ("node-1", false));
    let unknown = running.ask("GET", "/v2/pods", "").await;
    assert_eq!(unknown.status.as_u16(), 404);
    assert_eq!(unknown.json()["message"], "GET /v2/pods is not known to this agent");
}

fn event(name: &str) -> Arc<EventRecord> {
    Arc::new(EventRecord {
        name: name.into(),
        object: ObjectRef::pod(&PodKey::new("default", "web"), &"uid-web".into()),
        event_type: EventType::Normal,
        reason: "Started".into(),
        message: "Container started".into(),
        first_seen: NOW,
        last_seen: NOW,
        count: 1,
        annotations: std::collections::BTreeMap::new(),
    })
}

#[tokio::test]
async fn events_are_read_once_or_followed() {
    let running = Running::new().await;
    running.agent.events.send_modify(|events| events.push(event("web.1")));
    let once: EventsLine =
        serde_json::from_str(&running.ask("GET", "/v1/events", "").await.body).expect("a line");
    assert_eq!((once.events[0].name.as_str(), once.events.len(), once.now), ("web.1", 1, NOW));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(running.connect().await))
            .await
            .expect("handshake");
    tokio::spawn(connection);
    let request = Request::get("/v1/events?follow=true").body(Empty::<bytes::Bytes>::new()).expect("request");
    let mut body = sender.send_request(request).await.expect("answer").into_body();
    let mut next = async || {
        let data = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        serde_json::from_slice::<EventsLine>(&data).expect("a line")
    };
    assert_eq!(next().await.events.len(), 1, "what there is");
    running.agent.events.send_modify(|events| events.push(event("web.2")));
    assert_eq!(next().await.events[0].name, "web.2", "and what comes");
}

#[tokio::test]
async fn manifests_are_taken_and_pods_removed() {
    let running = Running::new().await;
    let applied = running.ask("POST", "/v1/pods", "kind: Pod").await;
    assert_eq!(applied.json()[0]["outcome"], "created");
    assert_eq!(&running.agent.applied.lock().expect("lock")[0][..], b"kind: Pod");
    let bad = running.ask("POST", "/v1/pods", "bad").await;
    assert_eq!((bad.status.as_u16(), bad.json()["message"].as_str()), (400, Some("line 1: not a pod")));
    let huge = ask(running.connect().await, "POST", "/v1/pods", vec![b'x'; (10 << 20) + 1]).await;
    assert_eq!(huge.status.as_u16(), 413);
    assert_eq!(running.ask("DELETE", "/v1/pods/default/web", "").await.json()["uid"], "uid-web");
    assert_eq!(running.ask("DELETE", "/v1/pods/default/gone", "").await.status.as_u16(), 404);
}

#[tokio::test]
async fn logs_are_served_and_refused_in_json() {
    let running = Running::new().await;
    assert_eq!(running.ask("GET", "/v1/logs/default/web/main", "").await.body, "hello\n");
    let refused = running.ask("GET", "/v1/logs/default/gone/main", "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["message"].as_str()),
        (404, Some("pod \"gone\" does not exist"))
    );
}

#[tokio::test]
async fn a_watch_sends_everything_first_and_then_what_changes() {
    let running = Running::new().await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(running.connect().await))
            .await
            .expect("handshake");
    tokio::spawn(connection);
    let request = Request::get("/v1/watch").body(Empty::<bytes::Bytes>::new()).expect("request");
    let mut body = sender.send_request(request).await.expect("answer").into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("in time");
        let line = frame.expect("more").expect("frame").into_data().expect("data");
        serde_json::from_slice::<WatchLine<Explanation>>(&line).expect("line")
    };
    assert_eq!(next().await.pods.len(), 1);

    let mut view = NodeView::clone(&running.agent.view.borrow());
    let added = view_of(vec![pod_view("default", "second")]);
    Arc::make_mut(&mut view.pods).extend(BTreeMap::clone(&added.pods));
    running.agent.view.send_replace(Arc::new(view));
    let line = next().await;
    assert_eq!(line.pods[0].pod.metadata.name.as_deref(), Some("second"));
    assert_eq!((line.pods.len(), line.removed.len()), (1, 0));

    running.agent.view.send_replace(Arc::new(NodeView::default()));
    let line = next().await;
    assert_eq!((line.pods.len(), line.removed.len()), (0, 2));
}

/// Answers one upgrade and then sends back what it gets, in capitals.
async fn fake_streaming_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("head"));
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        assert!(head.starts_with("post /exec/token http/1.1\r\n"), "{head}");
        assert!(head.contains("x-stream-protocol-version: v4.channel.k8s.io"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("answer");
        let mut data = [0; 64];
        loop {
            match stream.read(&mut data).await.expect("read") {
                0 => return,
                count => stream.write_all(&data[..count].to_ascii_uppercase()).await.expect("write"),
            }
        }
    });
    format!("http://{address}/exec/token")
}

async fn exec(running: &Running, path: &str) -> http::Response<hyper::body::Incoming> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(running.connect().await))
            .await
            .expect("handshake");
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(path)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v4.channel.k8s.io")
        .body(Empty::<bytes::Bytes>::new());
    sender.send_request(request.expect("request")).await.expect("answer")
}

#[tokio::test]
async fn exec_is_passed_to_the_runtime_byte_for_byte() {
    let running = Running::new().await;
    *running.agent.stream_url.lock().expect("lock") = fake_streaming_server().await;
    let response = exec(&running, "/v1/exec/default/web/main?command=cat&input=1&output=1").await;
    assert_eq!(response.status().as_u16(), 101);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"));
    stream.write_all(b"hi").await.expect("write");
    let mut echo = [0; 2];
    stream.read_exact(&mut echo).await.expect("read");
    assert_eq!(&echo, b"HI");
    stream.shutdown().await.expect("close");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("end");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn exec_that_cannot_be_says_why() {
    let running = Running::new().await;
    let message = async |path: &str| {
        let response = exec(&running, path).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        let report: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        (status, report["message"].as_str().expect("message").to_owned())
    };
    let (status, text) = message("/v1/exec/default/web/waiting?command=ls&output=1").await;
    assert_eq!((status, text.as_str()), (409, "container \"waiting\" of pod default/web is not running"));
    let (_, text) = message("/v1/exec/default/web/gone?command=ls&output=1").await;
    assert_eq!(text, "pod default/web has no container \"gone\": it has main, waiting");
    let (status, _) = message("/v1/exec/default/web/main?command=ls").await;
    assert_eq!(status, 400);
    *running.agent.stream_url.lock().expect("lock") = "http://127.0.0.1:1/exec/token".to_owned();
    let (status, text) = message("/v1/exec/default/web/main?command=ls&output=1").await;
    assert_eq!(status, 500);
    assert!(
        text.starts_with("error dialing backend: the container runtime's streaming server at 127.0.0.1:1: "),
        "{text}"
    );
    let plain = running.ask("POST", "/v1/exec/default/web/main?command=ls&output=1", "").await;
    assert_eq!(plain.status.as_u16(), 500, "a stream without an upgrade: {}", plain.body);
}
