//! Label and annotation keys that the kubelet writes on pods, sandboxes and containers.
//!
//! Those on sandboxes and containers are the only memory that survives a restart of the agent, and they are
//! shared with upstream's kubelet: each must stay readable by the other (CONTRACT 3.10).

/// Sandbox and container label: `metadata.name` of the pod.
pub const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
/// Sandbox and container label: `metadata.namespace` of the pod.
pub const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// Sandbox and container label: `metadata.uid` of the pod.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// Container label: name of the container in the pod spec.
pub const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";

/// Container annotation: hash of the container's spec, hexadecimal.
pub const CONTAINER_HASH_ANNOTATION: &str = "io.kubernetes.container.hash";
/// Container annotation: how often the container was restarted before this instance.
pub const CONTAINER_RESTART_COUNT_ANNOTATION: &str = "io.kubernetes.container.restartCount";
/// Container annotation: path of the termination message inside the container.
pub const CONTAINER_TERMINATION_MESSAGE_PATH_ANNOTATION: &str =
    "io.kubernetes.container.terminationMessagePath";
/// Container annotation: `File` or `FallbackToLogsOnError`.
pub const CONTAINER_TERMINATION_MESSAGE_POLICY_ANNOTATION: &str =
    "io.kubernetes.container.terminationMessagePolicy";
/// Container annotation: the preStop handler as JSON.
pub const CONTAINER_PRE_STOP_HANDLER_ANNOTATION: &str = "io.kubernetes.container.preStopHandler";
/// Container annotation: the container's ports as JSON.
pub const CONTAINER_PORTS_ANNOTATION: &str = "io.kubernetes.container.ports";
/// Container annotation: `metadata.deletionGracePeriodSeconds` of the pod, in seconds.
pub const POD_DELETION_GRACE_PERIOD_ANNOTATION: &str = "io.kubernetes.pod.deletionGracePeriod";
/// Container annotation: `spec.terminationGracePeriodSeconds` of the pod, in seconds.
pub const POD_TERMINATION_GRACE_PERIOD_ANNOTATION: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Annotation of pods of `podwright run`, podwright's own: where they come from, which for upstream is a file like any other.
pub const LOCAL_SOURCE_ANNOTATION: &str = "podwright.io/source";
/// Container annotation of sidecars only, podwright's own: place among the pod's init containers, from 0. With it a pod whose
/// spec is gone still stops its sidecars last; upstream's kubelet does not read it.
pub const SIDECAR_PLACE_ANNOTATION: &str = "podwright.io/sidecar-place";
/// Before the name of a container: annotation of a pod with the AppArmor profile, from before there was a field.
pub const APPARMOR_ANNOTATION_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Pod annotation: where the pod came from: `file`, `http` or `api`.
pub const CONFIG_SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// Pod annotation: when the agent first saw the pod, RFC 3339 with nanoseconds.
pub const CONFIG_SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";
/// Pod annotation: hash of a static pod's manifest.
pub const CONFIG_HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
/// Pod annotation that makes a pod a mirror pod; its value is the static pod's hash.
pub const CONFIG_MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
