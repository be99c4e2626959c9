//! Security part of sandbox and container requests (CONTRACT 3.21, 3.22).

/// Linux capabilities to add and drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Dropped.
    pub drop: Vec<String>,
}

/// Which namespace a container or sandbox joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespaceMode {
    /// Shared by the pod.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The host's.
    Node,
    /// That of the container named by `target_id`.
    Target,
}

/// One range of a user namespace mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdMapping {
    /// First ID on the host.
    pub host_id: u32,
    /// First ID in the container.
    pub container_id: u32,
    /// Number of IDs.
    pub length: u32,
}

/// A user namespace of the pod's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNamespace {
    /// User mapping.
    pub uids: Vec<IdMapping>,
    /// Group mapping.
    pub gids: Vec<IdMapping>,
}

/// Namespaces of a sandbox or container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceOptions {
    /// Network.
    pub network: NamespaceMode,
    /// Process IDs.
    pub pid: NamespaceMode,
    /// System V IPC and message queues.
    pub ipc: NamespaceMode,
    /// Container whose PID namespace is joined when `pid` is `Target`.
    pub target_id: String,
    /// The pod's own user namespace; `None` for the host's.
    pub user_namespace: Option<UserNamespace>,
}

/// Seccomp or AppArmor profile. There is no empty case: a Localhost profile always has a path (CVE-2023-2431).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompProfile {
    /// The runtime's default profile.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A profile on the node: a path for seccomp, a name for AppArmor.
    Localhost(String),
}

/// SELinux labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelinuxOptions {
    /// User label.
    pub user: String,
    /// Role label.
    pub role: String,
    /// Type label.
    pub type_: String,
    /// Level label.
    pub level: String,
}

/// How `supplementalGroups` and the image's groups combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SupplementalGroupsPolicy {
    /// Both.
    #[default]
    Merge,
    /// Only those of the pod spec.
    Strict,
}

/// Security context of a sandbox or container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityContext {
    /// Capabilities (containers only).
    pub capabilities: Capabilities,
    /// All privileges.
    pub privileged: bool,
    /// Namespaces.
    pub namespaces: NamespaceOptions,
    /// SELinux labels.
    pub selinux: Option<SelinuxOptions>,
    /// Numeric user.
    pub run_as_user: Option<i64>,
    /// User by name, when the image gives one and the pod gives no number.
    pub run_as_username: String,
    /// Numeric group.
    pub run_as_group: Option<i64>,
    /// Read-only root file system.
    pub readonly_rootfs: bool,
    /// Additional groups, `fsGroup` included.
    pub supplemental_groups: Vec<i64>,
    /// How the image's groups take part.
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// `no_new_privs` (containers only).
    pub no_new_privs: bool,
    /// Paths to mask; empty leaves none masked.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only.
    pub readonly_paths: Vec<String>,
    /// Seccomp profile.
    pub seccomp: Option<SeccompProfile>,
    /// AppArmor profile.
    pub apparmor: Option<SeccompProfile>,
}
