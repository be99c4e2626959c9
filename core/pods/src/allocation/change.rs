//! Whether a changed spec is a resize, by the rules that an API server has for one (upstream's `ValidatePodResize`), for
//! pods that never pass an API server.

use std::collections::BTreeMap;

use core_cm::{PodResources, qos_class};
use core_types::api::{Container, Pod, PodSpec, QuantityText, ResourceRequirements};
use core_types::keys::{
    CONFIG_HASH_ANNOTATION, CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION, CONFIG_SOURCE_ANNOTATION,
};

use crate::validation::{Errors, FieldError, Path};

/// What a pod of the same name is to the one that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum SpecChange {
    /// The same.
    None,
    /// Other requests or limits of CPU or memory: it can be resized while it runs.
    Resize,
    /// Something else differs too, or a resize like this is not allowed; why. It must be made anew.
    Other(Vec<FieldError>),
}

/// Compares two pods of one name that were read the same way.
pub fn spec_change(old: &Pod, new: &Pod) -> SpecChange {
    let (Some(old_spec), Some(new_spec)) = (&old.spec, &new.spec) else {
        return SpecChange::Other(Vec::new());
    };
    let path = Path::root("spec");
    let mut errors = Errors::default();
    if !labels(old).eq(labels(new)) || !annotations(old).eq(annotations(new)) {
        errors.forbidden(&Path::root("metadata"), "only cpu and memory resources are mutable");
        return SpecChange::Other(errors.into_vec());
    }
    if without_sizes(old_spec) != without_sizes(new_spec) {
        errors.forbidden(&path, "only cpu and memory resources are mutable");
        return SpecChange::Other(errors.into_vec());
    }
    if !PodResources::of(old).differ_from(new) {
        return SpecChange::None;
    }
    if qos_class(&plain(old)) != qos_class(&plain(new)) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&path, qos_class(&plain(new)).as_str(), detail);
    }
    validate_whole(old_spec, new_spec, &path, &mut errors);
    for (list, old, new) in [
        ("initContainers", old_spec.init_containers.as_deref(), new_spec.init_containers.as_deref()),
        ("containers", Some(old_spec.containers.as_slice()), Some(new_spec.containers.as_slice())),
    ] {
        let pairs = old.unwrap_or_default().iter().zip(new.unwrap_or_default()).enumerate();
        for (index, (old, new)) in pairs {
            let path = path.child(list).index(index).child("resources");
            removed(&old.resources, &new.resources, "resource", &path, &mut errors);
        }
    }
    let errors = errors.into_vec();
    if errors.is_empty() { SpecChange::Resize } else { SpecChange::Other(errors) }
}

/// The pod without a status, which may know a class of its own.
fn plain(pod: &Pod) -> Pod {
    Pod { status: None, ..pod.clone() }
}

fn labels(pod: &Pod) -> impl Iterator<Item = (&String, &String)> {
    pod.metadata.labels.iter().flatten()
}

/// Annotations that the agent does not write itself.
fn annotations(pod: &Pod) -> impl Iterator<Item = (&String, &String)> {
    const OWN: [&str; 4] =
        [CONFIG_SOURCE_ANNOTATION, CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION, CONFIG_HASH_ANNOTATION];
    pod.metadata.annotations.iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str()))
}

fn without_sizes(spec: &PodSpec) -> PodSpec {
    let mut spec = spec.clone();
    let containers: Vec<&mut Container> =
        spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).collect();
    for container in containers {
        drop_sizes(&mut container.resources);
    }
    drop_sizes(&mut spec.resources);
    spec
}

fn drop_sizes(resources: &mut Option<ResourceRequirements>) {
    let own = resources.get_or_insert_default();
    for list in [&mut own.requests, &mut own.limits] {
        list.get_or_insert_default().retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
    }
}

fn validate_whole(old: &PodSpec, new: &PodSpec, path: &Path, errors: &mut Errors) {
    let path = path.child("resources");
    if old.resources.is_some() && new.resources.is_none() {
        return errors.forbidden(&path, "pod-level resources cannot be removed");
    }
    removed(&old.resources, &new.resources, "pod-level resource", &path, errors);
}

/// Requests and limits may change, not go.
fn removed(
    old: &Option<ResourceRequirements>,
    new: &Option<ResourceRequirements>,
    what: &str,
    path: &Path,
    errors: &mut Errors,
) {
    let none = ResourceRequirements::default();
    let (old, new) = (old.as_ref().unwrap_or(&none), new.as_ref().unwrap_or(&none));
    let is_removed = |old: &Option<BTreeMap<String, QuantityText>>, new: &Option<BTreeMap<_, _>>| {
        old.iter().flatten().any(|(name, _)| !new.as_ref().is_some_and(|list| list.contains_key(name)))
    };
    if is_removed(&old.requests, &new.requests) {
        errors.forbidden(&path.child("requests"), format!("{what} requests cannot be removed"));
    }
    if is_removed(&old.limits, &new.limits) {
        errors.forbidden(&path.child("limits"), format!("{what} limits cannot be removed"));
    }
}
