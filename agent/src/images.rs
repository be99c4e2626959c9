//! Images of pods (CONTRACT 3.16): what operations share when they make sure that an image is there.
//!
//! | part | owns |
//! |---|---|
//! | [`pulls`] | which pulls run, and who may use what was pulled |
//! | [`keeper`] | the files about pulls |
//! | [`credentials`] | nothing: it asks for Secrets, files and plugins at each pull |
//! | [`providers`] | answers of credential plugins that still hold |

mod credentials;
mod keeper;
mod providers;
mod pull_once;
mod pulls;

use core_metrics::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::ImageMetrics;
use crate::objects::Objects;
use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;

pub(crate) use credentials::{CredentialFinder, FoundCredentials};
pub(crate) use pulls::{Present, PullWish, Pulls};

/// What operations share of images.
#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) pulls: Pulls,
    pub(crate) credentials: CredentialFinder,
    pub(crate) metrics: ImageMetrics,
}

impl Images {
    /// Starts the tasks of images.
    pub(crate) fn start(
        tasks: &mut JoinSet<()>,
        outside: &Outside,
        settings: &Settings,
        (objects, registry): (Option<Objects>, &Registry),
        (up, stop): (watch::Receiver<RuntimeUp>, &CancellationToken),
    ) -> Self {
        let metrics = ImageMetrics::new(registry);
        let (task, pulls) = pulls::PullTask::new(outside.clone(), settings.pulls.clone(), metrics.clone());
        tasks.spawn(task.run(up, stop.clone()));
        let credentials = CredentialFinder::new(outside.clone(), objects, settings, metrics.clone());
        Self { pulls, credentials, metrics }
    }
}
