//! Validation of a pod as the API server would do it (upstream's `pkg/apis/core/validation`), for pods that never pass
//! an API server: static pods and pods run locally.
//!
//! Reads a pod with static and API defaults applied; gives every error at once, each with the path of its field and
//! upstream's wording, so that a search for the text finds upstream's answers. Where upstream's path leaves out an index
//! (mounts, downward API items), ours has it.
//!
//! Guarantees: total (no input makes it panic), the same errors in the same order for the same pod, at most
//! [`MAX_ERRORS`] of them.
//!
//! Left out: fields that no node reads (affinity terms, topology spread, scheduling gates), Windows
//! options, and the insides of everything that [`crate::unsupported`] refuses as a whole.

mod container;
mod env;
mod error;
mod lifecycle;
mod metadata;
mod names;
mod network;
mod pod_resources;
mod probes;
mod resources;
mod restart;
mod security;
mod spec;
mod volumes;

pub(crate) use error::{Errors, Path};
pub use error::{FieldError, FieldErrorKind, MAX_ERRORS};
pub use resources::is_extended as is_extended_resource;
pub(crate) use security::{SysctlNamespace, normalize_sysctl, sysctl_namespace};
pub(crate) use volumes::volume_sources;

use core_types::PodGates;
use core_types::api::{Pod, PodSpec};

/// Every error of a pod on its creation (upstream's `ValidatePodCreate`).
pub fn validate_pod(pod: &Pod, gates: PodGates) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    metadata::validate(&pod.metadata, spec, &mut errors);
    spec::validate(spec, gates, &mut errors);
    errors.into_vec()
}

#[cfg(test)]
mod tests;
