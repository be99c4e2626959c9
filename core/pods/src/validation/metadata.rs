//! `metadata` of a pod: names, namespace, UID, labels and annotations.

use core_types::api::{ObjectMeta, PodSpec};
use core_types::keys::CONFIG_MIRROR_ANNOTATION;

use super::{Errors, Path, names};

/// Bytes that all annotations of an object may have together.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

pub(super) fn validate(meta: &ObjectMeta, spec: &PodSpec, errors: &mut Errors) {
    let path = Path::root("metadata");
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.required(&path.child("name"), "name or generateName is required"),
        name => errors.invalid_each(&path.child("name"), name, names::dns1123_subdomain(name)),
    }
    match meta.namespace.as_deref().unwrap_or_default() {
        "" => errors.required(&path.child("namespace"), ""),
        namespace => {
            errors.invalid_each(&path.child("namespace"), namespace, names::dns1123_label(namespace))
        }
    }
    validate_uid(meta.uid.as_deref().unwrap_or_default(), &path.child("uid"), errors);
    validate_labels(meta.labels.iter().flatten(), &path.child("labels"), errors);
    validate_annotations(meta, spec, &path.child("annotations"), errors);
}

/// Not in upstream, which trusts the manifest: the UID names a directory below the root directory and cgroups, so a
/// slash in it would lead out of there.
fn validate_uid(uid: &str, path: &Path, errors: &mut Errors) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !uid.is_empty() && (uid.len() > 63 || uid.starts_with('.') || !uid.bytes().all(plain)) {
        errors.invalid(
            path,
            uid,
            "must be at most 63 letters, digits, '-', '_' or '.', not starting with '.': leave it out to have it derived from the manifest",
        );
    }
}

/// Labels, and other maps of the same syntax (`spec.nodeSelector`).
pub(super) fn validate_labels<'a>(
    labels: impl Iterator<Item = (&'a String, &'a String)>,
    path: &Path,
    errors: &mut Errors,
) {
    for (key, value) in labels {
        errors.invalid_each(path, key, names::qualified_name(key));
        errors.invalid_each(path, value, names::label_value(value));
    }
}

fn validate_annotations(meta: &ObjectMeta, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in meta.annotations.iter().flatten() {
        errors.invalid_each(path, key, names::qualified_name(&key.to_lowercase()));
        bytes += key.len() + value.len();
        if key == CONFIG_MIRROR_ANNOTATION && spec.node_name.as_deref().unwrap_or_default().is_empty() {
            let path = path.key(key);
            errors.invalid(&path, value, "must set spec.nodeName if mirror pod annotation is set");
        }
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.too_long(path, MAX_ANNOTATION_BYTES);
    }
}
