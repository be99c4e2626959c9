//! Which volumes a pod needs, what they contain, and how its containers mount them (CONTRACT 3.20, 6.1-6.8).
//!
//! Three planners without memory: [`plan_volumes`] says how to make each volume, [`payload`] what the agent writes into
//! it, [`mounts`] where a container gets it. They read the pod and a few facts of the node; the order is the pod's.
//!
//! Guarantees: no payload path leaves its volume, and none is both a file and a directory; a sub path is relative and
//! has no `..`.
//!
//! What comes from the API server (configMap, secret, service account tokens, trust bundles, certificates) is handed in as [`Content`].
//!
//! Left out: CSI and other drivers, images: each is refused by name.
//! `fsGroupChangePolicy` has no effect on the volumes that are made
//! here, as the API says. Resolving a sub path against the real directory is the host
//! adapter's, because only it can do so safely (CONTRACT 6.6).

mod error;
mod huge_pages;
mod mounts;
mod payload;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use core_types::Secret;

pub use error::VolumeError;
pub use mounts::{ResolvedMount, mounts};
pub use payload::{
    Content, certificate_asks, content_plugin, object_references, payload, shows_trust_bundles, token_asks,
};
pub use plan::{VolumeFacts, plan_volumes};

/// How to make one volume of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSetup {
    /// `emptyDir` on the node's disk (mode 0777 whatever the umask, CONTRACT 6.8), or the directory of a configMap volume.
    EmptyDir {
        /// Volume name.
        name: String,
        /// Plugin whose directory it stands in.
        plugin: VolumePlugin,
        /// `fsGroup` that gets the directory.
        fs_group: Option<i64>,
    },
    /// `emptyDir` with `medium: Memory`, or the tmpfs below a secret, downwardAPI or projected volume.
    Tmpfs {
        /// Volume name.
        name: String,
        /// Plugin whose directory it stands in.
        plugin: VolumePlugin,
        /// Size limit in bytes; `None` for the kernel's default.
        size_bytes: Option<u64>,
        /// `fsGroup` that gets its root.
        fs_group: Option<i64>,
    },
    /// `emptyDir` on huge pages, a hugetlbfs.
    HugePages {
        /// Volume name.
        name: String,
        /// Size of a page in bytes.
        page_bytes: u64,
        /// `fsGroup` that gets its root.
        fs_group: Option<i64>,
    },
    /// `hostPath`: checked, made when the type says so, never removed.
    HostPath {
        /// Volume name.
        name: String,
        /// Path on the host.
        path: PathBuf,
        /// `hostPath.type`.
        kind: HostPathKind,
    },
}

/// Plugin directory below `pods/<uid>/volumes` (CONTRACT 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumePlugin {
    /// `kubernetes.io~empty-dir`.
    EmptyDir,
    /// `kubernetes.io~downward-api`.
    DownwardApi,
    /// `kubernetes.io~projected`.
    Projected,
    /// `kubernetes.io~secret`.
    Secret,
    /// `kubernetes.io~configmap`.
    ConfigMap,
}

impl VolumePlugin {
    /// Its name, e.g. `kubernetes.io/empty-dir`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyDir => "kubernetes.io/empty-dir",
            Self::DownwardApi => "kubernetes.io/downward-api",
            Self::Projected => "kubernetes.io/projected",
            Self::Secret => "kubernetes.io/secret",
            Self::ConfigMap => "kubernetes.io/configmap",
        }
    }

    /// Name of its directories: the plugin's name with `~` for `/`.
    pub const fn dir_name(self) -> &'static str {
        match self {
            Self::EmptyDir => "kubernetes.io~empty-dir",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
            Self::Secret => "kubernetes.io~secret",
            Self::ConfigMap => "kubernetes.io~configmap",
        }
    }
}

impl VolumeSetup {
    /// Volume name.
    pub fn name(&self) -> &str {
        match self {
            Self::EmptyDir { name, .. }
            | Self::Tmpfs { name, .. }
            | Self::HugePages { name, .. }
            | Self::HostPath { name, .. } => name,
        }
    }
}

/// `hostPath.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPathKind {
    /// Not checked.
    Unchecked,
    /// Directory, made 0755 when missing.
    DirectoryOrCreate,
    /// Directory.
    Directory,
    /// File, made 0644 when missing.
    FileOrCreate,
    /// File.
    File,
    /// Unix socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

/// Files of a volume that the atomic writer keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePayload {
    /// Plugin in whose directory the volume stands.
    pub plugin: VolumePlugin,
    /// Relative path -> content and mode.
    pub files: BTreeMap<String, PayloadFile>,
    /// `fsGroup` that gets the files.
    pub fs_group: Option<i64>,
}

/// One file of a [`VolumePayload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFile {
    /// Content.
    pub content: Secret<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
    /// User who gets the file; `None` for root.
    pub owner: Option<i64>,
}
