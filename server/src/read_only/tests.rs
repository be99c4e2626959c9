//! 10255 over real sockets: texts, metrics, and that nothing else is served.

use std::sync::atomic::Ordering;
use std::time::Duration;

use core_types::view::NodeView;
use tokio::net::TcpStream;

use super::*;
use crate::testing::{ANY_PORT, Answer, FakeAgent, ask};

struct Running {
    agent: Arc<FakeAgent>,
    handle: ServerHandle,
}

impl Running {
    async fn new() -> Self {
        let agent = FakeAgent::new();
        let handle = start(ANY_PORT, agent.context()).await.expect("starts");
        Self { agent, handle }
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let address = self.handle.socket_address().expect("bound");
        ask(TcpStream::connect(address).await.expect("connect"), method, path, "").await
    }
}

#[tokio::test]
async fn health_texts_are_upstreams() {
    let running = Running::new().await;
    let table = [
        ("/healthz", "ok"),
        ("/healthz?verbose", "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"),
        (
            "/healthz?verbose&exclude=ping&exclude=nothing",
            "[+]ping excluded: ok\n[+]log ok\n[+]syncloop ok\n\
             warn: some health checks cannot be excluded: no matches for \"nothing\"\nhealthz check passed\n",
        ),
        ("/healthz/syncloop", "ok"),
    ];
    for (path, want) in table {
        let answer = running.ask("GET", path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, want), "{path}");
    }

    running.agent.mono_secs.store(1_301, Ordering::SeqCst);
    let failing = running.ask("GET", "/healthz").await;
    assert_eq!(failing.status.as_u16(), 500);
    assert_eq!(
        failing.body,
        "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n"
    );
    let one = running.ask("GET", "/healthz/syncloop").await;
    assert_eq!(one.body, "internal server error: sync Loop took longer than expected\n");
    assert_eq!(running.ask("GET", "/healthz?exclude=syncloop").await.body, "ok");
}

#[tokio::test]
async fn pods_are_a_v1_pod_list() {
    let running = Running::new().await;
    let answer = running.ask("GET", "/pods").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(
        answer.body.starts_with(r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":"#)
    );
    let list = answer.json();
    assert_eq!(list["items"][0]["metadata"]["name"], "web");
    assert_eq!(list["items"][0]["status"]["phase"], "Running");
    assert_eq!(list["items"][0].get("kind"), None);

    running.agent.view.send_replace(Arc::new(NodeView::default()));
    let empty = running.ask("GET", "/pods").await.body;
    assert_eq!(empty, r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}"#);
}

#[tokio::test]
async fn nothing_but_the_public_routes_is_served() {
    let running = Running::new().await;
    for path in [
        "/run/a/b/c",
        "/exec/a/b/c",
        "/attach/a/b/c",
        "/portForward/a/b",
        "/containerLogs/default/web/main",
        "/runningpods/",
        "/debug/pprof/heap",
        "/logs/",
    ] {
        let answer = running.ask("GET", path).await;
        let want = (405, "Debug endpoints are disabled.\n");
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), want, "{path}");
    }
    for path in ["/configz", "/stats/else", "/metrics/else", "/nothing"] {
        assert_eq!(running.ask("GET", path).await.status.as_u16(), 404, "{path}");
    }
    let wrong = running.ask("POST", "/pods").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET"));
    assert_eq!(running.ask("GET", "/spec/").await.json()["num_cores"], 2);
}

#[tokio::test]
async fn metrics_hold_the_node_the_process_and_the_requests() {
    let running = Running::new().await;
    running.ask("GET", "/pods").await;
    running.ask("PURGE", "/whatever").await;
    let text = running.ask("GET", "/metrics").await.body;
    for want in [
        "kubelet_node_name{node=\"node-1\"} 1",
        "kubelet_running_pods 1",
        "kubelet_running_containers{container_state=\"running\"} 1",
        "kubelet_running_containers{container_state=\"exited\"} 1",
        "process_resident_memory_bytes 4096",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.5",
        "kubernetes_build_info{major=\"1\",minor=\"37\",git_version=\"v1.37.2\"",
        "kubelet_http_requests_total{method=\"GET\",path=\"pods\",server_type=\"readonly\",long_running=\"false\"} 1",
        "kubelet_http_requests_total{method=\"other\",path=\"other\",server_type=\"readonly\",long_running=\"false\"} 1",
        "kubelet_http_inflight_requests{method=\"GET\",path=\"metrics\",server_type=\"readonly\",long_running=\"false\"} 1",
        "kubelet_http_requests_duration_seconds_count{method=\"GET\",path=\"pods\",server_type=\"readonly\",long_running=\"false\"} 1",
    ] {
        assert!(text.contains(want), "{want} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_huge_head_is_refused_and_the_listener_goes_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = Running::new().await;
    let mut stream =
        TcpStream::connect(running.handle.socket_address().expect("bound")).await.expect("connect");
    let head = format!("GET /pods HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(2 << 20));
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(running.ask("GET", "/healthz").await.body, "ok");
    running.handle.shutdown(Duration::from_secs(5)).await;
}
