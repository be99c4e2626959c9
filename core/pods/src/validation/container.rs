//! Containers: names, image, ports, mounts, and what belongs to init containers only.

use std::collections::BTreeSet;

use core_types::PodGates;
use core_types::api::{Container, ContainerPort, PodSpec, VolumeMount};

use super::{Errors, Path, env, lifecycle, names, probes, resources, restart, security};

const MOUNT_PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];

/// `spec.containers` and `spec.initContainers`.
pub(super) fn validate_all(spec: &PodSpec, gates: PodGates, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    let path = Path::root("spec").child("containers");
    let mut seen = BTreeSet::new();
    if spec.containers.is_empty() {
        errors.required(&path, "");
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.index(index);
        validate_common(container, (spec, gates), volumes, &path, errors);
        probes::validate(container, &path, errors);
        if !seen.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), &container.name);
        }
        validate_lifecycle(container, spec, &path, errors);
        restart::validate_regular(container, gates.restart_rules, &path, errors);
    }
    validate_host_port_conflicts(spec.containers.iter().enumerate(), &path, errors);

    let path = Path::root("spec").child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let at = path.index(index);
        validate_common(container, (spec, gates), volumes, &at, errors);
        restart::validate_init(container, gates.restart_rules, &at, errors);
        if !container.name.is_empty() && !seen.insert(container.name.as_str()) {
            errors.duplicate(&at.child("name"), &container.name);
        }
        validate_host_port_conflicts(std::iter::once((index, container)), &path, errors);
        if container.restart_policy.as_deref() == Some("Always") {
            validate_lifecycle(container, spec, &at, errors);
        }
        validate_init_only(container, &at, errors);
    }
}

fn validate_common(
    container: &Container,
    (spec, gates): (&PodSpec, PodGates),
    volumes: &BTreeSet<&str>,
    path: &Path,
    errors: &mut Errors,
) {
    match container.name.as_str() {
        "" => errors.required(&path.child("name"), ""),
        name => errors.invalid_each(&path.child("name"), name, names::dns1123_label(name)),
    }
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        errors.required(&path.child("image"), "");
    } else if image.trim() != image {
        errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
    let field = |text: &Option<String>| text.clone().unwrap_or_default();
    errors.one_of(
        &path.child("terminationMessagePolicy"),
        &field(&container.termination_message_policy),
        &["File", "FallbackToLogsOnError"],
    );
    validate_ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    let of_pod = spec.volumes.as_deref().unwrap_or_default();
    env::validate(container, (of_pod, gates.env_files), path, errors);
    validate_mounts(container, volumes, &path.child("volumeMounts"), errors);
    errors.one_of(
        &path.child("imagePullPolicy"),
        &field(&container.image_pull_policy),
        &["Always", "IfNotPresent", "Never"],
    );
    if let Some(requirements) = &container.resources {
        resources::validate(requirements, &path.child("resources"), errors);
    }
    resources::validate_resize_policy(container, spec, &path.child("resizePolicy"), errors);
    if let Some(context) = &container.security_context {
        security::validate_container(context, spec, &path.child("securityContext"), errors);
    }
}

fn validate_lifecycle(container: &Container, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    if let Some(lifecycle) = &container.lifecycle {
        let grace_secs = spec.termination_grace_period_seconds;
        lifecycle::validate(lifecycle, grace_secs, &path.child("lifecycle"), errors);
        lifecycle::validate_stop_signal(lifecycle, spec, &path.child("lifecycle"), errors);
    }
}

/// What an init container that must end may not have.
fn validate_init_only(container: &Container, path: &Path, errors: &mut Errors) {
    if container.restart_policy.as_deref() == Some("Always") {
        return probes::validate(container, path, errors);
    }
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        errors
            .forbidden(&path.child(field), "may not be set for init containers without restartPolicy=Always");
    }
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            let field = path.child("resizePolicy").index(index).child("restartPolicy");
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&field, &policy.restart_policy, detail);
        }
    }
}

fn validate_ports(ports: &[ContainerPort], path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let messages = names::port_name(name);
            if !messages.is_empty() {
                errors.invalid_each(&path.child("name"), name, messages);
            } else if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        if port.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            for message in names::port_number(port.container_port) {
                errors.invalid(&path.child("containerPort"), port.container_port, message);
            }
        }
        if let Some(host_port) = port.host_port.filter(|&host_port| host_port != 0) {
            for message in names::port_number(host_port) {
                errors.invalid(&path.child("hostPort"), host_port, message);
            }
        }
        let protocol = port.protocol.as_deref().unwrap_or_default();
        errors.one_of(&path.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
}

fn validate_host_port_conflicts<'a>(
    containers: impl Iterator<Item = (usize, &'a Container)>,
    path: &Path,
    errors: &mut Errors,
) {
    let mut seen = BTreeSet::new();
    for (container_index, container) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|&host_port| host_port != 0) else { continue };
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let key = format!("{protocol}/{}/{host_port}", port.host_ip.as_deref().unwrap_or_default());
            if !seen.insert(key.clone()) {
                let field = path.index(container_index).child("ports").index(index).child("hostPort");
                errors.duplicate(&field, &key);
            }
        }
    }
}

fn validate_mounts(container: &Container, volumes: &BTreeSet<&str>, path: &Path, errors: &mut Errors) {
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged) == Some(true);
    let mut mount_paths = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(index);
        if mount.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        if !volumes.contains(mount.name.as_str()) {
            errors.not_found(&path.child("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            errors.required(&path.child("mountPath"), "");
        }
        if !mount_paths.insert(mount.mount_path.as_str()) {
            errors.invalid(&path.child("mountPath"), &mount.mount_path, "must be unique");
        }
        validate_sub_paths(mount, &path, errors);
        if let Some(mode) = &mount.mount_propagation {
            let field = path.child("mountPropagation");
            if !MOUNT_PROPAGATIONS.contains(&mode.as_str()) {
                errors.not_supported(&field, mode, MOUNT_PROPAGATIONS);
            }
            if mode == "Bidirectional" && !privileged {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.forbidden(&field, detail);
            }
        }
        validate_recursive_read_only(mount, &path.child("recursiveReadOnly"), errors);
        for (option_index, option) in mount.bind_mount_options.iter().flatten().enumerate() {
            let field = path.child("bindMountOptions").index(option_index);
            errors.one_of(&field, option, &["nodev", "noexec", "nosuid"]);
        }
    }
}

fn validate_sub_paths(mount: &VolumeMount, path: &Path, errors: &mut Errors) {
    let sub_path = mount.sub_path.as_deref().unwrap_or_default();
    let sub_path_expr = mount.sub_path_expr.as_deref().unwrap_or_default();
    if !sub_path.is_empty() {
        validate_descending_path(sub_path, &path.child("subPath"), errors);
    }
    if !sub_path_expr.is_empty() {
        let field = path.child("subPathExpr");
        if !sub_path.is_empty() {
            errors.invalid(&field, sub_path_expr, "subPathExpr and subPath are mutually exclusive");
        }
        validate_descending_path(sub_path_expr, &field, errors);
    }
}

fn validate_recursive_read_only(mount: &VolumeMount, path: &Path, errors: &mut Errors) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") {
                errors
                    .forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// A relative path that does not climb.
pub(super) fn validate_descending_path(text: &str, path: &Path, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    validate_no_backsteps(text, path, errors);
}

/// A path without `..` elements.
pub(super) fn validate_no_backsteps(text: &str, path: &Path, errors: &mut Errors) {
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}
