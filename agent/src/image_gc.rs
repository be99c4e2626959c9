//! Removes images that nobody uses: until there is room again, or when they were not used for long (CONTRACT 5.11).
//!
//! Reads: the node view for which images run, the file system of images, the runtime's list of images when it matters, and the
//! book of uses that an earlier life kept. Writes that book. Which images go [`core_reclaim::ImageBook`] says.
//!
//! ```text
//! every 5 min, when an image is old enough that was missed, and soon after other images come into use: look at the file system > short, or an age limit, or other images?
//!              > list the images, note their uses > remove what goes > forget who may use what is gone
//! ```
//! The ticker's reason: nobody tells when a file system fills up. At rest it costs one look at the file system.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use core_reclaim::{ImageBook, ImageDisk, ImagePolicy, PlannedImage, Shortfall};
use core_types::runtime::{Image, ImageSpec};
use core_types::view::NodeView;
use core_types::{MonoTime, ObservedContainer, WallTime};
use ports::{FileError, RuntimeError};
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::events::{Happening, Recorder};
use crate::images::Pulls;
use crate::metrics::ReclaimMetrics;
use crate::outside::Outside;
use crate::reclaimer::Requests;
use crate::{checkpoints, task, timer};

/// Time between two looks; upstream's.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// Images that come into use within this time are noted together: pods often start together.
const GATHER: Duration = Duration::from_secs(10);
/// The file with the uses of images.
const USES: &str = "image_uses";
/// An image is removed for its room from this much use on; at 100 % nothing ever is.
const NEVER_PERCENT: u64 = 100;

/// Why there is not more room now.
#[derive(Debug, thiserror::Error)]
enum ImageGcError {
    #[error("the runtime names no file system of images")]
    NoFilesystem,
    #[error("invalid capacity 0 on image filesystem")]
    NoCapacity,
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("{}", .shortfall.text())]
    TooLittle {
        shortfall: Shortfall,
        /// How long it is until the next image is old enough.
        next_of_age: Option<Duration>,
    },
    #[error(
        "wanted to free {wanted} bytes, but freed {freed} bytes space with errors in image deletion: {source}"
    )]
    Removal { wanted: u64, freed: u64, source: RuntimeError },
}

/// The task.
pub(crate) struct ImageGc {
    outside: Outside,
    policy: ImagePolicy,
    pulls: Pulls,
    recorder: Recorder,
    metrics: ReclaimMetrics,
    book: ImageBook,
    begun_at: MonoTime,
    /// Mount point of the images, once the runtime has told it.
    mountpoint: Option<String>,
    /// What was in use when images were listed last.
    in_use: Option<BTreeSet<String>>,
    has_failed: bool,
}

impl ImageGc {
    pub(crate) fn new(
        outside: Outside,
        policy: ImagePolicy,
        pulls: Pulls,
        (recorder, metrics): (Recorder, ReclaimMetrics),
    ) -> Self {
        Self {
            begun_at: outside.clock.now(),
            outside,
            policy,
            pulls,
            recorder,
            metrics,
            book: ImageBook::default(),
            mountpoint: None,
            in_use: None,
            has_failed: false,
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, mut view: CalmView, mut requests: Requests, stop: CancellationToken) {
        let work = async {
            // Nothing is known of uses before the runtime was heard.
            view.wait_for(|view| view.runtime.last_relist.is_some()).await;
            self.restore().await;
            loop {
                let wait = self.look(&view.now()).await;
                let mut next_at = self.outside.clock.now() + wait;
                let clock = Arc::clone(&self.outside.clock);
                loop {
                    tokio::select! {
                        biased;
                        Some(answer) = requests.recv() => {
                            self.remove_unused(&view.now()).await;
                            // Who does not wait any more does not listen.
                            let _ = answer.send(());
                        }
                        node = view.changed() => {
                            let names = names_in_use(&node);
                            if self.in_use.as_ref() != Some(&names) {
                                next_at = next_at.min(clock.now() + GATHER);
                            }
                        }
                        () = timer::until(clock.as_ref(), Some(next_at)) => break,
                    }
                }
            }
        };
        task::until_stopped(&stop, work).await;
    }

    async fn restore(&mut self) {
        let without = "all images count as unused since now";
        if let Some(book) = checkpoints::load_json(&*self.outside.checkpoints, USES, without).await {
            self.book = book;
        }
    }

    /// Looks once, and says how long to wait for the next time.
    async fn look(&mut self, node: &NodeView) -> Duration {
        let result = self.collect(node).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "unused images");
            match error {
                ImageGcError::NoCapacity => {
                    self.recorder.node(&Happening::warning("InvalidDiskCapacity", error.to_string()));
                }
                ImageGcError::TooLittle { .. } => {
                    self.recorder.node(&Happening::warning("FreeDiskSpaceFailed", error.to_string()));
                }
                _ => {}
            }
            if self.has_failed {
                self.recorder.node(&Happening::warning("ImageGCFailed", error.to_string()));
            }
        }
        self.has_failed = result.is_err();
        match result {
            // What was too young for this time is wanted as soon as it is not.
            Err(ImageGcError::TooLittle { next_of_age: Some(wait), .. }) => wait.clamp(GATHER, PERIOD),
            _ => PERIOD,
        }
    }

    async fn collect(&mut self, node: &NodeView) -> Result<(), ImageGcError> {
        let in_use = names_in_use(node);
        let disk = self.disk().await?;
        let is_short =
            self.policy.high_percent < NEVER_PERCENT && disk.used_percent() >= self.policy.high_percent;
        let is_news = self.in_use.as_ref() != Some(&in_use);
        if !is_short && !is_news && self.policy.max_age.is_zero() {
            return Ok(());
        }
        let now = self.observe(in_use).await?;
        let running_for = self.outside.clock.now().since(self.begun_at);
        let plan = self.book.plan(self.policy, now, running_for, disk);
        self.remove(&plan.aged, u64::MAX).await?;
        if !is_short || plan.bytes_to_free == 0 {
            return Ok(());
        }
        tracing::info!(
            used_percent = plan.used_percent,
            bytes = plan.bytes_to_free,
            "the file system of images is full; unused images go"
        );
        let freed_bytes = self.remove(&plan.unused, plan.bytes_to_free).await?;
        self.forget_removed(now).await;
        match freed_bytes < plan.bytes_to_free {
            true => Err(ImageGcError::TooLittle {
                shortfall: Shortfall {
                    used_percent: plan.used_percent,
                    capacity_bytes: disk.capacity_bytes,
                    freed_bytes,
                },
                next_of_age: self.book.next_of_age(self.policy, now),
            }),
            false => Ok(()),
        }
    }

    /// Removes all that may go, whatever room there is.
    async fn remove_unused(&mut self, node: &NodeView) {
        let work = async {
            let now = self.observe(names_in_use(node)).await?;
            let unused = self.book.all_unused(self.policy, now);
            self.remove(&unused, u64::MAX).await?;
            self.forget_removed(now).await;
            Ok::<_, ImageGcError>(())
        };
        if let Err(error) = work.await {
            tracing::warn!(%error, "unused images cannot be removed");
        }
    }

    /// Lists the images and notes which are used, by the view and by what the runtime says now: a container may be younger
    /// than the view.
    async fn observe(&mut self, in_use: BTreeSet<String>) -> Result<WallTime, ImageGcError> {
        let images = self.outside.images.list_images().await?;
        let containers = self.outside.runtime.list_containers(None).await?;
        let fresh = containers.into_iter().flat_map(|container| [container.image, container.image_ref]);
        let names: BTreeSet<String> = in_use.iter().cloned().chain(fresh).collect();
        let used =
            images.iter().filter(|image| is_used(image, &names)).map(|image| image.id.clone()).collect();
        let now = self.outside.clock.wall();
        self.book.observe(now, &images, &used);
        self.in_use = Some(in_use);
        self.store().await;
        Ok(now)
    }

    async fn store(&self) {
        let without = "a restart forgets the newest uses of images";
        checkpoints::store_json(&*self.outside.checkpoints, USES, without, &self.book).await;
    }

    /// Removes images in their order until so much is free. What cannot be removed is left, and named at the end.
    async fn remove(&mut self, images: &[PlannedImage], wanted: u64) -> Result<u64, ImageGcError> {
        let mut freed = 0u64;
        let mut failure = None;
        for image in images {
            if freed >= wanted {
                break;
            }
            tracing::info!(
                image = image.id,
                bytes = image.size_bytes,
                why = image.reason.name(),
                "an unused image goes"
            );
            let spec = ImageSpec { image: image.id.clone(), ..ImageSpec::default() };
            match self.outside.images.remove_image(&spec).await {
                Ok(()) => {
                    freed = freed.saturating_add(image.size_bytes);
                    self.metrics.image_removed(image.reason);
                    self.book.removed(&image.id);
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        if !images.is_empty() {
            self.store().await;
        }
        match failure {
            None => Ok(freed),
            Some(source) => Err(ImageGcError::Removal { wanted, freed, source }),
        }
    }

    async fn forget_removed(&self, before: WallTime) {
        self.pulls.keep_only(self.book.ids(), before).await;
    }

    async fn disk(&mut self) -> Result<ImageDisk, ImageGcError> {
        let mountpoint = match &self.mountpoint {
            Some(known) => known.clone(),
            None => {
                let (images, _) = self.outside.images.image_filesystems().await?;
                images.into_iter().next().ok_or(ImageGcError::NoFilesystem)?.mountpoint
            }
        };
        let sample = self.outside.usage.host.filesystem(&mountpoint).await;
        // The runtime may have been set up anew elsewhere.
        self.mountpoint = sample.is_ok().then_some(mountpoint);
        let sample = sample?;
        match sample.capacity_bytes {
            0 => Err(ImageGcError::NoCapacity),
            capacity_bytes => Ok(ImageDisk { capacity_bytes, available_bytes: sample.available_bytes }),
        }
    }
}

/// Names and IDs of images that containers use, image volumes too.
fn names_in_use(node: &NodeView) -> BTreeSet<String> {
    let containers = node.observed.values().flat_map(|pod| &pod.containers);
    containers.flat_map(names_of).filter(|name| !name.is_empty()).collect()
}

fn names_of(container: &ObservedContainer) -> Vec<String> {
    let status = &container.status;
    let volumes = status.mounts.iter().filter_map(|mount| Some(mount.image.as_ref()?.image.clone()));
    [&status.image, &status.image_ref, &status.image_id].into_iter().cloned().chain(volumes).collect()
}

fn is_used(image: &Image, names: &BTreeSet<String>) -> bool {
    let mut own = std::iter::once(&image.id).chain(&image.repo_tags).chain(&image.repo_digests);
    own.any(|name| names.contains(name))
}
