//! Requests: the configuration of a sandbox and of a container.

use std::collections::BTreeMap;

use super::security::SecurityContext;
use crate::PodUid;

/// Everything needed to run one pod sandbox (CRI `PodSandboxConfig`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxConfig {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: Option<PodUid>,
    /// 0 for the pod's first sandbox, then counting up.
    pub attempt: u32,
    /// Hostname of the pod; empty for the host's network namespace.
    pub hostname: String,
    /// Absolute directory below which the runtime writes container logs.
    pub log_directory: String,
    /// What goes into the pod's resolv.conf; `None` leaves the runtime's choice.
    pub dns: Option<DnsConfig>,
    /// Host ports to open.
    pub port_mappings: Vec<PortMapping>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Linux part.
    pub linux: SandboxLinux,
}

/// Linux part of a sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxLinux {
    /// Parent cgroup in the cgroup driver's own form.
    pub cgroup_parent: String,
    /// Security of the sandbox container.
    pub security: SecurityContext,
    /// Sysctls of the pod.
    pub sysctls: BTreeMap<String, String>,
    /// Extra resources of the pod itself (`spec.overhead`).
    pub overhead: Option<LinuxResources>,
    /// Sum of the containers' resources.
    pub resources: Option<LinuxResources>,
}

/// resolv.conf of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// `search` domains.
    pub searches: Vec<String>,
    /// `options`.
    pub options: Vec<String>,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One host port of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMapping {
    /// Protocol.
    pub protocol: PortProtocol,
    /// Port in the container.
    pub container_port: i32,
    /// Port on the host; 0 when only the container port is declared.
    pub host_port: i32,
    /// Host address to bind; empty for all.
    pub host_ip: String,
}

/// Reference to an image in a container request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSpec {
    /// What the runtime resolves: an image ID after a pull.
    pub image: String,
    /// What the pod's author wrote.
    pub user_specified_image: String,
    /// Annotations of the request.
    pub annotations: BTreeMap<String, String>,
    /// Handler of the pod's RuntimeClass, if images depend on it.
    pub runtime_handler: String,
}

/// One environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
}

/// How mounts made on one side show on the other (CONTRACT 3.20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountPropagation {
    /// `None`: rprivate.
    #[default]
    Private,
    /// `HostToContainer`: rslave.
    HostToContainer,
    /// `Bidirectional`: rshared.
    Bidirectional,
}

/// One mount of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mount {
    /// Path inside the container.
    pub container_path: String,
    /// Path on the host; empty for an image mount.
    pub host_path: String,
    /// Read-only mount.
    pub readonly: bool,
    /// Read-only also for mounts below it.
    pub recursive_read_only: bool,
    /// Ask for an SELinux relabel.
    pub selinux_relabel: bool,
    /// Propagation.
    pub propagation: MountPropagation,
    /// Image to mount instead of a host path.
    pub image: Option<ImageSpec>,
    /// Path inside the image.
    pub image_sub_path: String,
}

/// One device of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Path inside the container.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// Limit of one huge page size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugepageLimit {
    /// As the kernel names it: `2MB`, `1GB`.
    pub page_size: String,
    /// Limit in bytes.
    pub limit_bytes: u64,
}

/// Cgroup resources of a container or pod. Zero means "not set" as in CRI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxResources {
    /// CFS period in microseconds.
    pub cpu_period_us: i64,
    /// CFS quota in microseconds.
    pub cpu_quota_us: i64,
    /// CPU shares (relative weight).
    pub cpu_shares: i64,
    /// Memory limit in bytes.
    pub memory_limit_bytes: i64,
    /// -1000..=1000.
    pub oom_score_adj: i64,
    /// CPUs the container may use, in list form.
    pub cpuset_cpus: String,
    /// Memory nodes the container may use, in list form.
    pub cpuset_mems: String,
    /// Huge page limits.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// cgroup v2 keys set as they are.
    pub unified: BTreeMap<String, String>,
    /// Memory plus swap in bytes.
    pub memory_swap_limit_bytes: i64,
}

/// Standard input and terminal of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin after the first attach ends.
    pub stdin_once: bool,
    /// Allocate a terminal.
    pub tty: bool,
}

/// Everything needed to create one container (CRI `ContainerConfig`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerConfig {
    /// Name of the container in the pod.
    pub name: String,
    /// The signal that stops it, as Kubernetes names it; empty for the image's.
    pub stop_signal: String,
    /// Restart count of this instance.
    pub attempt: u32,
    /// Image.
    pub image: ImageSpec,
    /// Entry point; empty for the image's.
    pub command: Vec<String>,
    /// Arguments; empty for the image's.
    pub args: Vec<String>,
    /// Working directory; empty for the image's.
    pub working_dir: String,
    /// Environment.
    pub envs: Vec<KeyValue>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Fully qualified CDI device names.
    pub cdi_devices: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Log file relative to the sandbox's log directory.
    pub log_path: String,
    /// Standard input and terminal.
    pub terminal: Terminal,
    /// Cgroup resources.
    pub resources: LinuxResources,
    /// Security.
    pub security: SecurityContext,
}
