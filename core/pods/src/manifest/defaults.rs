//! The defaults that the API server gives a pod on its way in (upstream's `pkg/apis/core/v1/defaults.go`), for pods that
//! do not come through an API server.
//!
//! Applying them twice changes nothing. Left out: what only an API server knows (service account, priority, limit ranges).
//! Pod-level requests stay as they are written: with `PodLevelResourcesFixDefaulting` only an API server fills them in.

use core_types::Quantity;
use core_types::api::{
    Container, EmptyDirVolumeSource, Pod, PodSecurityContext, PodSpec, Probe, QuantityText,
    ResourceRequirements, Volume,
};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, HTTPGetAction, Lifecycle};

use crate::validation::volume_sources;

/// Mode of files in downward API, projected, secret and configMap volumes.
const FILE_MODE: i32 = 0o644;

/// Fills in the API defaults.
pub fn apply_api_defaults(pod: &mut Pod) {
    fill_in(pod);
    canonicalize_quantities(pod);
}

/// The pod with all defaults, but with its quantities as written.
pub(super) fn with_defaults_as_written(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    fill_in(&mut pod);
    pod
}

fn fill_in(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    for container in all_containers(spec) {
        default_container(container);
    }
    default_pod_spec(spec);
    for volume in spec.volumes.iter_mut().flatten() {
        default_volume(volume);
    }
}

/// Gives quantities their canonical form, and those of resource lists at most three decimal places.
fn canonicalize_quantities(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    for container in all_containers(spec) {
        let vars = container.env.iter_mut().flatten().filter_map(|var| var.value_from.as_mut());
        let divisors = vars.filter_map(|source| source.resource_field_ref.as_mut()?.divisor.as_mut());
        divisors.for_each(canonicalize);
        container.resources.iter_mut().for_each(canonicalize_requirements);
    }
    spec.resources.iter_mut().for_each(canonicalize_requirements);
    spec.overhead.iter_mut().flat_map(|list| list.values_mut()).for_each(round_up_to_milli);
    for volume in spec.volumes.iter_mut().flatten() {
        volume.empty_dir.iter_mut().filter_map(|source| source.size_limit.as_mut()).for_each(canonicalize);
        let files = volume.downward_api.iter_mut().filter_map(|source| source.items.as_mut()).flatten();
        files.for_each(canonicalize_divisor);
        let projections = volume.projected.iter_mut().filter_map(|source| source.sources.as_mut()).flatten();
        let files =
            projections.filter_map(|projection| projection.downward_api.as_mut()?.items.as_mut()).flatten();
        files.for_each(canonicalize_divisor);
    }
}

fn canonicalize_requirements(resources: &mut ResourceRequirements) {
    let lists = [&mut resources.limits, &mut resources.requests];
    lists.into_iter().flatten().flat_map(|list| list.values_mut()).for_each(round_up_to_milli);
}

fn canonicalize_divisor(file: &mut DownwardAPIVolumeFile) {
    file.resource_field_ref.iter_mut().filter_map(|field| field.divisor.as_mut()).for_each(canonicalize);
}

fn all_containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(spec.containers.iter_mut())
}

/// Sets an absent or empty text.
fn default_text(field: &mut Option<String>, default: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(default.to_owned());
    }
}

fn default_pod_spec(spec: &mut PodSpec) {
    match spec.termination_grace_period_seconds {
        None => spec.termination_grace_period_seconds = Some(30),
        Some(secs) if secs < 0 => spec.termination_grace_period_seconds = Some(1),
        Some(_) => {}
    }
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        for port in all_containers(spec).flat_map(|container| container.ports.iter_mut().flatten()) {
            if port.host_port.unwrap_or(0) == 0 {
                port.host_port = Some(port.container_port);
            }
        }
    }
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    default_text(&mut spec.dns_policy, "ClusterFirst");
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
}

fn default_container(container: &mut Container) {
    let policy = match pulls_latest(container.image.as_deref().unwrap_or_default()) {
        true => "Always",
        false => "IfNotPresent",
    };
    default_text(&mut container.image_pull_policy, policy);
    default_text(&mut container.termination_message_path, "/dev/termination-log");
    default_text(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        default_text(&mut port.protocol, "TCP");
    }
    for var in container.env.iter_mut().flatten() {
        if let Some(source) = &mut var.value_from {
            if let Some(field) = &mut source.field_ref {
                default_text(&mut field.api_version, "v1");
            }
            if let Some(file) = &mut source.file_key_ref {
                file.optional.get_or_insert(false);
            }
        }
    }
    if let Some(resources) = &mut container.resources {
        default_resources(resources);
    }
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(default_probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        default_lifecycle(lifecycle);
    }
}

/// True when the image has the tag `latest`, or neither tag nor digest. Upstream says false for a text that is no image
/// reference at all; such an image is never pulled, so the difference shows only in the pull policy.
fn pulls_latest(image: &str) -> bool {
    if image.is_empty() {
        return false;
    }
    let (name, has_digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !has_digest,
    }
}

/// Requests that are not given are the limits.
fn default_resources(resources: &mut ResourceRequirements) {
    if let Some(limits) = &resources.limits {
        let requests = resources.requests.get_or_insert_default();
        // A limit that is no quantity is reported where it was written, and only there.
        for (name, limit) in limits.iter().filter(|(_, limit)| Quantity::try_from(*limit).is_ok()) {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
}

/// The text in canonical form, as it is after a passage through the API server.
fn canonicalize(quantity: &mut QuantityText) {
    if let Ok(value) = Quantity::try_from(&*quantity) {
        *quantity = value.into();
    }
}

fn round_up_to_milli(quantity: &mut QuantityText) {
    let Ok(exact) = Quantity::try_from(&*quantity) else { return };
    let milli = exact.milli_value();
    // A quantity beyond what thousandths can count has no fraction worth rounding.
    let countable = milli != i64::MAX && milli != i64::MIN;
    let rounded = if countable { Quantity::from_milli(milli).with_format(exact.format()) } else { exact };
    *quantity = rounded.into();
}

fn default_probe(probe: &mut Probe) {
    let default_number = |field: &mut Option<i32>, default| {
        if field.unwrap_or(0) == 0 {
            *field = Some(default);
        }
    };
    default_number(&mut probe.timeout_seconds, 1);
    default_number(&mut probe.period_seconds, 10);
    default_number(&mut probe.success_threshold, 1);
    default_number(&mut probe.failure_threshold, 3);
    if let Some(action) = &mut probe.http_get {
        default_http_get(action);
    }
    if let Some(action) = &mut probe.grpc {
        action.service.get_or_insert_default();
    }
}

fn default_http_get(action: &mut HTTPGetAction) {
    default_text(&mut action.path, "/");
    default_text(&mut action.scheme, "HTTP");
}

fn default_lifecycle(lifecycle: &mut Lifecycle) {
    let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
    for action in handlers.into_iter().flatten().filter_map(|handler| handler.http_get.as_mut()) {
        default_http_get(action);
    }
}

fn default_volume(volume: &mut Volume) {
    if volume_sources(volume).is_empty() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        source.items.iter_mut().flatten().for_each(default_downward_file);
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for projection in source.sources.iter_mut().flatten() {
            let files =
                projection.downward_api.iter_mut().filter_map(|source| source.items.as_mut()).flatten();
            files.for_each(default_downward_file);
            if let Some(token) = &mut projection.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
        }
    }
    if let Some(source) = &mut volume.iscsi {
        default_text(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut volume.image {
        let policy = match pulls_latest(source.reference.as_deref().unwrap_or_default()) {
            true => "Always",
            false => "IfNotPresent",
        };
        default_text(&mut source.pull_policy, policy);
    }
}

fn default_downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        default_text(&mut field.api_version, "v1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("registry:5000/nginx", true),
            ("registry:5000/nginx:1", false),
            ("nginx@sha256:0123", false),
            ("nginx:latest@sha256:0123", true),
            ("nginx:1@sha256:0123", false),
            ("", false),
        ] {
            assert_eq!(pulls_latest(image), latest, "{image:?}");
        }
    }
}
