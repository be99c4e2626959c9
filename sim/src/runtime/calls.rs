//! The runtime service of the fake runtime.

use std::time::Duration;

use async_trait::async_trait;
use core_types::runtime::{
    CgroupDriver, ContainerConfig, ContainerStats, ContainerStatus, ContainerSummary, ExecOutput,
    LinuxResources, MetricDescriptor, RuntimeCondition, RuntimeEventKind, RuntimeStatus, RuntimeVersion,
    SandboxConfig, SandboxMetrics, SandboxStats, SandboxStatus, SandboxSummary, StreamRequest,
};
use core_types::{ContainerId, PodUid, SandboxId};
use ports::ContainerRuntime;
use ports::runtime::{RuntimeError, RuntimeEvents, RuntimeResult};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::FakeRuntime;
use crate::host::WRITTEN_BYTES;

fn unimplemented<T>(call: &'static str) -> RuntimeResult<T> {
    Err(RuntimeError::Unimplemented { call })
}

impl FakeRuntime {
    fn is_stubborn(&self, id: &ContainerId) -> bool {
        self.is_told(id, "stubborn")
    }

    fn is_told(&self, id: &ContainerId, word: &str) -> bool {
        self.store().containers.get(id).is_some_and(|c| c.config.args.iter().any(|arg| arg == word))
    }

    fn exit_plan(&self, id: &ContainerId) -> Option<(i32, u64)> {
        let store = self.store();
        let config = &store.containers.get(id)?.config;
        let ends = |word: &String| word == "exit" || (word == "once" && config.attempt == 0);
        let at = config.args.iter().position(ends)?;
        Some((config.args.get(at + 1)?.parse().ok()?, config.args.get(at + 2)?.parse().ok()?))
    }
}

impl FakeRuntime {
    /// How a command that is executed in a container ends.
    fn exec_plan(&self, id: &ContainerId) -> Option<(i32, u64)> {
        let store = self.store();
        let args = &store.containers.get(id)?.config.args;
        let at = args.iter().position(|arg| arg == "exec")?;
        Some((args.get(at + 1)?.parse().ok()?, args.get(at + 2)?.parse().ok()?))
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn version(&self) -> RuntimeResult<RuntimeVersion> {
        self.read("Version", |_| {
            Ok(RuntimeVersion { name: "sim".into(), version: "1".into(), api_version: "v1".into() })
        })
        .await
    }

    async fn status(&self) -> RuntimeResult<RuntimeStatus> {
        self.read("Status", |_| {
            let ok = RuntimeCondition { ok: true, ..RuntimeCondition::default() };
            Ok(RuntimeStatus { runtime_ready: ok.clone(), network_ready: ok, ..RuntimeStatus::default() })
        })
        .await
    }

    async fn cgroup_driver(&self) -> RuntimeResult<CgroupDriver> {
        self.read("RuntimeConfig", |_| Ok(CgroupDriver::Cgroupfs)).await
    }

    async fn set_pod_cidr(&self, _pod_cidr: &str) -> RuntimeResult<()> {
        self.read("UpdateRuntimeConfig", |_| Ok(())).await
    }

    async fn events(&self) -> RuntimeResult<RuntimeEvents> {
        if !self.has_events {
            return unimplemented("GetContainerEvents");
        }
        self.read("GetContainerEvents", |_| Ok(())).await?;
        Ok(Box::pin(ReceiverStream::new(self.listen()).map(Ok)))
    }

    async fn run_sandbox(&self, config: &SandboxConfig, _runtime_handler: &str) -> RuntimeResult<SandboxId> {
        let now = self.wall();
        self.call("RunPodSandbox", || {
            let id = self.store().run_sandbox(config, now)?;
            let uid = config.uid.clone().unwrap_or_else(|| PodUid::from(""));
            self.tell(RuntimeEventKind::Started, &ContainerId::from(id.as_str()), uid);
            Ok(id)
        })
        .await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> RuntimeResult<()> {
        self.call("StopPodSandbox", || {
            let now = self.wall();
            let uid = self.store().uid_of_sandbox(id);
            self.store().stop_sandbox(id, now);
            if let Some(uid) = uid {
                self.tell(RuntimeEventKind::Stopped, &ContainerId::from(id.as_str()), uid);
            }
            Ok(())
        })
        .await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> RuntimeResult<()> {
        self.call("RemovePodSandbox", || {
            let now = self.wall();
            let uid = self.store().uid_of_sandbox(id);
            self.store().remove_sandbox(id, now);
            if let Some(uid) = uid {
                self.tell(RuntimeEventKind::Deleted, &ContainerId::from(id.as_str()), uid);
            }
            Ok(())
        })
        .await
    }

    async fn sandbox_status(&self, id: &SandboxId) -> RuntimeResult<SandboxStatus> {
        self.read("PodSandboxStatus", |store| store.sandbox_status(id)).await
    }

    async fn list_sandboxes(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<SandboxSummary>> {
        self.read("ListPodSandbox", |store| {
            let wanted = store.sandboxes.iter().filter(|(_, s)| of.is_none() || s.config.uid.as_ref() == of);
            Ok(wanted.map(|(id, sandbox)| store.sandbox_summary(id, sandbox)).collect())
        })
        .await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        _sandbox_config: &SandboxConfig,
    ) -> RuntimeResult<ContainerId> {
        self.call("CreateContainer", || {
            let now = self.wall();
            let id = self.store().create_container(sandbox, config, now)?;
            if let Some(uid) = self.store().uid_of(&id) {
                self.tell(RuntimeEventKind::Created, &id, uid);
            }
            Ok(id)
        })
        .await
    }

    async fn start_container(&self, id: &ContainerId) -> RuntimeResult<()> {
        self.call("StartContainer", || {
            let now = self.wall();
            self.store().start_container(id, now)?;
            let written_bytes = if self.is_told(id, "quiet") { 0 } else { WRITTEN_BYTES };
            if let Some(log) = self.store().log_path(id) {
                self.log_files.start(&log, written_bytes);
            }
            if let Some(uid) = self.store().uid_of(id) {
                self.tell(RuntimeEventKind::Started, id, uid);
            }
            if let Some((code, secs)) = self.exit_plan(id) {
                self.schedule_exit(id.clone(), code, Duration::from_secs(secs));
            }
            Ok(())
        })
        .await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> RuntimeResult<()> {
        if self.is_stubborn(id) {
            tokio::time::sleep(grace).await;
        }
        self.call("StopContainer", || {
            self.store().check_stop(id);
            self.kill_container(id, if self.is_stubborn(id) { 137 } else { 143 });
            Ok(())
        })
        .await
    }

    async fn remove_container(&self, id: &ContainerId) -> RuntimeResult<()> {
        self.call("RemoveContainer", || {
            let uid = self.store().uid_of(id);
            let now = self.wall();
            self.store().exit(id, 137, now);
            self.store().containers.remove(id);
            if let Some(uid) = uid {
                self.tell(RuntimeEventKind::Deleted, id, uid);
            }
            Ok(())
        })
        .await
    }

    async fn container_status(&self, id: &ContainerId) -> RuntimeResult<ContainerStatus> {
        self.read("ContainerStatus", |store| store.container_status(id)).await
    }

    async fn list_containers(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<ContainerSummary>> {
        self.read("ListContainers", |store| {
            let wanted =
                store.containers.iter().filter(|(id, _)| of.is_none() || store.uid_of(id).as_ref() == of);
            Ok(wanted.map(|(id, container)| store.container_summary(id, container)).collect())
        })
        .await
    }

    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> RuntimeResult<()> {
        self.call("UpdateContainerResources", || self.store().update_resources(id, resources)).await
    }

    async fn update_sandbox_resources(
        &self,
        _id: &SandboxId,
        _overhead: Option<&LinuxResources>,
        _resources: Option<&LinuxResources>,
    ) -> RuntimeResult<()> {
        unimplemented("UpdatePodSandboxResources")
    }

    async fn reopen_container_log(&self, id: &ContainerId) -> RuntimeResult<()> {
        self.call("ReopenContainerLog", || {
            let log = self.store().log_of_running(id)?;
            self.log_files.reopen(&log);
            Ok(())
        })
        .await
    }

    async fn checkpoint_container(
        &self,
        _id: &ContainerId,
        _to: &str,
        _timeout: Duration,
    ) -> RuntimeResult<()> {
        unimplemented("CheckpointContainer")
    }

    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        _timeout: Duration,
    ) -> RuntimeResult<ExecOutput> {
        self.call("ExecSync", || self.store().exec(id, command)).await?;
        let (exit_code, secs) = self.exec_plan(id).unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(secs)).await;
        Ok(ExecOutput { exit_code, ..ExecOutput::default() })
    }

    async fn exec_url(&self, _id: &ContainerId, _request: &StreamRequest) -> RuntimeResult<String> {
        unimplemented("Exec")
    }

    async fn attach_url(&self, _id: &ContainerId, _request: &StreamRequest) -> RuntimeResult<String> {
        unimplemented("Attach")
    }

    async fn port_forward_url(&self, _id: &SandboxId, _ports: &[i32]) -> RuntimeResult<String> {
        unimplemented("PortForward")
    }

    async fn container_stats(&self, id: &ContainerId) -> RuntimeResult<ContainerStats> {
        self.read("ContainerStats", |store| store.container_stats(id)).await
    }

    async fn list_container_stats(&self) -> RuntimeResult<Vec<ContainerStats>> {
        unimplemented("ListContainerStats")
    }

    async fn sandbox_stats(&self, _id: &SandboxId) -> RuntimeResult<SandboxStats> {
        unimplemented("PodSandboxStats")
    }

    async fn list_sandbox_stats(&self) -> RuntimeResult<Vec<SandboxStats>> {
        unimplemented("ListPodSandboxStats")
    }

    async fn list_metric_descriptors(&self) -> RuntimeResult<Vec<MetricDescriptor>> {
        unimplemented("ListMetricDescriptors")
    }

    async fn list_sandbox_metrics(&self) -> RuntimeResult<Vec<SandboxMetrics>> {
        unimplemented("ListPodSandboxMetrics")
    }
}
