//! How to make each volume of a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use core_types::api::{EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume};
use core_types::{PodExt, Quantity};

use crate::huge_pages;
use crate::{HostPathKind, VolumeError, VolumePlugin, VolumeSetup};

/// Facts that volumes depend on besides the pod.
#[derive(Clone, Copy, Debug)]
pub struct VolumeFacts<'a> {
    /// What the node can give to pods.
    pub allocatable: &'a BTreeMap<String, Quantity>,
    /// Memory limit of the pod's cgroup in bytes (`core/cm`); `None` for a pod without one.
    pub pod_memory_limit_bytes: Option<u64>,
}

/// The volumes that the pod's containers mount, in the order of the spec. Volumes that none mounts are left out, as
/// upstream does; so are images, which the runtime mounts.
pub fn plan_volumes(pod: &Pod, facts: &VolumeFacts<'_>) -> Result<Vec<VolumeSetup>, VolumeError> {
    let mounted = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter(|volume| volume.image.is_none() && mounted.contains(volume.name.as_str()))
        .map(|volume| plan_one(pod, volume, facts))
        .collect()
}

/// What a volume is, for the planners of this crate.
pub(crate) enum Source<'a> {
    EmptyDir(&'a EmptyDirVolumeSource),
    HostPath(&'a HostPathVolumeSource),
    DownwardApi(&'a k8s_openapi::api::core::v1::DownwardAPIVolumeSource),
    Projected(&'a k8s_openapi::api::core::v1::ProjectedVolumeSource),
    Secret(&'a k8s_openapi::api::core::v1::SecretVolumeSource),
    ConfigMap(&'a k8s_openapi::api::core::v1::ConfigMapVolumeSource),
}

/// Reads a volume's source. One without a source is an `emptyDir`, as in the API.
pub(crate) fn source_of(volume: &Volume) -> Result<Source<'_>, VolumeError> {
    static DEFAULT: EmptyDirVolumeSource =
        EmptyDirVolumeSource { medium: None, mode: None, size_limit: None };
    if let Some(source) = &volume.empty_dir {
        return Ok(Source::EmptyDir(source));
    }
    if let Some(source) = &volume.host_path {
        return Ok(Source::HostPath(source));
    }
    if let Some(source) = &volume.downward_api {
        return Ok(Source::DownwardApi(source));
    }
    if let Some(source) = &volume.projected {
        return Ok(Source::Projected(source));
    }
    if let Some(source) = &volume.secret {
        return Ok(Source::Secret(source));
    }
    if let Some(source) = &volume.config_map {
        return Ok(Source::ConfigMap(source));
    }
    match foreign_source(volume) {
        Some(source_name) => Err(unsupported(volume, source_name)),
        None => Ok(Source::EmptyDir(&DEFAULT)),
    }
}

fn plan_one(pod: &Pod, volume: &Volume, facts: &VolumeFacts<'_>) -> Result<VolumeSetup, VolumeError> {
    let name = volume.name.clone();
    let fs_group = fs_group(pod);
    let tmpfs = |plugin, size_bytes| VolumeSetup::Tmpfs { name: name.clone(), plugin, size_bytes, fs_group };
    match source_of(volume)? {
        Source::EmptyDir(source) => match source.medium.as_deref() {
            None | Some("") => Ok(VolumeSetup::EmptyDir { name, plugin: VolumePlugin::EmptyDir, fs_group }),
            Some("Memory") => Ok(tmpfs(VolumePlugin::EmptyDir, memory_size(volume, source, facts)?)),
            Some(medium) => {
                let page_bytes = huge_pages::page_bytes(pod, medium)?;
                Ok(VolumeSetup::HugePages { name, page_bytes, fs_group })
            }
        },
        Source::HostPath(source) => host_path(volume, source),
        Source::DownwardApi(_) => Ok(tmpfs(VolumePlugin::DownwardApi, bound(None, facts))),
        Source::Projected(_) => Ok(tmpfs(VolumePlugin::Projected, bound(None, facts))),
        Source::Secret(_) => Ok(tmpfs(VolumePlugin::Secret, bound(None, facts))),
        Source::ConfigMap(_) => Ok(VolumeSetup::EmptyDir { name, plugin: VolumePlugin::ConfigMap, fs_group }),
    }
}

/// The pod's `fsGroup`.
pub(crate) fn fs_group(pod: &Pod) -> Option<i64> {
    pod.spec.as_ref()?.security_context.as_ref()?.fs_group
}

/// Size of a tmpfs: the smallest of the volume's own limit, the pod's memory limit and the node's allocatable memory
/// (CONTRACT 6.8). `None` when nothing limits it.
fn memory_size(
    volume: &Volume,
    source: &EmptyDirVolumeSource,
    facts: &VolumeFacts<'_>,
) -> Result<Option<u64>, VolumeError> {
    let Some(text) = &source.size_limit else { return Ok(bound(None, facts)) };
    let limit = Quantity::try_from(text)
        .map_err(|_| VolumeError::SizeLimit { volume: volume.name.clone(), text: text.0.clone() })?;
    Ok(bound(u64::try_from(limit.value()).ok(), facts))
}

fn bound(own: Option<u64>, facts: &VolumeFacts<'_>) -> Option<u64> {
    let node = facts.allocatable.get("memory").and_then(|memory| u64::try_from(memory.value()).ok());
    [own, facts.pod_memory_limit_bytes, node].into_iter().flatten().filter(|bytes| *bytes > 0).min()
}

fn host_path(volume: &Volume, source: &HostPathVolumeSource) -> Result<VolumeSetup, VolumeError> {
    let kind = match source.type_.as_deref() {
        None | Some("") => HostPathKind::Unchecked,
        Some("DirectoryOrCreate") => HostPathKind::DirectoryOrCreate,
        Some("Directory") => HostPathKind::Directory,
        Some("FileOrCreate") => HostPathKind::FileOrCreate,
        Some("File") => HostPathKind::File,
        Some("Socket") => HostPathKind::Socket,
        Some("CharDevice") => HostPathKind::CharDevice,
        Some("BlockDevice") => HostPathKind::BlockDevice,
        Some(kind) => {
            return Err(VolumeError::HostPathType { volume: volume.name.clone(), kind: kind.to_owned() });
        }
    };
    let path = Path::new(&source.path);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(VolumeError::HostPath { volume: volume.name.clone(), path: source.path.clone() });
    }
    Ok(VolumeSetup::HostPath { name: volume.name.clone(), path: PathBuf::from(path), kind })
}

/// Names of the volumes that containers mount.
pub(crate) fn mounted_names(pod: &Pod) -> BTreeSet<&str> {
    let ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let ephemeral = ephemeral.flat_map(|container| container.volume_mounts.iter().flatten());
    let refs = pod.container_refs().into_iter();
    let mounts = refs.flat_map(|container| container.spec.volume_mounts.iter().flatten());
    mounts.chain(ephemeral).map(|mount| mount.name.as_str()).collect()
}

fn unsupported(volume: &Volume, source_name: &'static str) -> VolumeError {
    VolumeError::Unsupported { volume: volume.name.clone(), source_name }
}

fn foreign_source(volume: &Volume) -> Option<&'static str> {
    first_present(&[
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.csi.is_some(), "csi"),
        (volume.image.is_some(), "image"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.fc.is_some(), "fc"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.cinder.is_some(), "cinder"),
        (volume.flocker.is_some(), "flocker"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.rbd.is_some(), "rbd"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
    ])
}

fn first_present(sources: &[(bool, &'static str)]) -> Option<&'static str> {
    sources.iter().find(|(present, _)| *present).map(|(_, name)| *name)
}
