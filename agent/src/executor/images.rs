//! Makes sure that an image is on the node (CONTRACT 3.16): looks whether it is there, finds credentials, has it pulled, and
//! tells the pod's events on the way.

use std::time::Duration;

use core_images::ImageReference;
use core_images::book::{Check, Verdict};
use core_images::pull::{
    Presence, PullDecision, PullFailure, PullPolicy, backoff_key, pull_decision, pull_failure,
};
use core_images::scheduler::PullRank;
use core_runtime::backoff::Backoff;
use core_runtime::{RuntimeEventText, WaitingReason};
use core_types::PodExt;
use core_types::api::Pod;
use core_types::runtime::{Image, ImageSpec, SandboxConfig};

use super::Executor;
use super::context::Op;
use crate::images::{FoundCredentials, Present, PullWish};
use crate::metrics::PullNeed;
use crate::settings::Verification;

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

/// An image that a pod asks for.
#[derive(Clone, Copy)]
pub(crate) struct ImageWish<'a> {
    pub(crate) pod: &'a Pod,
    /// As the pod's author wrote it.
    pub(crate) written: &'a str,
    pub(crate) policy: PullPolicy,
    /// Where the pod asks for it: what its events are about; empty for the pod as a whole.
    pub(crate) place: &'a str,
    /// The container that waits for it; empty for the pod as a whole.
    pub(crate) container: &'a str,
    pub(crate) sandbox: &'a SandboxConfig,
}

/// Why an image is not ready.
pub(crate) enum ImageError {
    Failed(PullFailure),
    Cancelled,
}

impl From<PullFailure> for ImageError {
    fn from(failure: PullFailure) -> Self {
        Self::Failed(failure)
    }
}

/// What was found out on the way, for the metrics.
#[derive(Default)]
struct Findings {
    presence: Option<Presence>,
    need: Option<PullNeed>,
}

/// The credentials of a pod for an image, once they were needed.
#[derive(Default)]
struct Credentials {
    found: Option<FoundCredentials>,
}

impl Executor {
    /// Makes sure that an image is there.
    pub(super) async fn ensure_image(
        &self,
        op: &mut Op,
        wish: ImageWish<'_>,
    ) -> Result<ReadyImage, ImageError> {
        let mut findings = Findings::default();
        let result = self.try_image(op, wish, &mut findings).await;
        self.images.metrics.ensured(wish.policy, findings.presence, findings.need);
        result
    }

    async fn try_image(
        &self,
        op: &mut Op,
        wish: ImageWish<'_>,
        findings: &mut Findings,
    ) -> Result<ReadyImage, ImageError> {
        let image = match ImageReference::with_default_tag(wish.written) {
            Ok(image) => image,
            Err(error) => {
                let failure = PullFailure::invalid_name(wish.written, &error);
                op.tell(RuntimeEventText::InspectFailed(failure.message.clone()), wish.place).await;
                return Err(failure.into());
            }
        };
        let spec = ImageSpec {
            image,
            user_specified_image: wish.written.to_owned(),
            annotations: wish.pod.metadata.annotations.clone().unwrap_or_default(),
            // Images are the same for all handlers (`RuntimeClassInImageCriApi` is off).
            runtime_handler: String::new(),
        };
        let found = match wish.policy {
            PullPolicy::Always => None,
            PullPolicy::IfNotPresent | PullPolicy::Never => {
                let found = self.look_up(op, &spec, wish.place).await?;
                findings.presence = Some(presence_of(&found));
                found
            }
        };
        let mut credentials = Credentials::default();
        match (pull_decision(wish.policy, presence_of(&found)), found) {
            (PullDecision::NeverPullMissing, _) => return self.never_pull(op, wish).await,
            (PullDecision::Present, Some(image)) => {
                if let Some(event) = self.may_use(op, wish, &image, &mut credentials).await? {
                    findings.need = Some(PullNeed::NotRequired);
                    op.tell(event, wish.place).await;
                    return Ok(ReadyImage { id: image.id.clone(), image });
                }
                // The pod is not told: what others pulled is none of its business.
                tracing::info!(
                    pod = %op.key, image = wish.written, id = image.id,
                    "the image is on this node, but it was pulled with credentials that the pod has not shown: it is treated as if it were not there (imagePullCredentialsVerificationPolicy)"
                );
            }
            (PullDecision::Present | PullDecision::Pull, _) => {}
        }
        findings.need = Some(PullNeed::Required);
        op.turn = None;
        match wish.policy {
            // That the image is there is none of the pod's business as long as it may not use it.
            PullPolicy::Never => self.never_pull(op, wish).await,
            PullPolicy::Always | PullPolicy::IfNotPresent => self.pull(op, wish, spec, credentials).await,
        }
    }

    async fn never_pull(&self, op: &Op, wish: ImageWish<'_>) -> Result<ReadyImage, ImageError> {
        op.tell(RuntimeEventText::ErrImageNeverPull(wish.written.to_owned()), wish.place).await;
        Err(PullFailure::never_pull(wish.written).into())
    }

    /// Whether the pod may use an image that is there, and what is told then.
    async fn may_use(
        &self,
        op: &Op,
        wish: ImageWish<'_>,
        image: &Image,
        credentials: &mut Credentials,
    ) -> Result<Option<RuntimeEventText>, ImageError> {
        let written = wish.written.to_owned();
        if self.settings.pulls.verification == Verification::Off {
            return Ok(Some(RuntimeEventText::AlreadyPresent(written)));
        }
        let present = Present { image: written.clone(), image_ref: image.id.clone() };
        let verdict = match self.images.pulls.may_use(present.clone()).await {
            Check::Decided(verdict) => verdict,
            Check::NeedsCredentials => {
                let found = self.credentials(op, wish, credentials).await?;
                self.images.pulls.may_use_with(present, found.credentials).await
            }
        };
        Ok((verdict != Verdict::MustPull).then_some(RuntimeEventText::AlreadyAccessible(written)))
    }

    /// The credentials of the pod for the image, found once.
    async fn credentials(
        &self,
        op: &Op,
        wish: ImageWish<'_>,
        known: &mut Credentials,
    ) -> Result<FoundCredentials, ImageError> {
        if let Some(found) = &known.found {
            return Ok(found.clone());
        }
        let found = tokio::select! {
            biased;
            () = op.cancel.cancelled() => return Err(ImageError::Cancelled),
            found = self.images.credentials.find(wish.pod, wish.written) => found,
        };
        match found {
            Ok(found) => Ok(known.found.insert(found).clone()),
            Err(error) => {
                let message = error.to_string();
                Err(PullFailure { reason: WaitingReason::ErrImagePull, message }.into())
            }
        }
    }

    async fn look_up(&self, op: &Op, spec: &ImageSpec, place: &str) -> Result<Option<Image>, ImageError> {
        match self.outside.images.image_status(spec).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let (image, cause) = (&spec.user_specified_image, error.status_text());
                let message = format!("Failed to inspect image {image:?}: {cause}");
                op.tell(RuntimeEventText::InspectFailed(message.clone()), place).await;
                Err(PullFailure { reason: WaitingReason::ImageInspectError, message }.into())
            }
        }
    }

    async fn pull(
        &self,
        op: &mut Op,
        wish: ImageWish<'_>,
        spec: ImageSpec,
        mut credentials: Credentials,
    ) -> Result<ReadyImage, ImageError> {
        let (name, place) = (wish.written.to_owned(), wish.place);
        let key = backoff_key(&op.uid, wish.written);
        let now = op.now().mono;
        let backoff = op.memory.pull.get_or_insert_with(|| Backoff::new(PULL_BACKOFF_MAX));
        if let Some(wait) = backoff.wait(&key, now) {
            let (until, failure) = (wait.until, PullFailure::backing_off(&name, wait.message));
            op.again_at(until);
            op.tell(RuntimeEventText::BackOffPull(name), place).await;
            return Err(failure.into());
        }
        op.tell(RuntimeEventText::Pulling(name.clone()), place).await;
        op.notes.doing(wish.container, format!("pulling image {name:?}")).await;
        let asked_at = op.now().mono;
        let FoundCredentials { credentials, missing_secrets } =
            self.credentials(op, wish, &mut credentials).await?;
        let (sandbox, rank) = (wish.sandbox.clone(), rank_of(wish.pod));
        let end = tokio::select! {
            biased;
            () = op.cancel.cancelled() => return Err(ImageError::Cancelled),
            end = self.images.pulls.pull(PullWish { spec: spec.clone(), credentials, sandbox, rank }) => end,
        };
        match end.result {
            Ok(pulled) => {
                let id = pulled.image_ref;
                let image = self.look_up(op, &ImageSpec { image: id.clone(), ..spec }, place).await?;
                let image = image.unwrap_or_else(|| Image { id: id.clone(), ..Image::default() });
                let (total, size_bytes) = (op.now().mono.since(asked_at), image.size_bytes);
                self.images.metrics.pulled(size_bytes, total);
                let event = RuntimeEventText::Pulled { image: name, pull: end.took, total, size_bytes };
                op.tell(event, place).await;
                Ok(ReadyImage { id, image })
            }
            Err(cause) => {
                let failure = pull_failure(&name, &cause);
                op.tell(RuntimeEventText::FailedToPull { image: name, cause }, place).await;
                if failure.reason == WaitingReason::ErrImagePull && !missing_secrets.is_empty() {
                    let missing = missing_secrets.join(", ");
                    op.tell(RuntimeEventText::FailedToRetrieveImagePullSecret(missing), "").await;
                }
                let now = op.now().mono;
                let backoff = op.memory.pull.get_or_insert_with(|| Backoff::new(PULL_BACKOFF_MAX));
                backoff.fail(&key, &failure.summary(), now);
                op.again_at(now + FAILURE_SHOWN);
                Err(failure.into())
            }
        }
    }
}

fn presence_of(found: &Option<Image>) -> Presence {
    if found.is_some() { Presence::Present } else { Presence::Missing }
}

fn rank_of(pod: &Pod) -> PullRank {
    let priority = pod.spec_ref().and_then(|spec| spec.priority).unwrap_or_default();
    PullRank { critical: core_cm::is_critical(pod), priority }
}
