//! Environment variables and the references to fields of the pod (also used by downward API volumes).

use core_types::api::{Container, EnvVar, Volume};
use core_types::{EnvFileRefs, Quantity};
use k8s_openapi::api::core::v1::{FileKeySelector, ObjectFieldSelector, ResourceFieldSelector};

use super::container::validate_no_backsteps;
use super::{Errors, Path, names};

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that upstream's conversion of downward API labels knows.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.host",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const SIZE_DIVISORS: &[&str] =
    &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Where a reference to a resource field stands: a volume must name the container, an environment variable means its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldUser {
    Env,
    Volume,
}

/// `env` and `envFrom` of a container; the volumes are the pod's.
pub(super) fn validate(
    container: &Container,
    (volumes, files): (&[Volume], EnvFileRefs),
    path: &Path,
    errors: &mut Errors,
) {
    for (index, var) in container.env.iter().flatten().enumerate() {
        let path = path.child("env").index(index);
        match var.name.as_str() {
            "" => errors.required(&path.child("name"), ""),
            name => errors.invalid_each(&path.child("name"), name, names::env_var_name(name)),
        }
        validate_value_from(var, (volumes, files), &path.child("valueFrom"), errors);
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        let list = path.child("envFrom");
        if let Some(prefix) = source.prefix.as_deref() {
            errors.invalid_each(&list.index(index).child("prefix"), prefix, names::env_var_name(prefix));
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => errors.invalid(&list, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => {
                errors.invalid(&list, "", "may not have more than one field specified at a time")
            }
            _ => {}
        }
    }
}

fn validate_value_from(
    var: &EnvVar,
    (volumes, files): (&[Volume], EnvFileRefs),
    path: &Path,
    errors: &mut Errors,
) {
    let Some(source) = &var.value_from else { return };
    if let Some(field) = &source.field_ref {
        validate_field_ref(field, ENV_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(field) = &source.resource_field_ref {
        validate_resource_field_ref(field, FieldUser::Env, &path.child("resourceFieldRef"), errors);
    }
    match (&source.file_key_ref, files) {
        (None, _) => {}
        (Some(key), EnvFileRefs::Read) => {
            validate_file_key_ref(key, volumes, &path.child("fileKeyRef"), errors);
        }
        (Some(_), EnvFileRefs::Ignored) => {
            let detail = "may not be set when the feature gate EnvFiles is off";
            errors.forbidden(&path.child("fileKeyRef"), detail);
        }
    }
    let sources = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    match sources.into_iter().filter(|&set| set).count() {
        0 => errors.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        _ if var.value.as_ref().is_some_and(|value| !value.is_empty()) => {
            errors.invalid(path, "", "may not be specified when `value` is not empty");
        }
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
}

/// A reference to a key of a file in a volume.
fn validate_file_key_ref(key: &FileKeySelector, volumes: &[Volume], path: &Path, errors: &mut Errors) {
    match key.key.as_str() {
        "" => errors.required(&path.child("key"), ""),
        name => errors.invalid_each(&path.child("key"), name, names::env_var_name(name)),
    }
    let volume_path = path.child("volumeName");
    match key.volume_name.as_str() {
        "" => errors.required(&volume_path, ""),
        name => errors.invalid_each(&volume_path, name, names::dns1123_label(name)),
    }
    match key.path.as_str() {
        "" => errors.required(&path.child("path"), ""),
        file => validate_no_backsteps(file, &path.child("path"), errors),
    }
    match volumes.iter().find(|volume| volume.name == key.volume_name) {
        None => errors.not_found(&volume_path, &key.volume_name),
        Some(volume) if volume.empty_dir.is_none() => {
            errors.invalid(&volume_path, &key.volume_name, "referenced volume must be of type emptyDir");
        }
        Some(_) => {}
    }
}

/// A reference to a field of the pod; `supported` are the fields that may be named without a subscript.
pub(super) fn validate_field_ref(
    field: &ObjectFieldSelector,
    supported: &[&str],
    path: &Path,
    errors: &mut Errors,
) {
    let version = field.api_version.as_deref().unwrap_or_default();
    if version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    let name = field.field_path.as_str();
    if name.is_empty() {
        return errors.required(&path.child("fieldPath"), "");
    }
    let conversion_error = |errors: &mut Errors, what: String| {
        errors.invalid(&path.child("fieldPath"), name, format!("error converting fieldPath: {what}"));
    };
    if version != "v1" {
        return conversion_error(errors, format!("unsupported pod version: {version}"));
    }
    if let Some((map, key)) = split_subscript(name) {
        return match map {
            "metadata.annotations" => {
                errors.invalid_each(path, key, names::qualified_name(&key.to_lowercase()))
            }
            "metadata.labels" => errors.invalid_each(path, key, names::qualified_name(key)),
            _ => conversion_error(errors, format!("field label does not support subscript: {name}")),
        };
    }
    if !KNOWN_FIELDS.contains(&name) {
        return conversion_error(errors, format!("field label not supported: {name}"));
    }
    let name = if name == "spec.host" { "spec.nodeName" } else { name };
    if !supported.contains(&name) {
        errors.not_supported(&path.child("fieldPath"), name, supported);
    }
}

/// `metadata.labels['key']` as map and key.
fn split_subscript(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix("']")?.split_once("['").filter(|(map, _)| !map.is_empty())
}

/// A reference to a request or limit of a container.
pub(super) fn validate_resource_field_ref(
    field: &ResourceFieldSelector,
    user: FieldUser,
    path: &Path,
    errors: &mut Errors,
) {
    let resource = field.resource.as_str();
    let huge_pages = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if user == FieldUser::Volume && field.container_name.as_deref().unwrap_or_default().is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCE_FIELDS.contains(&resource) && !huge_pages {
        errors.not_supported(&path.child("resource"), resource, RESOURCE_FIELDS);
    }
    let Some(divisor) = &field.divisor else { return };
    let path = path.child("divisor");
    let value: Quantity = match divisor.0.parse() {
        Ok(value) => value,
        Err(error) => return errors.invalid(&path, &divisor.0, error.to_string()),
    };
    if value == Quantity::default() {
        return;
    }
    let written = value.to_string();
    let among = |texts: &[&str]| texts.contains(&written.as_str());
    let sizes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (fine, detail) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => (
            among(&["1m", "1"]),
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned(),
        ),
        Some(name @ ("memory" | "ephemeral-storage")) => {
            let name = if name == "memory" { "memory" } else { "local ephemeral storage" };
            (
                among(SIZE_DIVISORS),
                format!("only divisor's values {sizes} are supported with the {name} resource"),
            )
        }
        _ if huge_pages => (
            among(SIZE_DIVISORS),
            format!("only divisor's values {sizes} are supported with the hugepages resource"),
        ),
        _ => (true, String::new()),
    };
    if !fine {
        errors.invalid(&path, resource, detail);
    }
}
