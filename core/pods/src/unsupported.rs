//! What this agent does not do yet. A pod that asks for it is refused with the field named, instead of run as if the
//! field were not there.
//!
//! The tables below are the whole list: work that adds a feature deletes its row. Fields that upstream ignores on the
//! node, and those that the agent supports, have none.

use core_types::api::{Container, PodSpec, Volume};

use crate::validation::{Errors, FieldError, Path, volume_sources};

/// A field of the pod spec: its name, whether the pod uses it, what is missing, and the way out.
type PodRow = (&'static str, fn(&PodSpec) -> bool, &'static str, &'static str);

const POD_ROWS: &[PodRow] =
    &[("resourceClaims", |spec| filled(&spec.resource_claims), "resource claims are", REMOVE)];

/// A field of a container, as [`PodRow`].
type ContainerRow = (&'static str, fn(&Container) -> bool, &'static str, &'static str);

const CONTAINER_ROWS: &[ContainerRow] = &[
    ("volumeDevices", |container| filled(&container.volume_devices), "block volumes are", REMOVE),
    (
        "resources.claims",
        |container| container.resources.as_ref().is_some_and(|resources| filled(&resources.claims)),
        "resource claims are",
        REMOVE,
    ),
];

/// Volume sources that work.
const VOLUME_SOURCES: &[&str] =
    &["emptyDir", "hostPath", "downwardAPI", "image", "projected", "secret", "configMap"];

const REMOVE: &str = "remove the field";

fn filled<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// Every use of something that the agent does not do yet.
pub fn unsupported_fields(spec: &PodSpec) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let path = Path::root("spec");
    for (field, _, what, way_out) in POD_ROWS.iter().filter(|(_, used, ..)| used(spec)) {
        refuse(&mut errors, &path.child(field), what, way_out);
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = path.child("initContainers").index(index);
        refuse_in_container(container, &path, &mut errors);
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.child("containers").index(index);
        refuse_in_container(container, &path, &mut errors);
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        refuse_in_volume(volume, &path.child("volumes").index(index), &mut errors);
    }
    errors.into_vec()
}

fn refuse(errors: &mut Errors, path: &Path, what: &str, way_out: &str) {
    errors.forbidden(path, format!("{what} not implemented yet: {way_out}"));
}

fn refuse_in_container(container: &Container, path: &Path, errors: &mut Errors) {
    for (field, _, what, way_out) in CONTAINER_ROWS.iter().filter(|(_, used, ..)| used(container)) {
        refuse(errors, &path.child(field), what, way_out);
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if filled(&mount.bind_mount_options) {
            let path = path.child("volumeMounts").index(index).child("bindMountOptions");
            refuse(errors, &path, "bind mount options are", REMOVE);
        }
    }
}

fn refuse_in_volume(volume: &Volume, path: &Path, errors: &mut Errors) {
    for source in volume_sources(volume) {
        if !VOLUME_SOURCES.contains(&source) {
            let what = format!("{source} volumes are");
            refuse(errors, &path.child(source), &what, "use an emptyDir, hostPath or downwardAPI volume");
        }
    }
}
