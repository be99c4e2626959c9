//! The manifests of one source over time: which pods they ask for now, and what is wrong with them.
//!
//! ```text
//!            good bytes               bad bytes                 good bytes
//!  (no file) ----------> Good(pods) ----------> Stale(pods, problem) ----------> Good(pods')
//!      |                    |                        |
//!      | bad bytes          | file gone              | file gone
//!      v                    v                        v
//!  Broken(problem)       (no file)                (no file)
//! ```
//!
//! Reads the bytes of all files of the source each time; gives the whole set of pods and the list of problems.
//!
//! A file that was good and is now broken keeps its last good pods, and the problem says so. Upstream drops the pod at
//! its next full listing: a typing mistake in an editor would stop a running pod. The last good version is kept in
//! memory only: after a restart of the agent a broken file gives no pod. Removing the file always removes its pods.
//!
//! A file whose bytes have not changed is not read again, so its pods stay the very same objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::Pod;
use core_types::view::{PodSource, SourceProblem};
use core_types::{PodExt, PodGates, WallTime};

use crate::manifest::fnv::{Fnv128, fnv128};
use crate::manifest::{ManifestIssue, ManifestMode, StaticContext, decode_manifest};

/// One manifest as it was found.
#[derive(Clone, Copy, Debug)]
pub struct ManifestInput<'a> {
    /// Path or URL.
    pub origin: &'a str,
    /// Its bytes, or why they cannot be had.
    pub content: Result<&'a [u8], &'a str>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Of the bytes that were read last, good or bad; `None` when they could not be had.
    digest: Option<Fnv128>,
    pods: Vec<Arc<Pod>>,
    problem: Option<SourceProblem>,
}

/// All manifests of one source.
#[derive(Debug)]
pub struct ManifestSet {
    node_name: String,
    source: PodSource,
    gates: PodGates,
    entries: BTreeMap<String, Entry>,
}

impl ManifestSet {
    /// An empty set for a source of this node.
    pub fn new(node_name: impl Into<String>, source: PodSource, gates: PodGates) -> Self {
        Self { node_name: node_name.into(), source, gates, entries: BTreeMap::new() }
    }

    /// Takes the complete list of manifests. Gives the warnings of those that were read anew and are good.
    pub fn replace(&mut self, manifests: &[ManifestInput<'_>], now: WallTime) -> Vec<ManifestIssue> {
        let mut old = std::mem::take(&mut self.entries);
        let mut warnings = Vec::new();
        for manifest in manifests {
            let mut entry = old.remove(manifest.origin).unwrap_or_default();
            self.read(manifest, &mut entry, now, &mut warnings);
            self.entries.insert(manifest.origin.to_owned(), entry);
        }
        warnings
    }

    /// The pods that the manifests ask for, by origin, then in the order of the manifest.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.entries.values().flat_map(|entry| entry.pods.iter().cloned()).collect()
    }

    /// Manifests that cannot be used, by origin.
    pub fn problems(&self) -> Vec<SourceProblem> {
        self.entries.values().filter_map(|entry| entry.problem.clone()).collect()
    }

    fn mode(&self) -> ManifestMode {
        match self.source {
            PodSource::File => ManifestMode::OnePod,
            PodSource::Http => ManifestMode::PodOrList,
            PodSource::Local | PodSource::Api => ManifestMode::Everything,
        }
    }

    fn read(
        &self,
        input: &ManifestInput<'_>,
        entry: &mut Entry,
        now: WallTime,
        warnings: &mut Vec<ManifestIssue>,
    ) {
        let bytes = match input.content {
            Ok(bytes) => bytes,
            Err(reason) => {
                entry.digest = None;
                return set_problem(entry, input.origin, reason.to_owned(), now);
            }
        };
        let digest = Some(fnv128(bytes));
        if entry.digest == digest {
            return;
        }
        entry.digest = digest;
        let (node_name, source, gates) = (&self.node_name, self.source, self.gates);
        let context = StaticContext { node_name, source, origin: input.origin, gates };
        match decode_manifest(bytes, self.mode(), &context, now) {
            Ok(manifest) => {
                entry.pods = manifest.pods;
                entry.problem = None;
                warnings.extend(manifest.warnings);
            }
            Err(issues) => {
                let texts: Vec<String> = issues.iter().map(ManifestIssue::text).collect();
                set_problem(entry, input.origin, texts.join("\n"), now);
            }
        }
    }
}

/// Sets the problem with what happens next; one that stays the same keeps its time.
fn set_problem(entry: &mut Entry, origin: &str, what: String, now: WallTime) {
    let names: Vec<String> = entry.pods.iter().map(|pod| pod.key().to_string()).collect();
    let next = match names.as_slice() {
        [] => "nothing runs from it until it is mended".to_owned(),
        [name] => format!("pod {name} keeps running as last read until it is mended or removed"),
        names => format!("pods {} keep running as last read until it is mended or removed", names.join(", ")),
    };
    let message = format!("{what}\n{next}");
    let since = entry.problem.as_ref().filter(|old| old.message == message).map_or(now, |old| old.since);
    entry.problem = Some(SourceProblem { origin: origin.to_owned(), message, since });
}

#[cfg(test)]
mod tests;
