//! The agent's plain vocabulary: names, times, quantities, what a container runtime is asked for and
//! what it shows, and the snapshots that tasks publish for each other.
//!
//! Everything here is data with small total functions. Nothing here decides, waits or does I/O, so every
//! ring may use it. API objects (`Pod`, `PodStatus`, ...) are `k8s-openapi`'s and are re-exported as [`api`].

pub mod downward;
pub mod event;
pub mod expansion;
pub mod gates;
mod http_get;
pub mod ids;
pub mod invariant;
pub mod keys;
pub mod local;
pub mod objects;
pub mod observed;
pub mod pod;
pub mod pressure;
pub mod qos;
pub mod quantity;
pub mod runtime;
pub mod secret;
pub mod shutdown;
pub mod time;
pub mod view;

/// Kubernetes API objects as `k8s-openapi` generates them.
pub mod api {
    pub use k8s_openapi::api::core::v1::{
        Affinity, Container, ContainerPort, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        EphemeralContainer, HTTPGetAction, HostAlias, HostIP, HostPathVolumeSource, Lifecycle,
        LifecycleHandler, Pod, PodCondition, PodDNSConfig, PodIP, PodSecurityContext, PodSpec, PodStatus,
        Probe, ResourceRequirements, Secret, SecurityContext, ServiceAccount, Toleration, Volume,
        VolumeMount,
    };
    pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityText;
    pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
}

pub use event::{EventRecord, EventType, ObjectKind, ObjectRef};
pub use gates::{EnvFileRefs, PodGates, RestartRules, StopSignals};
pub use http_get::{HttpGet, HttpScheme};
pub use ids::{ContainerId, PodKey, PodUid, SandboxId};
pub use invariant::Invariant;
pub use objects::{ApiObjects, KeyedKind, KeyedObject, KeyedRef, Lookup, LookupError, Mutability};
pub use observed::{ObservedContainer, ObservedPod, ObservedSandbox};
pub use pod::{ContainerKind, ContainerRef, PodExt};
pub use qos::QosClass;
pub use quantity::Quantity;
pub use secret::Secret;
pub use shutdown::Shutdown;
pub use time::{MonoTime, WallTime};
