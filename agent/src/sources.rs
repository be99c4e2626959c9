//! The tasks that bring manifests to the sync loop: one per configured source.
//!
//! Each reads its source as a whole, decodes it ([`ManifestSet`] remembers what was good), and sends the whole set when
//! something may have changed. Files are watched and also re-read every `fileCheckFrequency`, because a watch can be
//! lost; a URL is fetched every `httpCheckFrequency` (CONTRACT 3.1).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use core_pods::manifest_set::{ManifestInput, ManifestSet};
use core_types::api::Pod;
use core_types::view::{PodSource, SourceProblem};
use core_types::{PodGates, WallTime};
use futures_util::StreamExt;
use ports::sources::FileHints;
use ports::{Clock, ManifestFetcher, ManifestFile, ManifestFiles};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Editors write a file in several steps: changes that come this close together are read once.
const SETTLE: Duration = Duration::from_millis(20);
/// Hints taken at most before the files are read all the same.
const MAX_COALESCED_HINTS: usize = 64;

/// Everything one source wants now.
#[derive(Debug)]
pub(crate) struct SourceSet {
    pub(crate) source: PodSource,
    pub(crate) pods: Vec<Arc<Pod>>,
    /// What cannot be used now.
    pub(crate) problems: Vec<SourceProblem>,
    pub(crate) standing: Standing,
}

/// Who stands for a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The source, now.
    Told,
    /// The source, before it went away: what was written down then.
    Remembered {
        /// When it was.
        saved_at: WallTime,
    },
}

/// Pods and problem texts that were sent last.
type Sent = Option<(Vec<Arc<Pod>>, BTreeSet<(String, String)>)>;

/// What every source task needs.
pub(crate) struct SourceTask {
    pub(crate) source: PodSource,
    pub(crate) node_name: String,
    pub(crate) gates: PodGates,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sets: mpsc::Sender<SourceSet>,
    pub(crate) stop: CancellationToken,
}

impl SourceTask {
    /// Follows manifest files until the agent stops.
    pub(crate) async fn follow_files(self, files: Arc<dyn ManifestFiles>, check_every: Duration) {
        let mut known = ManifestSet::new(self.node_name.clone(), self.source, self.gates);
        let mut sent = None;
        loop {
            // Watch before reading, so that no change falls between the two.
            let mut hints = self.watch(files.as_ref()).await;
            match files.read_all().await {
                Ok(found) => {
                    self.take_files(&mut known, &found);
                    if self.send(&known, None, &mut sent).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let problem = self.problem("", format!("{error}; pods stay as they were last read"));
                    if self.send(&known, Some(problem), &mut sent).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = wait_for_hint(&mut hints) => {}
                () = tokio::time::sleep(check_every) => {}
            }
        }
    }

    /// Follows a manifest URL until the agent stops.
    pub(crate) async fn follow_url(self, url: Arc<dyn ManifestFetcher>, check_every: Duration) {
        let mut known = ManifestSet::new(self.node_name.clone(), self.source, self.gates);
        let mut sent = None;
        let mut answered = false;
        loop {
            let problem = match url.fetch().await {
                Ok(body) => {
                    answered = true;
                    let input = ManifestInput { origin: url.origin(), content: Ok(&body) };
                    self.warn(&known.replace(&[input], self.clock.wall()));
                    None
                }
                Err(error) => Some(self.problem(url.origin(), error.to_string())),
            };
            // A URL that has never answered has not delivered: what runs must not be taken for unwanted.
            if answered {
                if self.send(&known, problem, &mut sent).await.is_err() {
                    return;
                }
            } else if let Some(problem) = problem {
                tracing::warn!(source = ?self.source, "{}: {}", problem.origin, problem.message);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(check_every) => {}
            }
        }
    }

    async fn watch(&self, files: &dyn ManifestFiles) -> Option<FileHints> {
        match files.watch().await {
            Ok(hints) => Some(hints),
            Err(error) => {
                tracing::warn!(source = ?self.source, %error, "manifests cannot be watched; they are read at intervals");
                None
            }
        }
    }

    fn take_files(&self, known: &mut ManifestSet, found: &[ManifestFile]) {
        let origins: Vec<String> =
            found.iter().map(|file| file.path.to_string_lossy().into_owned()).collect();
        let inputs: Vec<ManifestInput<'_>> = found
            .iter()
            .zip(&origins)
            .map(|(file, origin)| ManifestInput {
                origin,
                content: file.content.as_deref().map_err(String::as_str),
            })
            .collect();
        self.warn(&known.replace(&inputs, self.clock.wall()));
    }

    fn warn(&self, warnings: &[core_pods::manifest::ManifestIssue]) {
        for warning in warnings {
            tracing::warn!(source = ?self.source, "{warning}");
        }
    }

    fn problem(&self, origin: &str, message: String) -> SourceProblem {
        SourceProblem { origin: origin.to_owned(), message, since: self.clock.wall() }
    }

    /// Sends the set if it differs from what was sent last. Fails when the agent stops.
    async fn send(
        &self,
        known: &ManifestSet,
        problem: Option<SourceProblem>,
        sent: &mut Sent,
    ) -> Result<(), ()> {
        let pods = known.pods();
        let mut problems = known.problems();
        problems.extend(problem);
        let texts: BTreeSet<(String, String)> =
            problems.iter().map(|problem| (problem.origin.clone(), problem.message.clone())).collect();
        if sent.as_ref().is_some_and(|(old_pods, old_texts)| *old_pods == pods && *old_texts == texts) {
            return Ok(());
        }
        let news = sent.as_ref().map(|(_, old)| old.clone()).unwrap_or_default();
        for (origin, message) in texts.difference(&news) {
            tracing::error!(source = ?self.source, "{origin}: {message}");
        }
        *sent = Some((pods.clone(), texts));
        let standing = Standing::Told;
        self.sets.send(SourceSet { source: self.source, pods, problems, standing }).await.map_err(drop)
    }
}

/// Waits for a hint and for the changes that follow it closely. For ever when there is no watch.
async fn wait_for_hint(hints: &mut Option<FileHints>) {
    let Some(stream) = hints else { return std::future::pending().await };
    if stream.next().await.is_none() {
        // The watch broke: read now, and watch anew.
        return;
    }
    for _ in 0..MAX_COALESCED_HINTS {
        tokio::select! {
            biased;
            more = stream.next() => if more.is_none() { return },
            () = tokio::time::sleep(SETTLE) => return,
        }
    }
}
