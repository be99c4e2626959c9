//! [`ContainerRuntime`] over CRI.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use core_types::runtime::{
    CgroupDriver, ContainerConfig, ContainerStats, ContainerStatus, ContainerSummary, ExecOutput,
    LinuxResources, MetricDescriptor, RuntimeStatus, RuntimeVersion, SandboxConfig, SandboxMetrics,
    SandboxStats, SandboxStatus, SandboxSummary, StreamRequest,
};
use core_types::{ContainerId, PodUid, SandboxId};
use ports::ContainerRuntime;
use ports::runtime::{RuntimeError, RuntimeEvents, RuntimeResult};
use tonic::{Response, Status};

use crate::call::{Call, Deadline, Malformed};
use crate::client::CriClient;
use crate::events;
use crate::from_proto::{self, required_text};
use crate::{proto, to_proto};

const VERSION: Call = Call::of_all("Version", "version");
const STATUS: Call = Call::of_all("Status", "status");
const RUNTIME_CONFIG: Call = Call::new("RuntimeConfig", "runtime_config");
const UPDATE_RUNTIME_CONFIG: Call = Call::new("UpdateRuntimeConfig", "update_runtime_config");
const RUN_SANDBOX: Call = Call::new("RunPodSandbox", "run_podsandbox");
const STOP_SANDBOX: Call = Call::new("StopPodSandbox", "stop_podsandbox");
const REMOVE_SANDBOX: Call = Call::new("RemovePodSandbox", "remove_podsandbox");
const SANDBOX_STATUS: Call = Call::new("PodSandboxStatus", "podsandbox_status");
const LIST_SANDBOXES: Call = Call::of_all("ListPodSandbox", "list_podsandbox");
const CREATE_CONTAINER: Call = Call::new("CreateContainer", "create_container");
const START_CONTAINER: Call = Call::new("StartContainer", "start_container");
const STOP_CONTAINER: Call = Call::new("StopContainer", "stop_container");
const REMOVE_CONTAINER: Call = Call::new("RemoveContainer", "remove_container");
const CONTAINER_STATUS: Call = Call::new("ContainerStatus", "container_status");
const LIST_CONTAINERS: Call = Call::of_all("ListContainers", "list_containers");
const UPDATE_CONTAINER: Call = Call::new("UpdateContainerResources", "update_container");
const UPDATE_SANDBOX: Call = Call::new("UpdatePodSandboxResources", "update_podsandbox_resources");
const REOPEN_LOG: Call = Call::new("ReopenContainerLog", "reopen_container_log");
const CHECKPOINT_CONTAINER: Call = Call::new("CheckpointContainer", "checkpoint_container");
const EXEC_SYNC: Call = Call::new("ExecSync", "exec_sync");
const EXEC: Call = Call::new("Exec", "exec");
const ATTACH: Call = Call::new("Attach", "attach");
const PORT_FORWARD: Call = Call::new("PortForward", "port_forward");
const CONTAINER_STATS: Call = Call::new("ContainerStats", "container_stats");
const LIST_CONTAINER_STATS: Call = Call::of_all("ListContainerStats", "list_container_stats");
const SANDBOX_STATS: Call = Call::new("PodSandboxStats", "podsandbox_stats");
const LIST_SANDBOX_STATS: Call = Call::of_all("ListPodSandboxStats", "list_podsandbox_stats");
const LIST_METRIC_DESCRIPTORS: Call = Call::of_all("ListMetricDescriptors", "list_metric_descriptors");
const LIST_SANDBOX_METRICS: Call = Call::of_all("ListPodSandboxMetrics", "list_podsandbox_metrics");

impl CriClient {
    /// A runtime call whose deadline is the request timeout.
    async fn ask<P, T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<Response<P>, Status>> + Send,
        read: impl FnOnce(P) -> Result<T, Malformed> + Send,
    ) -> RuntimeResult<T> {
        self.runtime_calls.run(call, self.deadline(), request, read).await
    }
}

/// For stop and remove: what does not exist is done.
fn or_gone(result: RuntimeResult<()>) -> RuntimeResult<()> {
    match result {
        Err(RuntimeError::NotFound { .. }) => Ok(()),
        result => result,
    }
}

/// For replies that say nothing.
fn nothing<P>(_: P) -> Result<(), Malformed> {
    Ok(())
}

#[async_trait]
impl ContainerRuntime for CriClient {
    async fn version(&self) -> RuntimeResult<RuntimeVersion> {
        let mut service = self.runtime();
        // The number of the kubelet's side of CRI; upstream never raised it.
        let request = proto::VersionRequest { version: "0.1.0".to_owned() };
        self.ask(VERSION, service.version(request), from_proto::info::version).await
    }

    async fn status(&self) -> RuntimeResult<RuntimeStatus> {
        let mut service = self.runtime();
        let request = proto::StatusRequest { verbose: false };
        self.ask(STATUS, service.status(request), from_proto::info::status).await
    }

    async fn cgroup_driver(&self) -> RuntimeResult<CgroupDriver> {
        let mut service = self.runtime();
        let call = service.runtime_config(proto::RuntimeConfigRequest {});
        let driver = self.ask(RUNTIME_CONFIG, call, from_proto::info::cgroup_driver).await?;
        driver.ok_or(RuntimeError::Unimplemented { call: RUNTIME_CONFIG.name })
    }

    async fn set_pod_cidr(&self, pod_cidr: &str) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let network_config = Some(proto::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let runtime_config = Some(proto::RuntimeConfig { network_config });
        let call = service.update_runtime_config(proto::UpdateRuntimeConfigRequest { runtime_config });
        self.ask(UPDATE_RUNTIME_CONFIG, call, nothing).await
    }

    async fn events(&self) -> RuntimeResult<RuntimeEvents> {
        events::open(self).await
    }

    async fn run_sandbox(&self, config: &SandboxConfig, runtime_handler: &str) -> RuntimeResult<SandboxId> {
        let mut service = self.runtime();
        let call = service.run_pod_sandbox(proto::RunPodSandboxRequest {
            config: Some(Box::new(to_proto::sandbox_config(config))),
            runtime_handler: runtime_handler.to_owned(),
        });
        let read = |reply: proto::RunPodSandboxResponse| {
            required_text(reply.pod_sandbox_id, "pod_sandbox_id").map(Into::into)
        };
        let running =
            self.runtime_calls.run(RUN_SANDBOX, self.deadline_plus(self.request_timeout), call, read);
        self.runtime_calls.timed_sandbox(runtime_handler, running).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call = service.stop_pod_sandbox(proto::StopPodSandboxRequest { pod_sandbox_id: id.to_string() });
        or_gone(self.ask(STOP_SANDBOX, call, nothing).await)
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call =
            service.remove_pod_sandbox(proto::RemovePodSandboxRequest { pod_sandbox_id: id.to_string() });
        or_gone(self.ask(REMOVE_SANDBOX, call, nothing).await)
    }

    async fn sandbox_status(&self, id: &SandboxId) -> RuntimeResult<SandboxStatus> {
        let mut service = self.runtime();
        let request = proto::PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: false };
        self.ask(SANDBOX_STATUS, service.pod_sandbox_status(request), from_proto::status::sandbox_reply).await
    }

    async fn list_sandboxes(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<SandboxSummary>> {
        let mut service = self.runtime();
        let filter = proto::PodSandboxFilter { label_selector: to_proto::of_pod(of), ..Default::default() };
        let call = service.list_pod_sandbox(proto::ListPodSandboxRequest { filter: Some(filter) });
        self.ask(LIST_SANDBOXES, call, from_proto::status::sandbox_list).await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> RuntimeResult<ContainerId> {
        let mut service = self.runtime();
        let call = service.create_container(proto::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_string(),
            config: Some(Box::new(to_proto::container_config(config))),
            sandbox_config: Some(Box::new(to_proto::sandbox_config(sandbox_config))),
        });
        let read = |reply: proto::CreateContainerResponse| {
            required_text(reply.container_id, "container_id").map(Into::into)
        };
        self.ask(CREATE_CONTAINER, call, read).await
    }

    async fn start_container(&self, id: &ContainerId) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call = service.start_container(proto::StartContainerRequest { container_id: id.to_string() });
        self.ask(START_CONTAINER, call, nothing).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let timeout = to_proto::whole_seconds(grace);
        let call =
            service.stop_container(proto::StopContainerRequest { container_id: id.to_string(), timeout });
        or_gone(self.runtime_calls.run(STOP_CONTAINER, self.deadline_plus(grace), call, nothing).await)
    }

    async fn remove_container(&self, id: &ContainerId) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call = service.remove_container(proto::RemoveContainerRequest { container_id: id.to_string() });
        or_gone(self.ask(REMOVE_CONTAINER, call, nothing).await)
    }

    async fn container_status(&self, id: &ContainerId) -> RuntimeResult<ContainerStatus> {
        let mut service = self.runtime();
        let request = proto::ContainerStatusRequest { container_id: id.to_string(), verbose: false };
        self.ask(CONTAINER_STATUS, service.container_status(request), from_proto::status::container_reply)
            .await
    }

    async fn list_containers(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<ContainerSummary>> {
        let mut service = self.runtime();
        let filter = proto::ContainerFilter { label_selector: to_proto::of_pod(of), ..Default::default() };
        let call = service.list_containers(proto::ListContainersRequest { filter: Some(filter) });
        self.ask(LIST_CONTAINERS, call, from_proto::status::container_list).await
    }

    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call = service.update_container_resources(proto::UpdateContainerResourcesRequest {
            container_id: id.to_string(),
            linux: Some(to_proto::linux_resources(resources)),
            ..Default::default()
        });
        self.ask(UPDATE_CONTAINER, call, nothing).await
    }

    async fn update_sandbox_resources(
        &self,
        id: &SandboxId,
        overhead: Option<&LinuxResources>,
        resources: Option<&LinuxResources>,
    ) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call = service.update_pod_sandbox_resources(proto::UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: id.to_string(),
            overhead: overhead.map(to_proto::linux_resources).map(Box::new),
            resources: resources.map(to_proto::linux_resources).map(Box::new),
        });
        self.ask(UPDATE_SANDBOX, call, nothing).await
    }

    async fn reopen_container_log(&self, id: &ContainerId) -> RuntimeResult<()> {
        let mut service = self.runtime();
        let call =
            service.reopen_container_log(proto::ReopenContainerLogRequest { container_id: id.to_string() });
        self.ask(REOPEN_LOG, call, nothing).await
    }

    async fn checkpoint_container(
        &self,
        id: &ContainerId,
        location: &str,
        timeout: Duration,
    ) -> RuntimeResult<()> {
        let mut service = self.runtime();
        // A shorter time than the request timeout is not worth giving up for (as upstream).
        let allowed = timeout.max(self.request_timeout);
        let call = service.checkpoint_container(proto::CheckpointContainerRequest {
            container_id: id.to_string(),
            location: location.to_owned(),
            timeout: to_proto::whole_seconds(allowed),
        });
        self.runtime_calls.run(CHECKPOINT_CONTAINER, Deadline::After(allowed), call, nothing).await
    }

    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> RuntimeResult<ExecOutput> {
        let mut service = self.runtime();
        let call = service.exec_sync(proto::ExecSyncRequest {
            container_id: id.to_string(),
            cmd: command.to_vec(),
            timeout: to_proto::whole_seconds(timeout),
        });
        let deadline = if timeout.is_zero() { Deadline::Never } else { self.deadline_plus(timeout) };
        let read = |reply: proto::ExecSyncResponse| {
            Ok(ExecOutput { stdout: reply.stdout, stderr: reply.stderr, exit_code: reply.exit_code })
        };
        match self.runtime_calls.run(EXEC_SYNC, deadline, call, read).await {
            // Either the runtime ended the command at its time limit or it did not answer: the command ran
            // out of time.
            Err(RuntimeError::Timeout { call, .. }) => Err(RuntimeError::Timeout { call, after: timeout }),
            answer => answer,
        }
    }

    async fn exec_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        let mut service = self.runtime();
        let call = service.exec(proto::ExecRequest {
            container_id: id.to_string(),
            cmd: request.command.clone(),
            tty: request.tty,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        });
        self.ask(EXEC, call, |reply| required_text(reply.url, "url")).await
    }

    async fn attach_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        let mut service = self.runtime();
        let call = service.attach(proto::AttachRequest {
            container_id: id.to_string(),
            stdin: request.stdin,
            tty: request.tty,
            stdout: request.stdout,
            stderr: request.stderr,
        });
        self.ask(ATTACH, call, |reply| required_text(reply.url, "url")).await
    }

    async fn port_forward_url(&self, id: &SandboxId, ports: &[i32]) -> RuntimeResult<String> {
        let mut service = self.runtime();
        let request = proto::PortForwardRequest { pod_sandbox_id: id.to_string(), port: ports.to_vec() };
        self.ask(PORT_FORWARD, service.port_forward(request), |reply| required_text(reply.url, "url")).await
    }

    async fn container_stats(&self, id: &ContainerId) -> RuntimeResult<ContainerStats> {
        let mut service = self.runtime();
        let call = service.container_stats(proto::ContainerStatsRequest { container_id: id.to_string() });
        self.ask(CONTAINER_STATS, call, from_proto::stats::container_reply).await
    }

    async fn list_container_stats(&self) -> RuntimeResult<Vec<ContainerStats>> {
        let mut service = self.runtime();
        let call = service.list_container_stats(proto::ListContainerStatsRequest { filter: None });
        self.ask(LIST_CONTAINER_STATS, call, from_proto::stats::container_list).await
    }

    async fn sandbox_stats(&self, id: &SandboxId) -> RuntimeResult<SandboxStats> {
        let mut service = self.runtime();
        let call =
            service.pod_sandbox_stats(proto::PodSandboxStatsRequest { pod_sandbox_id: id.to_string() });
        self.ask(SANDBOX_STATS, call, from_proto::stats::sandbox_reply).await
    }

    async fn list_sandbox_stats(&self) -> RuntimeResult<Vec<SandboxStats>> {
        let mut service = self.runtime();
        let call = service.list_pod_sandbox_stats(proto::ListPodSandboxStatsRequest { filter: None });
        self.ask(LIST_SANDBOX_STATS, call, from_proto::stats::sandbox_list).await
    }

    async fn list_metric_descriptors(&self) -> RuntimeResult<Vec<MetricDescriptor>> {
        let mut service = self.runtime();
        let call = service.list_metric_descriptors(proto::ListMetricDescriptorsRequest {});
        self.ask(LIST_METRIC_DESCRIPTORS, call, from_proto::metrics::descriptors).await
    }

    async fn list_sandbox_metrics(&self) -> RuntimeResult<Vec<SandboxMetrics>> {
        let mut service = self.runtime();
        let call = service.list_pod_sandbox_metrics(proto::ListPodSandboxMetricsRequest {});
        self.ask(LIST_SANDBOX_METRICS, call, from_proto::metrics::sandboxes).await
    }
}
