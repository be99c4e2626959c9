//! A fake agent behind the real listeners, and a small HTTP client, for this crate's tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use core_metrics::Registry;
use core_stats::{
    CgroupLayout, CgroupSample, CpuSample, DetailReading, LayersReading, Measured, StorageReading,
    SummaryFacts, UsageReading, VersionFacts,
};
use core_types::api::{Pod, PodStatus};
use core_types::local::NodePlaces;
use core_types::runtime::{
    CgroupDriver, ContainerState, ContainerStatus, ExecOutput, SandboxState, SandboxStatus, SandboxSummary,
    StreamRequest,
};
use core_types::view::{Lifecycle, NodeView, PodSource, PodView};
use core_types::{
    ContainerId, EventRecord, MonoTime, ObservedContainer, ObservedPod, ObservedSandbox, PodKey, PodUid,
    SandboxId, WallTime,
};
use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use ports::control::{AppliedPod, EventNews};
use ports::logs::{LogChunks, LogError, LogFollow, LogRequest};
use ports::process::ProcessStats;
use ports::runtime::{RuntimeError, RuntimeResult};
use ports::{
    Clock, ContainerLogs, Control, ControlError, FileError, Journal, NodeFile, NodeFiles, OwnProcess,
    Readings,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::usage::UsagePages;
use crate::{NodeFacts, ServerContext, SplitLogStreams};

/// Loopback, any port.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The fake clock's wall time.
pub(crate) const NOW: WallTime = WallTime::from_unix_secs(1_800_000_000);

/// The fake agent.
pub(crate) struct FakeAgent {
    pub(crate) view: watch::Sender<Arc<NodeView>>,
    pub(crate) events: watch::Sender<Vec<Arc<EventRecord>>>,
    pub(crate) stream_url: Mutex<String>,
    pub(crate) stream_requests: Mutex<Vec<StreamRequest>>,
    pub(crate) forwarded_ports: Mutex<Vec<Vec<i32>>>,
    pub(crate) checkpoints: Mutex<Vec<(String, Duration)>>,
    pub(crate) applied: Mutex<Vec<Bytes>>,
    pub(crate) mono_secs: AtomicU64,
    pub(crate) log_requests: Mutex<Vec<LogRequest>>,
    pub(crate) usage: Mutex<UsageReading>,
    pub(crate) layers: Mutex<LayersReading>,
    pub(crate) storage: Mutex<StorageReading>,
}

fn broken(call: &'static str, code: &str, message: &str) -> RuntimeError {
    RuntimeError::Failed { call, code: code.into(), message: message.into() }
}

impl FakeAgent {
    /// What the runtime answers when asked for a stream: a URL, or the name of a gRPC code.
    fn url(&self) -> RuntimeResult<String> {
        let url = self.stream_url.lock().expect("lock").clone();
        match url.as_str() {
            "NotFound" => Err(RuntimeError::NotFound { call: "Exec", message: "no such container".into() }),
            code @ ("ResourceExhausted" | "Unknown") => Err(broken("Exec", code, "words")),
            _ => Ok(url),
        }
    }

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            view: watch::Sender::new(Arc::new(view_of(vec![pod_view("default", "web")]))),
            events: watch::Sender::new(Vec::new()),
            stream_url: Mutex::default(),
            stream_requests: Mutex::default(),
            forwarded_ports: Mutex::default(),
            checkpoints: Mutex::default(),
            applied: Mutex::default(),
            mono_secs: AtomicU64::new(1_000),
            log_requests: Mutex::default(),
            usage: Mutex::new(usage()),
            layers: Mutex::default(),
            storage: Mutex::default(),
        })
    }

    pub(crate) fn context(self: &Arc<Self>) -> ServerContext {
        ServerContext {
            control: self.clone(),
            clock: self.clone(),
            logs: self.clone(),
            process: self.clone(),
            registry: Registry::new(),
            probe_registry: Registry::new(),
            health_registry: Registry::new(),
            usage: UsagePages {
                readings: self.clone(),
                node: SummaryFacts { node_name: "node-1".into(), booted_at: NOW, started_at: NOW },
                machine: serde_json::from_str(r#"{ "num_cores": 2 }"#).expect("facts"),
                version: VersionFacts::default(),
            },
            facts: Arc::new(NodeFacts {
                node_name: "node-1".into(),
                version: "v1.37.2".into(),
                sync_frequency: Duration::from_secs(60),
                stream_idle_limit: Duration::from_secs(4 * 3600),
                split_log_streams: SplitLogStreams::Refused,
                machine_info: serde_json::json!({ "num_cores": 2 }),
                places: NodePlaces::default(),
                configuration: serde_json::json!({ "kind": "KubeletConfiguration" }),
            }),
        }
    }
}

#[async_trait]
impl Control for FakeAgent {
    async fn eviction_outlook(&self) -> core_types::pressure::EvictionOutlook {
        core_types::pressure::EvictionOutlook::default()
    }

    fn view(&self) -> Arc<NodeView> {
        self.view.borrow().clone()
    }

    async fn changed(&self) {
        let _ = self.view.subscribe().changed().await;
    }

    async fn events_since(&self, revision: u64) -> EventNews {
        let events = self.events.borrow();
        let newest = events.len() as u64;
        let from = usize::try_from(revision).map_or(events.len(), |from| from.min(events.len()));
        EventNews { events: events[from..].to_vec(), revision: newest }
    }

    async fn events_after(&self, revision: u64) {
        let _ = self.events.subscribe().wait_for(|events| events.len() as u64 > revision).await;
    }

    async fn apply(&self, manifests: Bytes) -> Result<Vec<AppliedPod>, ControlError> {
        if manifests.starts_with(b"bad") {
            return Err(ControlError::Invalid("line 1: not a pod".into()));
        }
        self.applied.lock().expect("lock").push(manifests);
        let key = PodKey::new("default", "web");
        Ok(vec![AppliedPod { key, uid: "uid-web".into(), outcome: "created".into(), generation: 1 }])
    }

    async fn resize(&self, manifests: Bytes) -> Result<Vec<AppliedPod>, ControlError> {
        self.applied.lock().expect("lock").push(manifests);
        let key = PodKey::new("default", "web");
        Ok(vec![AppliedPod { key, uid: "uid-web".into(), outcome: "resized".into(), generation: 2 }])
    }

    async fn remove(&self, key: &PodKey) -> Result<PodUid, ControlError> {
        match &*key.name {
            "web" => Ok("uid-web".into()),
            _ => Err(ControlError::NotFound(format!("pod {key} does not exist"))),
        }
    }

    async fn exec_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        assert_eq!(id.as_str(), "c1");
        self.stream_requests.lock().expect("lock").push(request.clone());
        self.url()
    }

    async fn attach_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        assert_eq!(id.as_str(), "c1");
        self.stream_requests.lock().expect("lock").push(request.clone());
        self.url()
    }

    async fn port_forward_url(&self, id: &SandboxId, ports: &[i32]) -> RuntimeResult<String> {
        assert_eq!(id.as_str(), "s1");
        self.forwarded_ports.lock().expect("lock").push(ports.to_vec());
        self.url()
    }

    async fn checkpoint(&self, id: &ContainerId, location: &str, timeout: Duration) -> RuntimeResult<()> {
        assert_eq!(id.as_str(), "c1");
        self.checkpoints.lock().expect("lock").push((location.to_owned(), timeout));
        self.url().map(drop)
    }

    async fn exec(&self, id: &ContainerId, command: &[String]) -> RuntimeResult<ExecOutput> {
        assert_eq!(id.as_str(), "c1");
        match command.first().map(String::as_str) {
            Some("fail") => Ok(ExecOutput { stdout: "out".into(), stderr: "err".into(), exit_code: 3 }),
            Some("silent") => Ok(ExecOutput { stdout: Vec::new(), stderr: Vec::new(), exit_code: 0 }),
            Some("broken") => Err(broken("ExecSync", "Unknown", "no such file")),
            _ => Ok(ExecOutput { stdout: format!("{command:?}").into(), stderr: "!".into(), exit_code: 0 }),
        }
    }
}

/// A file, a directory, and what the checks of a path refuse; of the archives of `full` there are ten.
#[async_trait]
impl NodeFiles for FakeAgent {
    async fn open(&self, path: &str) -> Result<Option<NodeFile>, FileError> {
        let names = |names: &[&str]| {
            let full = (0..10).map(|at| format!("checkpoint-full_default-main-{at}.tar"));
            NodeFile::Directory(names.iter().map(|name| (*name).to_owned()).chain(full).collect())
        };
        Ok(match path {
            "" => Some(names(&["<a & b>.log", "pods/"])),
            "app.log" | "foo.log" | "bar/bar.log" => {
                let text = Bytes::from(format!("text of {path}\n"));
                let size_bytes = text.len() as u64;
                let content = futures_util::stream::iter([Ok(text)]).boxed();
                Some(NodeFile::File { size_bytes, modified: NOW, content })
            }
            "bar" => Some(NodeFile::Directory(Vec::new())),
            path if path.contains("..") => {
                let problem = "path escapes from parent".into();
                return Err(FileError::Refused { path: path.into(), problem });
            }
            _ => None,
        })
    }
}

/// Knows `kubelet`, and prints the arguments it gets.
#[async_trait]
impl Journal for FakeAgent {
    async fn knows(&self, service: &str) -> bool {
        service == "kubelet"
    }

    async fn read(&self, arguments: Vec<String>, _: Duration) -> std::io::Result<ports::node_files::Bytes> {
        let text = format!("journal {}\n", arguments.join(" "));
        Ok(futures_util::stream::iter([Ok(Bytes::from(text))]).boxed())
    }
}

impl crate::https::LogVerbosity for FakeAgent {
    fn set(&self, _: u32) {}
}

impl Clock for FakeAgent {
    fn now(&self) -> MonoTime {
        MonoTime::from_secs(self.mono_secs.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        NOW
    }
}

impl OwnProcess for FakeAgent {
    fn stats(&self) -> Option<ProcessStats> {
        Some(ProcessStats {
            cpu_seconds: 1.5,
            resident_memory_bytes: 4096,
            open_fds: 7,
            ..ProcessStats::default()
        })
    }
}

#[async_trait]
impl Readings for FakeAgent {
    async fn usage(&self) -> Arc<UsageReading> {
        Arc::new(self.usage.lock().expect("lock").clone())
    }

    async fn layers(&self) -> Arc<LayersReading> {
        Arc::new(self.layers.lock().expect("lock").clone())
    }

    async fn details(&self) -> Arc<DetailReading> {
        Arc::default()
    }

    async fn storage(&self) -> Arc<StorageReading> {
        Arc::new(self.storage.lock().expect("lock").clone())
    }
}

/// The machine, the pod `web`, its sandbox and its container.
fn usage() -> UsageReading {
    let groups = core_stats::groups(
        &view_of(vec![pod_view("default", "web")]),
        &CgroupLayout { root: "/".into(), driver: CgroupDriver::Cgroupfs, daemons: Vec::new() },
    );
    let cpu = Some(CpuSample { usage_nanos: 1_500_000_000, ..CpuSample::default() });
    let sample = CgroupSample { taken_at: NOW, cpu, ..CgroupSample::default() };
    let subjects = groups.into_iter().flat_map(|group| group.subjects);
    let measured = subjects.map(|subject| Measured { subject, sample: sample.clone(), cpu_nano_cores: None });
    UsageReading { measured: measured.collect(), ..UsageReading::default() }
}

/// One line; a follower gets a second one and then waits until the container does not run.
#[async_trait]
impl ContainerLogs for FakeAgent {
    async fn open(&self, request: LogRequest) -> Result<LogChunks, LogError> {
        self.log_requests.lock().expect("lock").push(request.clone());
        if request.path.ends_with("missing.log") {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(LogError::Resolve { path: request.path, source });
        }
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"hello\n"))]);
        Ok(match request.follow {
            LogFollow::No => first.boxed(),
            LogFollow::WhileRunning(running) => {
                let more = futures_util::stream::unfold(running, |running| async move {
                    while running() {
                        tokio::task::yield_now().await;
                    }
                    None
                });
                first.chain(more).boxed()
            }
        })
    }
}

/// A view of these pods.
pub(crate) fn view_of(pods: Vec<(PodView, ObservedPod)>) -> NodeView {
    let (pods, observed): (BTreeMap<_, _>, BTreeMap<_, _>) = pods
        .into_iter()
        .map(|(pod, observed)| {
            let uid = observed.uid.clone();
            ((uid.clone(), Arc::new(pod)), (uid, Arc::new(observed)))
        })
        .unzip();
    NodeView {
        pods: Arc::new(pods),
        observed: Arc::new(observed),
        sync_loop_alive: MonoTime::from_secs(1_000),
        ..NodeView::default()
    }
}

/// A running pod with one container `main` (instance `c1`, log `/logs/c1.log`) whose last instance was `c0`.
pub(crate) fn pod_view(namespace: &str, name: &str) -> (PodView, ObservedPod) {
    let uid = format!("uid-{name}");
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": { "namespace": namespace, "name": name, "uid": uid },
        "spec": { "containers": [{ "name": "main", "image": "app:1" }, { "name": "waiting", "image": "app:2" }] },
    }))
    .expect("pod");
    let status: PodStatus = serde_json::from_value(serde_json::json!({
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "main", "ready": true, "restartCount": 1, "image": "app:1", "imageID": "",
                "containerID": "containerd://c1", "state": { "running": {} },
                "lastState": { "terminated": { "exitCode": 1, "containerID": "containerd://c0" } },
            },
            {
                "name": "waiting", "ready": false, "restartCount": 0, "image": "app:2", "imageID": "",
                "state": { "waiting": { "reason": "ImagePullBackOff" } },
            },
        ],
    }))
    .expect("status");
    let view = PodView {
        pod: Arc::new(pod),
        status: Arc::new(status),
        source: Some(PodSource::File),
        lifecycle: Lifecycle::Syncing,
        activity: None,
        problem: None,
        next_retry: None,
        events: Arc::new([]),
        is_observed: true,
        is_released: false,
        is_wanted: true,
    };
    (view, observed(namespace, name, &uid))
}

fn observed(namespace: &str, name: &str, uid: &str) -> ObservedPod {
    let mut pod = ObservedPod::empty(uid.into(), PodKey::new(namespace, name), MonoTime::from_secs(1));
    pod.sandboxes.push(ObservedSandbox(SandboxStatus {
        summary: SandboxSummary {
            id: "s1".into(),
            name: name.into(),
            namespace: namespace.into(),
            uid: uid.into(),
            attempt: 0,
            state: SandboxState::Ready,
            created_at: NOW,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        },
        ips: vec!["10.0.0.2".into()],
        host_network: false,
    }));
    pod.containers.push(observed_container("c1", ContainerState::Running));
    pod.containers.push(observed_container("c0", ContainerState::Exited));
    pod
}

fn observed_container(id: &str, state: ContainerState) -> ObservedContainer {
    ObservedContainer {
        sandbox_id: "s1".into(),
        termination_message: String::new(),
        status: ContainerStatus {
            id: id.into(),
            name: "main".into(),
            attempt: 0,
            state,
            created_at: NOW,
            started_at: NOW,
            finished_at: WallTime::default(),
            exit_code: 0,
            image: "app:1".into(),
            image_ref: String::new(),
            image_id: String::new(),
            reason: String::new(),
            message: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            mounts: Vec::new(),
            log_path: format!("/logs/{id}.log"),
            resources: None,
            process: Default::default(),
        },
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends one request over a connection.
pub(crate) async fn ask<I>(io: I, method: &str, path: &str, body: impl Into<Bytes>) -> Answer
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.expect("handshake");
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", "node").body(Full::new(body.into()));
    let response = sender.send_request(request.expect("request")).await.expect("answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}
