//! What the agent asks of a container runtime and what it gets back, as plain data.
//!
//! The shapes follow CRI v1 (`k8s.io/cri-api` v0.37) closely, so that the CRI adapter only translates; but states are
//! enums, times have types, and nothing here knows of gRPC.

mod config;
mod image;
mod info;
mod security;
mod signal;
mod stats;
mod status;

pub use config::{
    ContainerConfig, Device, DnsConfig, HugepageLimit, ImageSpec, KeyValue, LinuxResources, Mount,
    MountPropagation, PortMapping, PortProtocol, SandboxConfig, SandboxLinux, Terminal,
};
pub use image::{Image, ImageAuth, ImageFilesystem};
pub use info::{
    CgroupDriver, RecursiveReadOnly, RuntimeCondition, RuntimeHandler, RuntimeStatus, RuntimeVersion,
};
pub use security::{
    Capabilities, IdMapping, NamespaceMode, NamespaceOptions, SeccompProfile, SecurityContext,
    SelinuxOptions, SupplementalGroupsPolicy, UserNamespace,
};
pub use signal::STOP_SIGNALS;
pub use stats::{
    ContainerStats, CpuUsage, FilesystemUsage, MemoryUsage, MetricDescriptor, MetricKind, MetricSample,
    NetworkUsage, SandboxMetrics, SandboxStats, SwapUsage,
};
pub use status::{
    ContainerState, ContainerStatus, ContainerSummary, ExecOutput, ProcessFacts, RuntimeEvent,
    RuntimeEventKind, SandboxState, SandboxStatus, SandboxSummary, StreamRequest,
};
