//! What makes a manifest's pod a pod of this node (CONTRACT 3.1): UID, name, namespace, node, annotations, toleration.

use core_types::WallTime;
use core_types::api::{Pod, PodStatus, Toleration};
use core_types::keys::{
    CONFIG_HASH_ANNOTATION, CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION, CONFIG_SOURCE_ANNOTATION,
    LOCAL_SOURCE_ANNOTATION,
};
use core_types::view::PodSource;

use super::StaticContext;
use super::defaults::with_defaults_as_written;
use super::fnv::Fnv128;
use super::upstream_uid::upstream_form;

/// Removes what only an API server may set. A manifest taken with `kubectl get -o yaml` carries it, and it would make
/// the pod a mirror pod, or one that is being deleted.
fn strip_server_fields(pod: &mut Pod) {
    let meta = &mut pod.metadata;
    meta.managed_fields = None;
    meta.resource_version = None;
    meta.self_link = None;
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    if let Some(annotations) = &mut meta.annotations {
        for key in [
            CONFIG_MIRROR_ANNOTATION,
            CONFIG_HASH_ANNOTATION,
            CONFIG_SEEN_ANNOTATION,
            CONFIG_SOURCE_ANNOTATION,
            LOCAL_SOURCE_ANNOTATION,
        ] {
            annotations.remove(key);
        }
    }
    pod.status = None;
}

/// The UID of a pod that has none: a hash of the pod and of where it comes from.
///
/// `upstream_form` is the pod as upstream hashes it: both agents then give a static pod one UID and take over the
/// running containers of the other. Without it, and for local pods, which upstream does not know, the hash is of the pod
/// as written: it too stays the same while the manifest does, and differs between nodes and files.
fn derived_uid(pod: &Pod, upstream_form: Option<String>, context: &StaticContext<'_>) -> String {
    let mut hash = Fnv128::new();
    match upstream_form {
        Some(text) => hash.write(text.as_bytes()),
        // A pod always has a JSON form: its maps have text keys and it holds no floats.
        None => hash.write_json(&serde_json::to_value(pod).unwrap_or_default()),
    }
    let place = match context.source {
        PodSource::File => format!("host:{}file:{}", context.node_name, context.origin),
        PodSource::Http => format!("url:{}", context.origin),
        PodSource::Local | PodSource::Api => format!("host:{}local:", context.node_name),
    };
    hash.write(place.as_bytes());
    hash.hex()
}

/// Makes a pod as written a pod of this node: its UID, no server fields, the static defaults. The API defaults come after.
pub(super) fn make_static(pod: &mut Pod, context: &StaticContext<'_>, seen: WallTime) {
    let has_uid = !pod.metadata.uid.as_deref().unwrap_or_default().is_empty();
    let hashed_as_upstream = matches!(context.source, PodSource::File | PodSource::Http);
    let upstream_form = match hashed_as_upstream && !has_uid {
        true => upstream_form(&with_defaults_as_written(pod)),
        false => None,
    };
    strip_server_fields(pod);
    if !has_uid {
        pod.metadata.uid = Some(derived_uid(pod, upstream_form, context));
    }
    apply_static_defaults(pod, context, seen);
}

fn apply_static_defaults(pod: &mut Pod, context: &StaticContext<'_>, seen: WallTime) {
    let meta = &mut pod.metadata;
    if context.source != PodSource::Local
        && let Some(name) = meta.name.as_mut().filter(|name| !name.is_empty())
    {
        name.push('-');
        name.push_str(&context.node_name.to_lowercase());
    }
    if meta.namespace.as_deref().unwrap_or_default().is_empty() {
        meta.namespace = Some("default".to_owned());
    }
    let uid = meta.uid.clone().unwrap_or_default();
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(CONFIG_HASH_ANNOTATION.to_owned(), uid);
    annotations.insert(CONFIG_SOURCE_ANNOTATION.to_owned(), context.source.annotation().to_owned());
    annotations.insert(CONFIG_SEEN_ANNOTATION.to_owned(), seen.to_rfc3339_nano());
    if context.source == PodSource::Local {
        annotations.insert(LOCAL_SOURCE_ANNOTATION.to_owned(), "local".to_owned());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(context.node_name.to_owned());
    if matches!(context.source, PodSource::File | PodSource::Local) {
        tolerate_no_execute(spec.tolerations.get_or_insert_default());
    }
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
}

/// Trouble with the node must not evict the pod. A toleration of the same taints that ends after a time is replaced.
fn tolerate_no_execute(tolerations: &mut Vec<Toleration>) {
    let wanted = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let same_taints = |other: &Toleration| {
        text(&other.key).is_empty()
            && text(&other.value).is_empty()
            && other.operator == wanted.operator
            && other.effect == wanted.effect
    };
    match tolerations.iter_mut().find(|toleration| same_taints(toleration)) {
        Some(toleration) => *toleration = wanted,
        None => tolerations.push(wanted),
    }
}
