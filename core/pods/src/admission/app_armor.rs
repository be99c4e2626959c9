//! AppArmor: a pod that asks for a profile runs only where the kernel can enforce one.

use core_types::api::{Pod, PodSpec};
use core_types::{PodExt, keys};
use k8s_openapi::api::core::v1::AppArmorProfile;

/// Whether the kernel enforces AppArmor profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppArmor {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// Why the pod's profiles cannot be enforced, in upstream's words; `None` when they can or there are none.
pub(super) fn unenforceable(pod: &Pod, spec: &PodSpec, host: AppArmor) -> Option<String> {
    let of_pod = spec.security_context.iter().filter_map(|context| context.app_armor_profile.as_ref());
    let containers = pod.container_refs();
    let contexts = containers.iter().filter_map(|container| container.spec.security_context.as_ref());
    let fields: Vec<&AppArmorProfile> =
        of_pod.chain(contexts.filter_map(|context| context.app_armor_profile.as_ref())).collect();
    let annotations = pod.metadata.annotations.iter().flatten();
    let annotations: Vec<&str> = annotations
        .filter(|(key, _)| key.starts_with(keys::APPARMOR_ANNOTATION_PREFIX))
        .map(|(_, value)| value.as_str())
        .collect();
    let is_asked = fields.iter().any(|profile| profile.type_ != "Unconfined")
        || annotations.iter().any(|value| *value != "unconfined");
    if !is_asked {
        return None;
    }
    if host == AppArmor::Disabled {
        return Some("Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
    }
    let is_empty = |profile: &&AppArmorProfile| {
        profile.type_ == "Localhost"
            && profile.localhost_profile.as_deref().unwrap_or_default().trim().is_empty()
    };
    let is_nameless =
        |value: &str| value.strip_prefix("localhost/").is_some_and(|name| name.trim().is_empty());
    (fields.iter().any(is_empty) || annotations.into_iter().any(is_nameless))
        .then(|| "Cannot enforce AppArmor: invalid empty AppArmor profile name".to_owned())
}
