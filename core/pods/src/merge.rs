//! The pods that all sources together ask for (CONTRACT 3.2), and what changes when one source delivers a new set.
//!
//! ```text
//! file  --set--+
//! http  --set--+--> desired set --diff--> PodSetChange: removed, added, updated, deleted, reconciled
//! local --set--+        ^
//! api   --set--+        +-- one pod per full name and per UID: File before Http before Local before Api
//! ```
//!
//! Reads complete sets; remembers the last one of each source. Guarantees: applying the changes to a copy of the desired
//! set gives the new desired set; delivering a set twice changes nothing; an invalid or doubled pod disturbs no other.
//!
//! A pod that loses its name to another is reported and comes up when the other goes. Upstream has no rule between
//! sources; within one source it drops the later pod, as here. Mirror pods are not rivals of their static pods: they
//! share the full name by design.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core_types::api::Pod;
use core_types::keys::{CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION, CONFIG_SOURCE_ANNOTATION};
use core_types::view::{PodSource, SourceProblem};
use core_types::{PodExt, PodKey, PodUid, WallTime};

/// A desired pod and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcedPod {
    /// The source.
    pub source: PodSource,
    /// The pod, with the annotations `kubernetes.io/config.source` and `config.seen`.
    pub pod: Arc<Pod>,
}

/// A pod that is not run because another has its name or UID.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedPod {
    /// The pod.
    pub pod: SourcedPod,
    /// Why, for people; also the text of the event `FailedValidation`.
    pub message: String,
}

/// What changed. Deliver the lists in the order of the fields (upstream's order).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSetChange {
    /// Pods that no source asks for any more.
    pub removed: Vec<SourcedPod>,
    /// New pods.
    pub added: Vec<SourcedPod>,
    /// Pods with another spec, labels or annotations.
    pub updated: Vec<SourcedPod>,
    /// Pods whose graceful deletion began or changed.
    pub deleted: Vec<SourcedPod>,
    /// Pods of which only the status differs: the API server must be told the true one.
    pub reconciled: Vec<SourcedPod>,
    /// Pods refused now that were not refused before.
    pub refused: Vec<RefusedPod>,
}

impl PodSetChange {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A desired pod, and the one that was offered: an offer that is still the same needs no comparison.
#[derive(Debug)]
struct Desired {
    pod: SourcedPod,
    offered: Arc<Pod>,
}

/// The last set of every source and the desired set they make.
#[derive(Debug)]
pub struct PodSources {
    /// `None`: has not delivered yet.
    offered: BTreeMap<PodSource, Option<Vec<Arc<Pod>>>>,
    /// Sources whose set is one that they delivered in an earlier life of the agent.
    remembered: BTreeSet<PodSource>,
    desired: BTreeMap<PodUid, Desired>,
    refused: BTreeMap<(PodSource, PodUid, PodKey), (RefusedPod, WallTime)>,
}

impl Desired {
    fn is_of(&self, offer: &SourcedPod) -> bool {
        Arc::ptr_eq(&self.offered, &offer.pod) && self.pod.source == offer.source
    }
}

impl PodSources {
    /// Sources of this node, none of which has delivered.
    pub fn new(configured: impl IntoIterator<Item = PodSource>) -> Self {
        let offered = configured.into_iter().map(|source| (source, None)).collect();
        Self { offered, remembered: BTreeSet::new(), desired: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// Takes the complete set of one source. An empty set counts as delivered.
    pub fn replace(&mut self, source: PodSource, pods: Vec<Arc<Pod>>, now: WallTime) -> PodSetChange {
        self.remembered.remove(&source);
        self.offer(source, pods, now)
    }

    /// Takes a set that a source delivered in an earlier life of the agent. Its pods are wanted, and the source counts as one
    /// that has not delivered: what runs beside them is not unwanted.
    pub fn remember(&mut self, source: PodSource, pods: Vec<Arc<Pod>>, now: WallTime) -> PodSetChange {
        self.remembered.insert(source);
        self.offer(source, pods, now)
    }

    fn offer(&mut self, source: PodSource, pods: Vec<Arc<Pod>>, now: WallTime) -> PodSetChange {
        let before = self.offered.insert(source, Some(pods)).flatten();
        if let Some(change) = before.and_then(|before| self.renew_in_place(source, &before)) {
            return change;
        }
        let (winners, losers) = choose(&self.offered);
        let mut change = PodSetChange::default();
        let mut old = std::mem::take(&mut self.desired);
        for offer in winners {
            let (uid, offered) = (offer.pod.uid(), Arc::clone(&offer.pod));
            let pod = match old.remove(&uid) {
                Some(known) if known.is_of(&offer) => known.pod,
                Some(known) if is_same_pod(&known.pod, &offer) => update(known.pod, offer, &mut change),
                other => {
                    // The same UID with another name or source is another pod: the old one goes first.
                    change.removed.extend(other.map(|other| other.pod));
                    let added = first_seen(offer, now);
                    change.added.push(added.clone());
                    added
                }
            };
            self.desired.insert(uid, Desired { pod, offered });
        }
        change.removed.extend(old.into_values().map(|known| known.pod));
        change.refused = self.note_refused(losers, now);
        change
    }

    /// What changed when a set names the same pods as the one before: who wins is decided then. `None` when it does not, or when
    /// pods are refused.
    fn renew_in_place(&mut self, source: PodSource, before: &[Arc<Pod>]) -> Option<PodSetChange> {
        let pods = self.offered.get(&source)?.as_ref()?;
        if !self.refused.is_empty() || pods.len() != before.len() {
            return None;
        }
        let renewed: Vec<SourcedPod> = pods
            .iter()
            .zip(before)
            .filter(|(new, old)| !Arc::ptr_eq(new, old))
            .map(|(new, old)| {
                let [new, old] = [new, old].map(|pod| SourcedPod { source, pod: Arc::clone(pod) });
                (new.pod.uid() == old.pod.uid() && is_same_pod(&old, &new)).then_some(new)
            })
            .collect::<Option<_>>()?;
        let mut change = PodSetChange::default();
        for offer in renewed {
            let desired = self.desired.get_mut(&offer.pod.uid())?;
            desired.offered = Arc::clone(&offer.pod);
            desired.pod = update(desired.pod.clone(), offer, &mut change);
        }
        Some(change)
    }

    /// Whether every configured source has delivered a set. Until then nothing that runs may be taken for unwanted.
    pub fn all_ready(&self) -> bool {
        self.waiting_for().next().is_none()
    }

    /// Sources that have not delivered yet.
    pub fn waiting_for(&self) -> impl Iterator<Item = PodSource> + '_ {
        let is_awaited =
            |(source, set): &(&PodSource, &Option<_>)| set.is_none() || self.remembered.contains(source);
        self.offered.iter().filter(is_awaited).map(|(source, _)| *source)
    }

    /// The desired pods, by UID.
    pub fn pods(&self) -> impl Iterator<Item = &SourcedPod> {
        self.desired.values().map(|desired| &desired.pod)
    }

    /// The desired pod with a UID.
    pub fn get(&self, uid: &PodUid) -> Option<&SourcedPod> {
        self.desired.get(uid).map(|desired| &desired.pod)
    }

    /// The pods that are refused now.
    pub fn problems(&self) -> Vec<SourceProblem> {
        self.refused
            .values()
            .map(|(refused, since)| SourceProblem {
                origin: format!("pod {} ({})", refused.pod.pod.key(), refused.pod.source.annotation()),
                message: refused.message.clone(),
                since: *since,
            })
            .collect()
    }

    /// Replaces the refused pods; gives those that were not refused before.
    fn note_refused(&mut self, losers: Vec<RefusedPod>, now: WallTime) -> Vec<RefusedPod> {
        let mut old = std::mem::take(&mut self.refused);
        let mut fresh = Vec::new();
        for refused in losers {
            let id = (refused.pod.source, refused.pod.pod.uid(), refused.pod.pod.key());
            if self.refused.contains_key(&id) {
                continue;
            }
            let since = match old.remove(&id) {
                Some((known, since)) if known.message == refused.message => since,
                _ => {
                    fresh.push(refused.clone());
                    now
                }
            };
            self.refused.insert(id, (refused, since));
        }
        fresh
    }
}

/// Whether a pod of the API server stands for a static pod.
fn is_mirror(offer: &SourcedPod) -> bool {
    offer.source == PodSource::Api && offer.pod.annotation(CONFIG_MIRROR_ANNOTATION).is_some()
}

/// Whether two pods with one UID are the same pod at two times.
fn is_same_pod(known: &SourcedPod, offer: &SourcedPod) -> bool {
    known.source == offer.source && known.pod.key() == offer.pod.key() && is_mirror(known) == is_mirror(offer)
}

/// One pod per full name and per UID: the first, in the order of sources and of their sets.
fn choose(offered: &BTreeMap<PodSource, Option<Vec<Arc<Pod>>>>) -> (Vec<SourcedPod>, Vec<RefusedPod>) {
    let mut winners = Vec::new();
    let mut losers = Vec::new();
    let mut names: BTreeMap<PodKey, PodSource> = BTreeMap::new();
    let mut uids: BTreeMap<PodUid, PodSource> = BTreeMap::new();
    let mut mirrors = BTreeSet::new();
    let offers = offered.iter().flat_map(|(source, pods)| {
        pods.iter().flatten().map(|pod| SourcedPod { source: *source, pod: Arc::clone(pod) })
    });
    for offer in offers {
        let (key, uid) = (offer.pod.key(), offer.pod.uid());
        let mirror = is_mirror(&offer);
        let name_taken = match mirror {
            true => mirrors.contains(&key).then_some(PodSource::Api),
            false => names.get(&key).copied(),
        };
        let refusal = if let Some(by) = name_taken {
            Some(format!(
                "Error validating pod {key} from {} due to duplicate pod name {:?}, ignoring: a pod from {} has it; rename or remove one of the two",
                offer.source.annotation(),
                &*key.name,
                by.annotation(),
            ))
        } else {
            uids.get(&uid).map(|by| {
                format!(
                    "Error validating pod {key} from {} due to duplicate UID {uid:?}, ignoring: another pod from {} has it; leave metadata.uid out of the manifest",
                    offer.source.annotation(),
                    by.annotation(),
                )
            })
        };
        match refusal {
            Some(message) => losers.push(RefusedPod { pod: offer, message }),
            None => {
                uids.insert(uid, offer.source);
                if mirror {
                    mirrors.insert(key);
                } else {
                    names.insert(key, offer.source);
                }
                winners.push(offer);
            }
        }
    }
    (winners, losers)
}

/// The pod with its source and the time it was first seen noted on it.
fn first_seen(offer: SourcedPod, now: WallTime) -> SourcedPod {
    annotated(offer, now.to_rfc3339_nano())
}

fn annotated(offer: SourcedPod, seen: String) -> SourcedPod {
    let mut pod = Arc::unwrap_or_clone(offer.pod);
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(CONFIG_SOURCE_ANNOTATION.to_owned(), offer.source.annotation().to_owned());
    annotations.insert(CONFIG_SEEN_ANNOTATION.to_owned(), seen);
    SourcedPod { source: offer.source, pod: Arc::new(pod) }
}

/// Compares a pod with what is known of it and files the difference.
fn update(known: SourcedPod, offer: SourcedPod, change: &mut PodSetChange) -> SourcedPod {
    let differs = differs_semantically(&known.pod, &offer.pod);
    if !differs && known.pod.status == offer.pod.status {
        return known;
    }
    let seen = known.pod.annotation(CONFIG_SEEN_ANNOTATION).unwrap_or_default().to_owned();
    let updated = annotated(offer, seen);
    let list = match (differs, updated.pod.metadata.deletion_timestamp.is_some()) {
        (false, _) => &mut change.reconciled,
        (true, true) => &mut change.deleted,
        (true, false) => &mut change.updated,
    };
    list.push(updated.clone());
    updated
}

/// Whether spec, labels, annotations or deletion differ; annotations that the agent itself writes do not count.
pub fn differs_semantically(known: &Pod, offer: &Pod) -> bool {
    let (a, b) = (&known.metadata, &offer.metadata);
    known.spec != offer.spec
        || a.deletion_timestamp != b.deletion_timestamp
        || a.deletion_grace_period_seconds != b.deletion_grace_period_seconds
        || !a.labels.iter().flatten().eq(b.labels.iter().flatten())
        || !foreign_annotations(known).eq(foreign_annotations(offer))
}

fn foreign_annotations(pod: &Pod) -> impl Iterator<Item = (&String, &String)> {
    const LOCAL: [&str; 3] = [CONFIG_SOURCE_ANNOTATION, CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION];
    pod.metadata.annotations.iter().flatten().filter(|(key, _)| !LOCAL.contains(&key.as_str()))
}

#[cfg(test)]
mod tests;
