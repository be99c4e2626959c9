//! Sets up a pod's volumes and finds the host path of each of a container's mounts (CONTRACT 3.20, 6.3).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use core_references::trust::TrustBundles;
use core_types::Quantity;
use core_types::api::{Container, Pod, Volume};
use core_types::runtime::{KeyValue, Mount, RecursiveReadOnly};
use core_volumes::{Content, VolumeError, VolumeFacts};
use ports::pod_files::SubPathRequest;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use super::image_volumes::VolumePlaces;
use crate::events::Happening;

/// Pause before what could not be read from the API server is read again, for a volume that has content.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(30);

impl Executor {
    /// Makes the pod's directories and volumes and fills those whose content the agent keeps. Host paths by volume name.
    pub(super) async fn set_up_volumes(
        &self,
        op: &mut Op,
        pod: &Pod,
    ) -> StepResult<BTreeMap<String, PathBuf>> {
        let result = self.try_volumes(op, pod).await;
        if let Err(StepError::Failed { message, .. }) = &result {
            op.happened(Happening::warning("FailedMount", message.clone())).await;
        }
        result
    }

    async fn try_volumes(&self, op: &mut Op, pod: &Pod) -> StepResult<BTreeMap<String, PathBuf>> {
        let failed = |error: &dyn ToString| StepError::failed("FailedMount", error.to_string());
        let files = &self.outside.files;
        files.ensure_pod_dirs(&op.uid).await.map_err(|error| failed(&error))?;
        let limit = core_cm::pod_values(pod, &self.settings.node_facts).memory_limit_bytes;
        let facts = VolumeFacts {
            allocatable: &self.allocatable,
            pod_memory_limit_bytes: limit
                .and_then(|bytes| u64::try_from(bytes).ok())
                .filter(|bytes| *bytes > 0),
        };
        let mut paths = BTreeMap::new();
        for setup in core_volumes::plan_volumes(pod, &facts).map_err(|error| failed(&error))? {
            op.check_cancelled()?;
            let path = files.set_up_volume(&op.uid, &setup).await.map_err(|error| {
                failed(&format!("MountVolume.SetUp failed for volume {:?} : {error}", setup.name()))
            })?;
            paths.insert(setup.name().to_owned(), path);
        }
        self.fill_volumes(op, pod, &paths).await?;
        Ok(paths)
    }

    /// Writes the files of the volumes whose content the agent keeps.
    async fn fill_volumes(
        &self,
        op: &mut Op,
        pod: &Pod,
        paths: &BTreeMap<String, PathBuf>,
    ) -> StepResult<()> {
        let objects = self.volume_objects(op, pod).await;
        let tokens = self.tokens(op, pod).await;
        let certificates = &self.certificates(op, pod).await;
        let known = self.trust_bundles(pod).await;
        let seed = self.collections.as_ref().map_or(0, |collections| collections.seed);
        let trust = known.as_ref().map_or(TrustBundles::Standalone, |known| match known {
            Some(book) => TrustBundles::Known { book, seed },
            None => TrustBundles::NotYetRead,
        });
        let allocatable = &self.allocatable;
        let content =
            Content { allocatable, objects: objects.as_api(), trust, certificates, tokens: &tokens };
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        for volume in volumes.filter(|volume| paths.contains_key(&volume.name)) {
            let failed = |error: &dyn ToString| {
                let error = error.to_string();
                let message = format!("MountVolume.SetUp failed for volume {:?} : {error}", volume.name);
                StepError::failed("FailedMount", message)
            };
            let payload = match core_volumes::payload(pod, volume, &content) {
                Ok(payload) => payload,
                Err(VolumeError::Unavailable(problem)) if self.is_filled(op, volume).await => {
                    tracing::warn!(pod = %op.key, volume = volume.name, problem, "a volume keeps what it has shown");
                    op.again_at(op.now().mono + UNAVAILABLE_RETRY);
                    continue;
                }
                Err(error) => return Err(failed(&error)),
            };
            if let Some(payload) = payload {
                let written = self.outside.files.write_volume(&op.uid, &volume.name, &payload).await;
                written.map_err(|error| failed(&error))?;
            }
        }
        Ok(())
    }

    /// Whether a volume has shown something already, in this life of the agent or in an earlier one.
    async fn is_filled(&self, op: &Op, volume: &Volume) -> bool {
        let Some(plugin) = core_volumes::content_plugin(volume) else { return false };
        self.outside.files.is_written(&op.uid, &volume.name, plugin).await.unwrap_or(false)
    }

    /// The volume mounts of a container, with host paths and safe sub paths.
    pub(super) async fn volume_mounts(
        &self,
        op: &Op,
        pod: &Pod,
        container: &Container,
        envs: &[KeyValue],
        volumes: &VolumePlaces,
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        let recursive = self.recursive_read_only(op);
        for mount in
            core_volumes::mounts(pod, container, envs, recursive).map_err(|error| error.to_string())?
        {
            if let Some(image) = volumes.image(&mount.volume) {
                mounts.push(Mount {
                    container_path: mount.container_path,
                    readonly: true,
                    recursive_read_only: mount.recursive_read_only,
                    selinux_relabel: mount.selinux_relabel,
                    propagation: mount.propagation,
                    image: Some(image.clone()),
                    image_sub_path: mount.sub_path,
                    ..Mount::default()
                });
                continue;
            }
            let volume_path = volumes.paths.get(&mount.volume).cloned().ok_or_else(|| {
                let volume = mount.volume.clone();
                VolumeError::Missing { volume, container: container.name.clone() }.to_string()
            })?;
            let host_path = match mount.sub_path.as_str() {
                "" => volume_path,
                sub_path => {
                    let request = SubPathRequest {
                        volume: mount.volume.clone(),
                        volume_path,
                        container: container.name.clone(),
                        index: mount.index,
                        sub_path: sub_path.to_owned(),
                    };
                    let prepared = self.outside.files.prepare_sub_path(&op.uid, &request).await;
                    prepared.map_err(|error| {
                        format!(
                            "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                            mount.volume, container.name
                        )
                    })?
                }
            };
            mounts.push(Mount {
                container_path: mount.container_path,
                host_path: host_path.to_string_lossy().into_owned(),
                readonly: mount.read_only,
                recursive_read_only: mount.recursive_read_only,
                selinux_relabel: mount.selinux_relabel,
                propagation: mount.propagation,
                ..Mount::default()
            });
        }
        Ok(mounts)
    }

    fn recursive_read_only(&self, op: &Op) -> RecursiveReadOnly {
        let handlers =
            op.runtime.status.as_ref().map(|status| status.handlers.as_slice()).unwrap_or_default();
        match handlers.iter().any(|handler| handler.name.is_empty() && handler.recursive_read_only_mounts) {
            true => RecursiveReadOnly::Supported,
            false => RecursiveReadOnly::Unsupported,
        }
    }
}

/// What a node can give to pods, as the downward API reads it.
pub(crate) fn allocatable_quantities(
    allocatable: &core_pods::admission::NodeAllocatable,
) -> BTreeMap<String, Quantity> {
    let mut all = BTreeMap::from([
        ("cpu".to_owned(), Quantity::from_milli(allocatable.cpu_milli)),
        ("memory".to_owned(), Quantity::from_value(allocatable.memory_bytes)),
        ("ephemeral-storage".to_owned(), Quantity::from_value(allocatable.ephemeral_storage_bytes)),
        ("pods".to_owned(), Quantity::from_value(allocatable.pods)),
    ]);
    all.extend(allocatable.others.iter().map(|(name, value)| (name.clone(), Quantity::from_value(*value))));
    all
}
