//! Which volumes a pod needs, what they contain, and the order to set them up and take them down.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How to make one volume of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSetup {
    /// `emptyDir` on the node's disk (mode 0777 whatever the umask, CONTRACT 6.8).
    EmptyDir {
        /// Volume name.
        name: String,
    },
    /// `emptyDir` with `medium: Memory`, or the tmpfs below a downwardAPI volume.
    Tmpfs {
        /// Volume name.
        name: String,
        /// Plugin whose directory it stands in.
        plugin: VolumePlugin,
        /// Size limit in bytes; `None` for the kernel's default.
        size_bytes: Option<u64>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumePayload {
    /// Plugin directory.
    pub plugin: Option<VolumePlugin>,
    /// Relative path -> content and mode.
    pub files: BTreeMap<String, PayloadFile>,
    /// `fsGroup` that gets the files.
    pub fs_group: Option<i64>,
}

/// One file of a [`VolumePayload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFile {
    /// Content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}
