//! References to API objects, which a static pod may not hold: its node may have no API server (upstream's
//! `HasAPIObjectReference`; the words are upstream's, but every reference is reported, with its path).

use core_types::api::{PodSpec, Volume};
use k8s_openapi::api::core::v1::VolumeProjection;

use crate::validation::{Errors, Path};

/// Reports every reference of the pod to an API object.
pub(super) fn forbid_references(spec: &PodSpec, errors: &mut Errors) {
    let path = Path::root("spec");
    let forbid = |errors: &mut Errors, path: &Path, what: &str| {
        errors.forbidden(path, format!("static pods may not reference {what}"));
    };
    if spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty()) {
        forbid(errors, &path.child("serviceAccountName"), "serviceaccounts");
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|list| !list.is_empty()) {
        forbid(errors, &path.child("imagePullSecrets"), "secrets");
    }
    let init = spec.init_containers.iter().flatten().enumerate().map(|entry| ("initContainers", entry));
    let regular = spec.containers.iter().enumerate().map(|entry| ("containers", entry));
    for (list, (index, container)) in init.chain(regular) {
        let path = path.child(list).index(index);
        for (index, var) in container.env.iter().flatten().enumerate() {
            let Some(source) = &var.value_from else { continue };
            let path = path.child("env").index(index).child("valueFrom");
            if source.secret_key_ref.is_some() {
                forbid(errors, &path.child("secretKeyRef"), "secrets");
            }
            if source.config_map_key_ref.is_some() {
                forbid(errors, &path.child("configMapKeyRef"), "configmaps");
            }
        }
        for (index, source) in container.env_from.iter().flatten().enumerate() {
            let path = path.child("envFrom").index(index);
            if source.secret_ref.is_some() {
                forbid(errors, &path.child("secretRef"), "secrets");
            }
            if source.config_map_ref.is_some() {
                forbid(errors, &path.child("configMapRef"), "configmaps");
            }
        }
    }
    if spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty()) {
        forbid(errors, &path.child("resourceClaims"), "resourceclaims");
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = path.child("volumes").index(index);
        for (field, what) in volume_references(volume) {
            forbid(errors, &path.child(field), what);
        }
        let projections = volume.projected.iter().filter_map(|source| source.sources.as_ref()).flatten();
        for (index, projection) in projections.enumerate() {
            let path = path.child("projected").child("sources").index(index);
            for (field, what) in projection_references(projection) {
                forbid(errors, &path.child(field), what);
            }
        }
    }
}

fn volume_references(volume: &Volume) -> impl Iterator<Item = (&'static str, &'static str)> {
    let table = [
        (volume.config_map.is_some(), "configMap", "configmaps (via configmap volumes)"),
        (volume.secret.is_some(), "secret", "secrets (via secret volumes)"),
        (volume.csi.is_some(), "csi", "csidrivers (via CSI volumes)"),
        (volume.glusterfs.is_some(), "glusterfs", "endpoints (via glusterFS volumes)"),
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim", "persistentvolumeclaims"),
        (volume.ephemeral.is_some(), "ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        (volume.azure_file.is_some(), "azureFile", "secrets (via azureFile volumes)"),
    ];
    table.into_iter().filter(|(set, ..)| *set).map(|(_, field, what)| (field, what))
}

fn projection_references(source: &VolumeProjection) -> impl Iterator<Item = (&'static str, &'static str)> {
    let table = [
        (source.config_map.is_some(), "configMap", "configmaps (via projected volumes)"),
        (source.secret.is_some(), "secret", "secrets (via projected volumes)"),
        (
            source.service_account_token.is_some(),
            "serviceAccountToken",
            "serviceaccounts (via projected volumes)",
        ),
        (source.cluster_trust_bundle.is_some(), "clusterTrustBundle", "clustertrustbundles"),
        (source.pod_certificate.is_some(), "podCertificate", "podcertificates"),
    ];
    table.into_iter().filter(|(set, ..)| *set).map(|(_, field, what)| (field, what))
}
