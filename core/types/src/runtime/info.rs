//! What the runtime says of itself.

/// Name and versions of a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// e.g. `containerd`; the prefix of container IDs in the API.
    pub name: String,
    /// The runtime's version.
    pub version: String,
    /// CRI version, `v1`.
    pub api_version: String,
}

/// One of the runtime's conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeCondition {
    /// Holds.
    pub ok: bool,
    /// CamelCase reason when it does not.
    pub reason: String,
    /// Text for people.
    pub message: String,
}

/// Whether a runtime handler makes a mount read-only together with every mount below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursiveReadOnly {
    /// It does.
    Supported,
    /// It does not.
    #[default]
    Unsupported,
}

/// A RuntimeClass handler and what it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeHandler {
    /// Name; empty for the default.
    pub name: String,
    /// Recursive read-only mounts.
    pub recursive_read_only_mounts: bool,
    /// User namespaces.
    pub user_namespaces: bool,
}

/// Readiness of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// `RuntimeReady`.
    pub runtime_ready: RuntimeCondition,
    /// `NetworkReady`.
    pub network_ready: RuntimeCondition,
    /// Handlers.
    pub handlers: Vec<RuntimeHandler>,
    /// `supplementalGroupsPolicy` is honoured.
    pub supplemental_groups_policy: bool,
}

/// How cgroups are made and named on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupDriver {
    /// Directories.
    Cgroupfs,
    /// systemd slices.
    Systemd,
}
