//! What can be wrong with a pod's volumes, for the person who must correct the pod.

use core_types::KeyedKind;
use core_types::downward::DownwardError;
use core_types::expansion::TooLong;

/// Why a volume cannot be made, filled or mounted. The pod's containers wait until the pod is corrected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// This agent does not make volumes of that source.
    #[error("volume {volume:?}: {source_name} is not supported by this agent")]
    Unsupported {
        /// Volume.
        volume: String,
        /// Field of the volume, e.g. `configMap`.
        source_name: &'static str,
    },
    /// There is no API server to read the volume's content from.
    #[error("cannot setup {kind} volume {volume} because kube client is not configured")]
    NoClient {
        /// Volume.
        volume: String,
        /// What it shows.
        kind: KeyedKind,
    },
    /// What the volume shows cannot be had; upstream's words.
    #[error("{0}")]
    Content(String),
    /// What the volume shows cannot be read now; upstream's words. What it has shown so far still holds.
    #[error("{0}")]
    Unavailable(String),
    /// `emptyDir.medium` is unknown.
    #[error("unknown storage medium {medium:?}")]
    Medium {
        /// Medium.
        medium: String,
    },
    /// Huge pages whose size the medium does not say, and the pod asks for several.
    #[error("medium: {medium} can't be used if container requests multiple huge page sizes")]
    SeveralPageSizes {
        /// Medium.
        medium: String,
    },
    /// Huge pages of a size that no container asks for.
    #[error("medium {medium}: hugePages storage requested, but there is no resource request for huge pages")]
    NoHugePages {
        /// Medium.
        medium: String,
    },
    /// A sub path expression becomes too long.
    #[error("volume {volume:?}: subPathExpr: {source}")]
    TooLong {
        /// Volume.
        volume: String,
        /// How long is too long.
        source: TooLong,
    },
    /// A quantity cannot be read.
    #[error("volume {volume:?}: sizeLimit {text:?} is not a quantity")]
    SizeLimit {
        /// Volume.
        volume: String,
        /// What stands there.
        text: String,
    },
    /// `hostPath.type` is unknown.
    #[error("volume {volume:?}: hostPath type {kind:?} is unknown")]
    HostPathType {
        /// Volume.
        volume: String,
        /// Type.
        kind: String,
    },
    /// A host path is not absolute, or goes back.
    #[error("volume {volume:?}: hostPath {path:?} must be absolute and must not contain \"..\"")]
    HostPath {
        /// Volume.
        volume: String,
        /// Path.
        path: String,
    },
    /// The downward API has no such value.
    #[error("volume {volume:?}: file {path:?}: {source}")]
    Downward {
        /// Volume.
        volume: String,
        /// File in the volume.
        path: String,
        /// What is wrong with the reference.
        source: DownwardError,
    },
    /// A file of the downward API refers to nothing.
    #[error("volume {volume:?}: file {path:?} needs a fieldRef or a resourceFieldRef")]
    NoReference {
        /// Volume.
        volume: String,
        /// File in the volume.
        path: String,
    },
    /// A path of a file in the volume is not allowed.
    #[error("volume {volume:?}: file {path:?}: the path {rule}")]
    Path {
        /// Volume.
        volume: String,
        /// File in the volume.
        path: String,
        /// The rule that it breaks, e.g. `must be relative`.
        rule: &'static str,
    },
    /// A permission mode is outside 0..=0777.
    #[error("volume {volume:?}: file {path:?}: mode {mode:#o} must be between 0 and 0777")]
    Mode {
        /// Volume.
        volume: String,
        /// File in the volume.
        path: String,
        /// Mode.
        mode: i32,
    },
    /// A container mounts a volume that the pod does not have.
    #[error("cannot find volume {volume:?} to mount into container {container:?}")]
    Missing {
        /// Volume.
        volume: String,
        /// Container.
        container: String,
    },
    /// `subPathExpr` uses variables that the container does not have.
    #[error("container {container:?}: subPathExpr of volume {volume:?}: missing value for {names}")]
    Variables {
        /// Volume.
        volume: String,
        /// Container.
        container: String,
        /// Variables, sorted, comma separated.
        names: String,
    },
    /// A sub path is not allowed.
    #[error("container {container:?}: subPath {sub_path:?} of volume {volume:?} {rule}")]
    SubPath {
        /// Volume.
        volume: String,
        /// Container.
        container: String,
        /// Sub path after expansion.
        sub_path: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// `mountPropagation` is unknown.
    #[error("container {container:?}: mountPropagation {mode:?} of volume {volume:?} is unknown")]
    Propagation {
        /// Volume.
        volume: String,
        /// Container.
        container: String,
        /// Mode.
        mode: String,
    },
    /// `recursiveReadOnly` cannot be had.
    #[error("container {container:?}: volume {volume:?} requested recursive read-only mode, but {reason}")]
    RecursiveReadOnly {
        /// Volume.
        volume: String,
        /// Container.
        container: String,
        /// Why not.
        reason: String,
    },
}
