//! Container runtime and image service: CRI v1 as the agent needs it (CONTRACT 0.3).

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use core_types::runtime::{
    CgroupDriver, ContainerConfig, ContainerStats, ContainerStatus, ContainerSummary, ExecOutput, Image,
    ImageAuth, ImageFilesystem, ImageSpec, LinuxResources, MetricDescriptor, RuntimeEvent, RuntimeStatus,
    RuntimeVersion, SandboxConfig, SandboxMetrics, SandboxStats, SandboxStatus, SandboxSummary,
    StreamRequest,
};
use core_types::{ContainerId, PodUid, SandboxId};
use futures_core::Stream;

/// Why a call to the runtime failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The object does not exist (any more).
    #[error("{call}: not found: {message}")]
    NotFound {
        /// CRI call.
        call: &'static str,
        /// The runtime's words.
        message: String,
    },
    /// The runtime does not know the call; the agent must do without.
    #[error("{call}: the runtime does not implement this call")]
    Unimplemented {
        /// CRI call.
        call: &'static str,
    },
    /// No answer within the call's deadline.
    #[error("{call}: no answer within {after:?}; the call is tried again")]
    Timeout {
        /// CRI call.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The runtime cannot be reached.
    #[error("{call}: cannot reach the container runtime at {endpoint}: {message}; connecting is tried again")]
    Unavailable {
        /// CRI call.
        call: &'static str,
        /// Socket.
        endpoint: String,
        /// Cause.
        message: String,
    },
    /// The runtime refused or failed.
    #[error("{call}: {message}")]
    Failed {
        /// CRI call.
        call: &'static str,
        /// gRPC code by name, e.g. `Unknown`.
        code: String,
        /// The runtime's words.
        message: String,
    },
}

impl RuntimeError {
    /// True when the object is not there, which for stop and remove means done.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The runtime's own words, without the name of the call.
    pub fn message(&self) -> String {
        match self {
            Self::NotFound { message, .. }
            | Self::Unavailable { message, .. }
            | Self::Failed { message, .. } => message.clone(),
            Self::Unimplemented { .. } | Self::Timeout { .. } => self.to_string(),
        }
    }

    /// The words that upstream's kubelet shows for this error in pods: as [`Self::grpc_text`], except that the code `Unknown`,
    /// which says nothing, is left out.
    pub fn status_text(&self) -> String {
        match self {
            Self::Failed { code, message, .. } if code == "Unknown" => message.clone(),
            _ => self.grpc_text(),
        }
    }

    /// The error as Go's gRPC client words it, which users of upstream see: `rpc error: code = NotFound desc = ...`.
    pub fn grpc_text(&self) -> String {
        let (code, words) = match self {
            Self::NotFound { message, .. } => ("NotFound", message.clone()),
            Self::Unimplemented { call } => {
                ("Unimplemented", format!("unknown method {call} for service runtime.v1.RuntimeService"))
            }
            Self::Timeout { .. } => ("DeadlineExceeded", "context deadline exceeded".to_owned()),
            Self::Unavailable { message, .. } => ("Unavailable", message.clone()),
            Self::Failed { code, message, .. } => (code.as_str(), message.clone()),
        };
        format!("rpc error: code = {code} desc = {words}")
    }

    /// True when the runtime has too much to do at once.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Failed { code, .. } if code == "ResourceExhausted")
    }
}

/// Result of a runtime call.
pub type RuntimeResult<T> = Result<T, RuntimeError>;

/// The runtime's event stream. It ends when the connection breaks; the agent then connects again and looks at everything.
pub type RuntimeEvents = Pin<Box<dyn Stream<Item = RuntimeResult<RuntimeEvent>> + Send>>;

/// Sandboxes and containers.
#[async_trait]
pub trait ContainerRuntime: Send + Sync {
    /// `Version`.
    async fn version(&self) -> RuntimeResult<RuntimeVersion>;
    /// `Status`.
    async fn status(&self) -> RuntimeResult<RuntimeStatus>;
    /// `RuntimeConfig`: the cgroup driver. Unimplemented by old runtimes.
    async fn cgroup_driver(&self) -> RuntimeResult<CgroupDriver>;
    /// `UpdateRuntimeConfig` with the node's pod CIDRs, comma separated.
    async fn set_pod_cidr(&self, pod_cidr: &str) -> RuntimeResult<()>;
    /// `GetContainerEvents`. Unimplemented by old runtimes.
    async fn events(&self) -> RuntimeResult<RuntimeEvents>;

    /// `RunPodSandbox`: creates the sandbox, sets up its network and starts it. Empty handler for the default.
    async fn run_sandbox(&self, config: &SandboxConfig, runtime_handler: &str) -> RuntimeResult<SandboxId>;
    /// `StopPodSandbox`: kills what runs in it and takes its network down. Done already is success.
    async fn stop_sandbox(&self, id: &SandboxId) -> RuntimeResult<()>;
    /// `RemovePodSandbox`: removes it with its containers. Gone already is success.
    async fn remove_sandbox(&self, id: &SandboxId) -> RuntimeResult<()>;
    /// `PodSandboxStatus`.
    async fn sandbox_status(&self, id: &SandboxId) -> RuntimeResult<SandboxStatus>;
    /// `ListPodSandbox`, of one pod or of all.
    async fn list_sandboxes(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<SandboxSummary>>;

    /// `CreateContainer`.
    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> RuntimeResult<ContainerId>;
    /// `StartContainer`.
    async fn start_container(&self, id: &ContainerId) -> RuntimeResult<()>;
    /// `StopContainer`: stop signal, then kill after `grace`. Stopped already is success.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> RuntimeResult<()>;
    /// `RemoveContainer`. Gone already is success.
    async fn remove_container(&self, id: &ContainerId) -> RuntimeResult<()>;
    /// `ContainerStatus`.
    async fn container_status(&self, id: &ContainerId) -> RuntimeResult<ContainerStatus>;
    /// `ListContainers`, of one pod or of all, in every state.
    async fn list_containers(&self, of: Option<&PodUid>) -> RuntimeResult<Vec<ContainerSummary>>;
    /// `UpdateContainerResources`.
    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> RuntimeResult<()>;
    /// `UpdatePodSandboxResources`: overhead and resources of the pod. Unimplemented by old runtimes.
    async fn update_sandbox_resources(
        &self,
        id: &SandboxId,
        overhead: Option<&LinuxResources>,
        resources: Option<&LinuxResources>,
    ) -> RuntimeResult<()>;
    /// `ReopenContainerLog`.
    async fn reopen_container_log(&self, id: &ContainerId) -> RuntimeResult<()>;
    /// `CheckpointContainer` into `location`.
    async fn checkpoint_container(
        &self,
        id: &ContainerId,
        location: &str,
        timeout: Duration,
    ) -> RuntimeResult<()>;

    /// `ExecSync`: runs a command to its end; killed after `timeout` unless that is zero.
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> RuntimeResult<ExecOutput>;
    /// `Exec`: URL of a stream.
    async fn exec_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String>;
    /// `Attach`: URL of a stream.
    async fn attach_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String>;
    /// `PortForward`: URL of a stream.
    async fn port_forward_url(&self, id: &SandboxId, ports: &[i32]) -> RuntimeResult<String>;

    /// `ContainerStats`.
    async fn container_stats(&self, id: &ContainerId) -> RuntimeResult<ContainerStats>;
    /// `ListContainerStats`.
    async fn list_container_stats(&self) -> RuntimeResult<Vec<ContainerStats>>;
    /// `PodSandboxStats`. Unimplemented by old runtimes.
    async fn sandbox_stats(&self, id: &SandboxId) -> RuntimeResult<SandboxStats>;
    /// `ListPodSandboxStats`. Unimplemented by old runtimes.
    async fn list_sandbox_stats(&self) -> RuntimeResult<Vec<SandboxStats>>;
    /// `ListMetricDescriptors`: the metrics that `list_sandbox_metrics` may give. Unimplemented by old runtimes.
    async fn list_metric_descriptors(&self) -> RuntimeResult<Vec<MetricDescriptor>>;
    /// `ListPodSandboxMetrics`. Unimplemented by old runtimes.
    async fn list_sandbox_metrics(&self) -> RuntimeResult<Vec<SandboxMetrics>>;
}

/// Images.
#[async_trait]
pub trait ImageService: Send + Sync {
    /// `ListImages`.
    async fn list_images(&self) -> RuntimeResult<Vec<Image>>;
    /// `ImageStatus`; `None` when the image is not present.
    async fn image_status(&self, image: &ImageSpec) -> RuntimeResult<Option<Image>>;
    /// `PullImage`; gives the image reference. Has no deadline of its own: drop the future to give up.
    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<&ImageAuth>,
        sandbox: &SandboxConfig,
    ) -> RuntimeResult<String>;
    /// `RemoveImage`. Gone already is success.
    async fn remove_image(&self, image: &ImageSpec) -> RuntimeResult<()>;
    /// `ImageFsInfo`: file systems of images and of containers.
    async fn image_filesystems(&self) -> RuntimeResult<(Vec<ImageFilesystem>, Vec<ImageFilesystem>)>;
}
