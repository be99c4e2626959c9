//! Image volumes (CONTRACT 6.13): their images are pulled like those of containers before the first container of the pod
//! starts, and the runtime mounts them. A volume whose image cannot be had holds back only the containers that mount it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use core_images::pull::{PullFailure, PullPolicy};
use core_images::volumes::why_no_image_mounts;
use core_runtime::{RuntimeEventText, WaitingReason};
use core_types::api::{Container, Pod};
use core_types::runtime::{ImageSpec, SandboxConfig};
use core_types::{ContainerRef, PodExt};

use super::Executor;
use super::context::{Op, StepError, StepResult};
use super::images::{ImageError, ImageWish};
use crate::metrics::MountOutcome;

/// Beginning of the runtime's words when it cannot mount an image.
const MOUNT_FAILED: &str = "ImageVolumeMountFailed";

/// Where containers find the volumes of their pod.
#[derive(Default)]
pub(crate) struct VolumePlaces {
    /// Host paths by volume.
    pub(crate) paths: BTreeMap<String, PathBuf>,
    /// Images by volume, or why there is none; made once, when the first container starts.
    pub(crate) images: Option<BTreeMap<String, Result<ImageSpec, PullFailure>>>,
}

impl VolumePlaces {
    pub(crate) fn new(paths: BTreeMap<String, PathBuf>) -> Self {
        Self { paths, images: None }
    }

    /// The image that a volume is made of.
    pub(crate) fn image(&self, volume: &str) -> Option<&ImageSpec> {
        self.images.as_ref()?.get(volume)?.as_ref().ok()
    }

    /// The volumes of a container whose images are not there.
    fn failure_of(&self, container: &Container) -> Option<&PullFailure> {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.filter_map(|mount| self.images.as_ref()?.get(&mount.name)?.as_ref().err()).next_back()
    }
}

impl Executor {
    /// Makes sure that the images of a container's volumes are there. A failure becomes its waiting reason.
    pub(super) async fn image_volumes(
        &self,
        op: &mut Op,
        (pod, container): (&Pod, &ContainerRef<'_>),
        sandbox: &SandboxConfig,
        places: &mut VolumePlaces,
    ) -> StepResult<()> {
        if places.images.is_none() {
            places.images = Some(self.pull_volumes(op, pod, sandbox).await?);
        }
        let Some(failure) = places.failure_of(container.spec) else { return Ok(()) };
        let (reason, message) = (failure.reason.as_str(), failure.message.clone());
        op.tell(RuntimeEventText::Failed(reason.to_owned()), &container.field_path()).await;
        op.container_waits(&container.spec.name, reason, &message);
        Err(StepError::failed(reason, message))
    }

    async fn pull_volumes(
        &self,
        op: &mut Op,
        pod: &Pod,
        sandbox: &SandboxConfig,
    ) -> StepResult<BTreeMap<String, Result<ImageSpec, PullFailure>>> {
        let mut images = BTreeMap::new();
        let volumes = pod.spec_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        for (volume, source) in volumes.filter_map(|volume| Some((volume, volume.image.as_ref()?))) {
            let written = source.reference.as_deref().unwrap_or_default();
            if let Some(why) = op.runtime.version.as_ref().and_then(why_no_image_mounts) {
                let message = format!("volume {:?}: {why}", volume.name);
                let reason = WaitingReason::CreateContainerError;
                images.insert(volume.name.clone(), Err(PullFailure { reason, message }));
                continue;
            }
            let policy = PullPolicy::of(source.pull_policy.as_deref().unwrap_or_default(), written);
            let wish = ImageWish { pod, written, policy, place: "", container: "", sandbox };
            let image = match self.ensure_image(op, wish).await {
                Ok(ready) => Ok(ImageSpec {
                    image: ready.id,
                    user_specified_image: written.to_owned(),
                    annotations: pod.metadata.annotations.clone().unwrap_or_default(),
                    runtime_handler: String::new(),
                }),
                Err(ImageError::Cancelled) => return Err(StepError::Cancelled),
                Err(ImageError::Failed(failure)) => Err(failure),
            };
            images.insert(volume.name.clone(), image);
        }
        Ok(images)
    }

    /// Counts the image volumes of a container that was tried to start; `failure` is the runtime's words.
    pub(super) fn count_image_volumes(&self, container: &Container, places: &VolumePlaces, failure: &str) {
        let mounts = container.volume_mounts.iter().flatten();
        let of_images = mounts.filter(|mount| places.image(&mount.name).is_some()).count();
        let outcome = match failure.contains(MOUNT_FAILED) {
            true => MountOutcome::Failed,
            false => MountOutcome::Mounted,
        };
        self.images.metrics.image_volumes(of_images, outcome);
    }
}
