//! Volumes of a pod. Sources that need an API object or a network file system are only counted here: static pods may not
//! use the former, and [`crate::unsupported`] refuses the latter as a whole.

use std::collections::BTreeSet;

use core_types::Quantity;
use core_types::api::{EmptyDirVolumeSource, HostPathVolumeSource, Volume};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, ImageVolumeSource, ProjectedVolumeSource};

use super::container::{validate_descending_path, validate_no_backsteps};
use super::env::{FieldUser, validate_field_ref, validate_resource_field_ref};
use super::{Errors, Path, names};

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const DIR_MODE: &str = "must be a number between 0 and 01777 (octal), both inclusive";

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Names of the sources that a volume has set, in upstream's order of checking.
pub(crate) fn volume_sources(volume: &Volume) -> Vec<&'static str> {
    let all = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// Validates all volumes; gives the names that mounts may use. Unlike upstream, a volume with an error of its own still
/// counts as known: its mounts are not the mistake.
pub(super) fn validate<'a>(volumes: &'a [Volume], path: &Path, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        validate_source(volume, &path, errors);
        match volume.name.as_str() {
            "" => errors.required(&path.child("name"), ""),
            name => {
                errors.invalid_each(&path.child("name"), name, names::dns1123_label(name));
                if !known.insert(name) {
                    errors.duplicate(&path.child("name"), name);
                }
            }
        }
    }
    known
}

fn validate_source(volume: &Volume, path: &Path, errors: &mut Errors) {
    let sources = volume_sources(volume);
    if sources.is_empty() {
        return errors.required(path, "must specify a volume type");
    }
    for source in &sources[1..] {
        errors.forbidden(&path.child(source), "may not specify more than 1 volume type");
    }
    if let Some(source) = &volume.empty_dir {
        validate_empty_dir(source, &path.child("emptyDir"), errors);
    }
    if let Some(source) = &volume.host_path {
        validate_host_path(source, &path.child("hostPath"), errors);
    }
    if let Some(source) = &volume.downward_api {
        let path = path.child("downwardAPI");
        validate_mode(source.default_mode, 0o777, &path.child("defaultMode"), errors);
        validate_user(source.default_user, &path.child("defaultUser"), errors);
        for (index, file) in source.items.iter().flatten().enumerate() {
            validate_downward_file(file, &path.child("items").index(index), errors);
        }
    }
    if let Some(source) = &volume.image {
        validate_image(source, &path.child("image"), errors);
    }
    if let Some(source) = &volume.projected {
        validate_projected(source, &path.child("projected"), errors);
    }
}

fn validate_image(source: &ImageVolumeSource, path: &Path, errors: &mut Errors) {
    if source.reference.as_deref().unwrap_or_default().is_empty() {
        errors.required(&path.child("reference"), "");
    }
    errors.one_of(
        &path.child("pullPolicy"),
        source.pull_policy.as_deref().unwrap_or_default(),
        &["Always", "IfNotPresent", "Never"],
    );
}

fn validate_empty_dir(source: &EmptyDirVolumeSource, path: &Path, errors: &mut Errors) {
    if let Some(limit) = &source.size_limit {
        match limit.0.parse::<Quantity>() {
            Ok(value) if value >= Quantity::default() => {}
            _ => errors
                .forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity"),
        }
    }
    validate_mode(source.mode, 0o1777, &path.child("mode"), errors);
}

fn validate_host_path(source: &HostPathVolumeSource, path: &Path, errors: &mut Errors) {
    if source.path.is_empty() {
        return errors.required(&path.child("path"), "");
    }
    validate_no_backsteps(&source.path, &path.child("path"), errors);
    if let Some(kind) = source.type_.as_deref().filter(|kind| !HOST_PATH_TYPES.contains(kind)) {
        errors.not_supported(&path.child("type"), kind, HOST_PATH_TYPES);
    }
}

fn validate_projected(source: &ProjectedVolumeSource, path: &Path, errors: &mut Errors) {
    validate_mode(source.default_mode, 0o777, &path.child("defaultMode"), errors);
    validate_user(source.default_user, &path.child("defaultUser"), errors);
    let mut paths = BTreeSet::new();
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        let path = path.child("sources").index(index);
        let set = [
            projection.secret.is_some(),
            projection.config_map.is_some(),
            projection.downward_api.is_some(),
            projection.service_account_token.is_some(),
            projection.cluster_trust_bundle.is_some(),
            projection.pod_certificate.is_some(),
        ];
        match set.into_iter().filter(|&set| set).count() {
            0 => errors.required(&path, "must specify a source type"),
            1 => {}
            _ => errors.forbidden(&path, "may not specify more than 1 volume type per source"),
        }
        let files = projection.downward_api.iter().filter_map(|source| source.items.as_ref()).flatten();
        for (file_index, file) in files.enumerate() {
            let path = path.child("downwardAPI").child("items").index(file_index);
            validate_downward_file(file, &path, errors);
            if !file.path.is_empty() && !paths.insert(file.path.as_str()) {
                errors.invalid(&path.child("path"), &file.path, "conflicting duplicate paths");
            }
        }
    }
}

fn validate_downward_file(file: &DownwardAPIVolumeFile, path: &Path, errors: &mut Errors) {
    let field = path.child("path");
    if file.path.is_empty() {
        errors.required(&field, "");
    }
    validate_descending_path(&file.path, &field, errors);
    if file.path.starts_with("..") && !file.path.starts_with("../") && file.path != ".." {
        errors.invalid(&field, &file.path, "must not start with '..'");
    }
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(reference), resource) => {
            validate_field_ref(reference, VOLUME_FIELDS, &path.child("fieldRef"), errors);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", detail);
            }
        }
        (None, Some(reference)) => {
            validate_resource_field_ref(
                reference,
                FieldUser::Volume,
                &path.child("resourceFieldRef"),
                errors,
            );
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    validate_mode(file.mode, 0o777, &path.child("mode"), errors);
    validate_user(file.user, &path.child("user"), errors);
}

fn validate_mode(mode: Option<i32>, highest: i32, path: &Path, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|mode| !(0..=highest).contains(mode)) {
        errors.invalid(path, mode, if highest == 0o777 { FILE_MODE } else { DIR_MODE });
    }
}

fn validate_user(user: Option<i64>, path: &Path, errors: &mut Errors) {
    if let Some(user) = user {
        for message in names::user_or_group_id(user) {
            errors.invalid(path, user, message);
        }
    }
}
