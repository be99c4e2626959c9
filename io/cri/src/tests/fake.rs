//! A CRI server on a temporary socket that answers as it is told. It runs on a runtime of its own, so that
//! stopping it cuts every connection at once, as the death of a real runtime does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use core_metrics::Registry;
use futures_util::stream;
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::proto::image_service_server::{ImageService, ImageServiceServer};
use crate::proto::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use crate::proto::*;
use crate::{CriClient, CriOptions};

/// How long a test waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does and what it has seen.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) hang: Mutex<BTreeSet<&'static str>>,
    pub(super) refuse: Mutex<BTreeMap<&'static str, Status>>,
    pub(super) run_sandbox: Mutex<Option<RunPodSandboxRequest>>,
    pub(super) create_container: Mutex<Option<CreateContainerRequest>>,
    pub(super) stop_timeout: Mutex<Option<i64>>,
    pub(super) exec_timeout: Mutex<Option<i64>>,
    pub(super) pull: Mutex<Option<PullImageRequest>>,
    pub(super) selectors: Mutex<Vec<BTreeMap<String, String>>>,
    pub(super) sandboxes: Mutex<Vec<PodSandbox>>,
    pub(super) container_status: Mutex<ContainerStatusResponse>,
    pub(super) sandbox_status: Mutex<PodSandboxStatusResponse>,
    pub(super) status: Mutex<StatusResponse>,
    pub(super) events: Mutex<Option<mpsc::Receiver<Result<ContainerEventResponse, Status>>>>,
    /// Told when a call that hangs is given up by the client.
    pub(super) given_up: Arc<Notify>,
}

struct TellWhenDropped(Arc<Notify>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Fake {
    async fn answer<T>(&self, call: &'static str, reply: T) -> Result<Response<T>, Status> {
        if self.hang.lock().unwrap().contains(call) {
            let _told = TellWhenDropped(Arc::clone(&self.given_up));
            std::future::pending::<()>().await;
        }
        match self.refuse.lock().unwrap().get(call) {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(reply)),
        }
    }

    pub(super) fn hangs(&self, calls: &[&'static str]) {
        self.hang.lock().unwrap().extend(calls);
    }

    pub(super) fn refuses(&self, call: &'static str, status: Status) {
        self.refuse.lock().unwrap().insert(call, status);
    }
}

#[tonic::async_trait]
impl RuntimeService for Fake {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        let reply = VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "fake".to_owned(),
            runtime_version: "1.2.3".to_owned(),
            runtime_api_version: "v1".to_owned(),
        };
        self.answer("Version", reply).await
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let reply = self.status.lock().unwrap().clone();
        self.answer("Status", reply).await
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Result<Response<RunPodSandboxResponse>, Status> {
        *self.run_sandbox.lock().unwrap() = Some(request.into_inner());
        self.answer("RunPodSandbox", RunPodSandboxResponse { pod_sandbox_id: "sandbox".to_owned() }).await
    }

    async fn stop_pod_sandbox(
        &self,
        _: Request<StopPodSandboxRequest>,
    ) -> Result<Response<StopPodSandboxResponse>, Status> {
        self.answer("StopPodSandbox", StopPodSandboxResponse {}).await
    }

    async fn remove_pod_sandbox(
        &self,
        _: Request<RemovePodSandboxRequest>,
    ) -> Result<Response<RemovePodSandboxResponse>, Status> {
        self.answer("RemovePodSandbox", RemovePodSandboxResponse {}).await
    }

    async fn pod_sandbox_status(
        &self,
        _: Request<PodSandboxStatusRequest>,
    ) -> Result<Response<PodSandboxStatusResponse>, Status> {
        let reply = self.sandbox_status.lock().unwrap().clone();
        self.answer("PodSandboxStatus", reply).await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.selectors.lock().unwrap().push(filter.label_selector);
        let items = self.sandboxes.lock().unwrap().clone();
        self.answer("ListPodSandbox", ListPodSandboxResponse { items }).await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        assert_eq!(filter.state, None, "every state is asked for");
        self.selectors.lock().unwrap().push(filter.label_selector);
        self.answer("ListContainers", ListContainersResponse::default()).await
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        *self.create_container.lock().unwrap() = Some(request.into_inner());
        self.answer("CreateContainer", CreateContainerResponse { container_id: "container".to_owned() }).await
    }

    async fn start_container(
        &self,
        _: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        self.answer("StartContainer", StartContainerResponse {}).await
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        *self.stop_timeout.lock().unwrap() = Some(request.into_inner().timeout);
        self.answer("StopContainer", StopContainerResponse {}).await
    }

    async fn remove_container(
        &self,
        _: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        self.answer("RemoveContainer", RemoveContainerResponse {}).await
    }

    async fn container_status(
        &self,
        _: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        let reply = self.container_status.lock().unwrap().clone();
        self.answer("ContainerStatus", reply).await
    }

    async fn exec_sync(
        &self,
        request: Request<ExecSyncRequest>,
    ) -> Result<Response<ExecSyncResponse>, Status> {
        *self.exec_timeout.lock().unwrap() = Some(request.into_inner().timeout);
        let reply = ExecSyncResponse { stdout: vec![0xff, b'o'], stderr: vec![b'e'], exit_code: 3 };
        self.answer("ExecSync", reply).await
    }

    async fn exec(&self, _: Request<ExecRequest>) -> Result<Response<ExecResponse>, Status> {
        self.answer("Exec", ExecResponse { url: "/exec/token".to_owned() }).await
    }

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Result<Response<BoxStream<ContainerEventResponse>>, Status> {
        self.answer("GetContainerEvents", ()).await?;
        let taken = self.events.lock().unwrap().take();
        let Some(mut events) = taken else { return Err(Status::unimplemented("no events here")) };
        // As a server in Go: not even headers before the first event.
        let first = events.recv().await;
        let rest =
            stream::unfold(events, |mut events| async { events.recv().await.map(|event| (event, events)) });
        Ok(Response::new(Box::pin(stream::StreamExt::chain(stream::iter(first), rest))))
    }
}

#[tonic::async_trait]
impl ImageService for Fake {
    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<PullImageResponse>, Status> {
        *self.pull.lock().unwrap() = Some(request.into_inner());
        self.answer("PullImage", PullImageResponse { image_ref: "sha256:1".to_owned() }).await
    }

    async fn image_status(
        &self,
        _: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        self.answer("ImageStatus", ImageStatusResponse::default()).await
    }

    async fn remove_image(
        &self,
        _: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        self.answer("RemoveImage", RemoveImageResponse {}).await
    }
}

/// A folder with a socket, a server that may run on it, and a client.
pub(super) struct Bench {
    folder: tempfile::TempDir,
    pub(super) fake: Arc<Fake>,
    server: Option<tokio::runtime::Runtime>,
    pub(super) metrics: Registry,
    pub(super) client: CriClient,
}

impl Bench {
    /// With a running server and this request timeout.
    pub(super) fn new(request_timeout: Duration) -> Self {
        let mut bench = Self::stopped(request_timeout);
        bench.start();
        bench
    }

    /// The same before the server has ever run.
    pub(super) fn stopped(request_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Registry::new();
        let endpoint = format!("unix://{}", folder.path().join("cri.sock").display());
        let options = CriOptions { request_timeout, ..CriOptions::new(endpoint) };
        let client = CriClient::connect(&options, &metrics).unwrap();
        Self { folder, fake: Arc::default(), server: None, metrics, client }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }

    /// Listens on a new socket file. The socket takes connections when this returns.
    pub(super) fn start(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let listener = StdListener::bind(self.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let server =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fake = Arc::clone(&self.fake);
        server.spawn(async move {
            let listener = UnixListener::from_std(listener).unwrap();
            let incoming = stream::unfold(listener, |listener| async {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                Some((accepted, listener))
            });
            tonic::transport::Server::builder()
                .add_service(
                    RuntimeServiceServer::from_arc(Arc::clone(&fake)).max_encoding_message_size(usize::MAX),
                )
                .add_service(ImageServiceServer::from_arc(fake))
                .serve_with_incoming(Box::pin(incoming))
                .await
                .unwrap();
        });
        self.server = Some(server);
    }

    /// Dies as by kill -9: connections break, the socket file stays.
    pub(super) fn stop(&mut self) {
        self.server.take().unwrap().shutdown_background();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

/// Fails the test when `work` takes longer than anything in it should.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("must be done long ago")
}
