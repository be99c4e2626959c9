//! cAdvisor's metrics over real sockets, on a reading that is given.

use std::sync::Arc;

use core_stats::{FilesystemSample, LayerUse, LayersReading};
use tokio::net::TcpStream;

use super::*;
use crate::testing::{ANY_PORT, Answer, FakeAgent, NOW, ask};
use crate::{ServerContext, ServerHandle, read_only};

struct Running {
    agent: Arc<FakeAgent>,
    handle: ServerHandle,
    context: ServerContext,
}

impl Running {
    async fn new() -> Self {
        let agent = FakeAgent::new();
        let context = agent.context();
        let handle = start(ANY_PORT, context.clone()).await.expect("starts");
        Self { agent, handle, context }
    }

    async fn get(&self, path: &str) -> Answer {
        ask_at(&self.handle, path).await
    }
}

async fn ask_at(handle: &ServerHandle, path: &str) -> Answer {
    let address = handle.socket_address().expect("bound");
    ask(TcpStream::connect(address).await.expect("connect"), "GET", path, "").await
}

fn layers_of(id: &str) -> LayersReading {
    let layer = LayerUse { taken_at: NOW, mountpoint: "/layers".into(), bytes: Some(4096), inodes: None };
    let filesystem = FilesystemSample { device: "/dev/vda1".into(), ..FilesystemSample::default() };
    LayersReading {
        layers: [(id.to_owned(), layer)].into(),
        filesystems: [("/layers".to_owned(), filesystem)].into(),
        problems: Vec::new(),
    }
}

const OF_THE_CONTAINER: &str = "container_cpu_usage_seconds_total{container=\"main\",cpu=\"total\",\
    id=\"/kubepods/besteffort/poduid-web/c1\",image=\"app:1\",name=\"c1\",namespace=\"default\",pod=\"web\"} 1.5 1800000000000\n";

#[tokio::test]
async fn the_port_serves_metrics_and_health_and_nothing_else() {
    let running = Running::new().await;
    *running.agent.layers.lock().expect("lock") = layers_of("c1");
    let answer = running.get("/metrics").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for want in [
        "# TYPE container_cpu_usage_seconds_total counter\n",
        OF_THE_CONTAINER,
        "container_last_seen{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"} 1800000000 1800000000000\n",
        "container_fs_usage_bytes{container=\"main\",device=\"/dev/vda1\",",
        "container_scrape_error 0\n",
        "machine_cpu_cores{boot_id=\"\",machine_id=\"\",system_uuid=\"\"} 2\n",
    ] {
        assert!(answer.body.contains(want), "{want} is missing in\n{}", answer.body);
    }
    assert_eq!(running.get("/metrics/cadvisor").await.body, answer.body);
    assert_eq!(running.get("/healthz").await.body, "ok");
    for path in ["/pods", "/spec/", "/metrics/else", "/containerLogs/default/web/main", "/"] {
        assert_eq!(running.get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn listeners_say_the_same_and_what_is_missing_is_told() {
    let running = Running::new().await;
    let read_only = read_only::start(ANY_PORT, running.context.clone()).await.expect("starts");
    let answer = ask_at(&read_only, "/metrics/cadvisor").await;
    assert!(answer.body.contains(OF_THE_CONTAINER), "{}", answer.body);
    assert!(!answer.body.contains("container_fs_usage_bytes"), "{}", answer.body);
    assert_eq!(running.get("/metrics").await.body, answer.body);

    running.agent.usage.lock().expect("lock").missing.push("default/web".into());
    assert!(running.get("/metrics").await.body.contains("container_scrape_error 1\n"));
    running.agent.usage.lock().expect("lock").missing.clear();
    running.agent.layers.lock().expect("lock").problems.push("writable layers: refused".into());
    assert!(running.get("/metrics").await.body.contains("container_scrape_error 1\n"));
}
