//! Makes sure that a container's image is on the node (CONTRACT 3.16).
//!
//! Pulls of all pods share one bound. Credentials are read from the node's docker configuration files at each pull, so that
//! a changed file needs no restart.

use std::time::Duration;

use core_runtime::RuntimeEventText;
use core_runtime::backoff::Backoff;
use core_runtime::credentials::{ConfigForm, Keyring};
use core_runtime::image::{
    ImageReference, Presence, PullDecision, PullFailure, PullPolicy, backoff_key, pull_decision, pull_failure,
};
use core_types::ContainerRef;
use core_types::runtime::{Image, ImageSpec, SandboxConfig};
use tokio::sync::Semaphore;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use crate::outside::Outside;

/// Largest credentials file that is read.
const MAX_CREDENTIALS_BYTES: usize = 1 << 20;
/// Longest back-off between two pulls of one image for one pod.
const PULL_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How long a failed pull is shown as such before the back-off is: long enough for a watcher to see both.
const FAILURE_SHOWN: Duration = Duration::from_secs(1);

/// An image that is on the node.
#[derive(Clone, Debug)]
pub(crate) struct ReadyImage {
    /// What the runtime resolves.
    pub(crate) id: String,
    /// What the runtime knows of it: its user.
    pub(crate) image: Image,
}

/// The bound that all pulls share.
pub(crate) struct ImagePuller {
    outside: Outside,
    slots: Semaphore,
}

impl ImagePuller {
    pub(crate) fn new(outside: Outside, parallel: usize) -> Self {
        Self { outside, slots: Semaphore::new(parallel) }
    }

    /// Pulls with each fitting credential in turn, then with none. The time is that of the pull alone.
    async fn pull(
        &self,
        op: &Op,
        spec: &ImageSpec,
        sandbox: &SandboxConfig,
        keyring: &Keyring,
    ) -> PullResult {
        let clock = &self.outside.clock;
        let _slot = self.slots.acquire().await.map_err(|error| error.to_string())?;
        let begun_at = clock.now();
        let repository = spec.image.parse::<ImageReference>().map(|r| r.repository()).unwrap_or_default();
        let mut last = Err(String::new());
        let auths = keyring.lookup(&repository);
        for auth in auths.iter().map(Some).chain([None]) {
            match self.outside.images.pull_image(spec, auth, sandbox).await {
                Ok(id) => return Ok((id, clock.now().since(begun_at))),
                Err(error) => {
                    tracing::debug!(pod_uid = %op.uid, image = spec.image, %error, "a pull failed");
                    // The failure with credentials says more than the one without.
                    if auth.is_some() || auths.is_empty() {
                        last = Err(error.message());
                    }
                }
            }
        }
        last
    }
}

/// Reference and time of the pull, or the runtime's words.
type PullResult = Result<(String, Duration), String>;

impl Executor {
    /// Makes sure that the image of a container is there. A failure is already noted as the container's waiting reason.
    pub(super) async fn ensure_image(
        &self,
        op: &mut Op,
        container: &ContainerRef<'_>,
        sandbox: &SandboxConfig,
    ) -> StepResult<ReadyImage> {
        let name = container.spec.image.clone().unwrap_or_default();
        match self.try_image(op, container, sandbox, &name).await {
            Ok(image) => Ok(image),
            Err(ImageError::Cancelled) => Err(StepError::Cancelled),
            Err(ImageError::Failed(failure)) => {
                op.container_waits(&container.spec.name, failure.reason.as_str(), &failure.message);
                Err(StepError::failed(failure.reason.as_str(), failure.message))
            }
        }
    }

    async fn try_image(
        &self,
        op: &mut Op,
        container: &ContainerRef<'_>,
        sandbox: &SandboxConfig,
        name: &str,
    ) -> Result<ReadyImage, ImageError> {
        let place = container.field_path();
        let image = match ImageReference::with_default_tag(name) {
            Ok(image) => image,
            Err(error) => {
                let failure = PullFailure::invalid_name(name, &error);
                op.tell(RuntimeEventText::InspectFailed(failure.message.clone()), &place).await;
                return Err(failure.into());
            }
        };
        let spec = ImageSpec { image, user_specified_image: name.to_owned(), ..ImageSpec::default() };
        let found = self.look_up(op, &spec, &place).await?;
        let presence = if found.is_some() { Presence::Present } else { Presence::Missing };
        match (pull_decision(PullPolicy::of(container.spec), presence), found) {
            (PullDecision::Present, Some(image)) => {
                op.tell(RuntimeEventText::AlreadyPresent(name.to_owned()), &place).await;
                Ok(ReadyImage { id: image.id.clone(), image })
            }
            (PullDecision::NeverPullMissing, _) => {
                op.tell(RuntimeEventText::ErrImageNeverPull(name.to_owned()), &place).await;
                Err(PullFailure::never_pull(name).into())
            }
            (PullDecision::Present | PullDecision::Pull, _) => self.pull(op, container, sandbox, spec).await,
        }
    }

    async fn look_up(&self, op: &Op, spec: &ImageSpec, place: &str) -> Result<Option<Image>, ImageError> {
        match self.outside.images.image_status(spec).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let message =
                    format!("Failed to inspect image {:?}: {}", spec.user_specified_image, error.message());
                op.tell(RuntimeEventText::InspectFailed(message.clone()), place).await;
                let reason = core_runtime::WaitingReason::ImageInspectError;
                Err(PullFailure { reason, message }.into())
            }
        }
    }

    async fn pull(
        &self,
        op: &mut Op,
        container: &ContainerRef<'_>,
        sandbox: &SandboxConfig,
        spec: ImageSpec,
    ) -> Result<ReadyImage, ImageError> {
        let (name, place) = (spec.user_specified_image.clone(), container.field_path());
        let key = backoff_key(&op.uid, &spec.image);
        let now = op.now().mono;
        let backoff = op.memory.pull.get_or_insert_with(|| Backoff::new(PULL_BACKOFF_MAX));
        if let Some(wait) = backoff.wait(&key, now) {
            let (until, failure) = (wait.until, PullFailure::backing_off(&name, wait.message));
            op.again_at(until);
            op.tell(RuntimeEventText::BackOffPull(name.clone()), &place).await;
            op.tell(RuntimeEventText::Failed(failure.reason.as_str().to_owned()), &place).await;
            return Err(failure.into());
        }
        op.tell(RuntimeEventText::Pulling(name.clone()), &place).await;
        op.notes.doing(&container.spec.name, format!("pulling image {name:?}")).await;
        let keyring = self.keyring(op).await;
        let asked_at = op.now().mono;
        let pulled = tokio::select! {
            biased;
            () = op.cancel.cancelled() => return Err(ImageError::Cancelled),
            pulled = self.puller.pull(op, &spec, sandbox, &keyring) => pulled,
        };
        match pulled {
            Ok((id, pull)) => {
                let image = self.look_up(op, &ImageSpec { image: id.clone(), ..spec }, &place).await?;
                let image = image.unwrap_or_else(|| Image { id: id.clone(), ..Image::default() });
                let total = op.now().mono.since(asked_at);
                let size_bytes = image.size_bytes;
                op.tell(RuntimeEventText::Pulled { image: name, pull, total, size_bytes }, &place).await;
                Ok(ReadyImage { id, image })
            }
            Err(cause) => {
                let failure = pull_failure(&name, &cause);
                op.tell(RuntimeEventText::FailedToPull { image: name, cause }, &place).await;
                op.tell(RuntimeEventText::Failed(failure.reason.as_str().to_owned()), &place).await;
                let now = op.now().mono;
                let backoff = op.memory.pull.get_or_insert_with(|| Backoff::new(PULL_BACKOFF_MAX));
                backoff.fail(&key, &failure.summary(), now);
                op.again_at(now + FAILURE_SHOWN);
                Err(failure.into())
            }
        }
    }

    /// Credentials of the node: docker configuration files in upstream's order.
    async fn keyring(&self, op: &Op) -> Keyring {
        let mut keyring = Keyring::default();
        let root = &self.settings.runtime.root_dir;
        for (name, form) in
            [("config.json", ConfigForm::DockerConfigJson), (".dockercfg", ConfigForm::DockerCfg)]
        {
            for dir in [root.as_str(), "/root/.docker", "/.docker"] {
                let path = format!("{dir}/{name}");
                let content = match self.outside.files.read_host_file(&path, MAX_CREDENTIALS_BYTES).await {
                    Ok(Some(content)) => content,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::warn!(pod_uid = %op.uid, %error, "registry credentials cannot be read");
                        continue;
                    }
                };
                if let Err(error) = keyring.add(&path, form, &content) {
                    tracing::warn!(pod_uid = %op.uid, "{error}");
                }
            }
        }
        keyring
    }
}

/// Why an image is not ready.
enum ImageError {
    Failed(PullFailure),
    Cancelled,
}

impl From<PullFailure> for ImageError {
    fn from(failure: PullFailure) -> Self {
        Self::Failed(failure)
    }
}
