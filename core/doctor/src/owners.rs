//! Who owns what is named after a pod.

use std::collections::BTreeSet;

use core_types::PodUid;

use crate::finding::{Finding, FindingKind, Remedy};
use crate::inventory::{AgentReport, Inventory, RuntimeInventory, Sources};

/// UIDs that are somebody's, and whether all of them are known.
pub(crate) struct Owners<'a> {
    known: BTreeSet<&'a PodUid>,
    /// Why something may belong to somebody after all, as an advice; `None` when it cannot.
    doubt: Option<&'static str>,
    why: &'static str,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(inventory: &'a Inventory, agent: &'a AgentReport) -> Self {
        let mut known = BTreeSet::new();
        let mut doubt = None;
        if let RuntimeInventory::Listed { sandboxes, container_uids } = &inventory.runtime {
            known.extend(sandboxes.iter().map(|sandbox| &sandbox.uid));
            known.extend(container_uids);
        } else {
            doubt = Some("bring the container runtime up, then look again: it may run something of it");
        }
        let mut why = "no source wants a pod with this UID, and the runtime has nothing of it";
        match agent {
            AgentReport::Answers { pods, sources, .. } => {
                known.extend(pods);
                if *sources == Sources::Awaited {
                    doubt = Some(
                        "wait until the agent has heard all sources of pods, then look again: one may want it",
                    );
                }
            }
            AgentReport::Silent { .. } => {
                doubt = Some("start the agent: it removes what no source wants once it has heard them all");
                why = "the runtime has nothing of a pod with this UID";
            }
        }
        Self { known, doubt, why }
    }

    /// True for a UID that is nobody's, as far as is known.
    pub(crate) fn is_orphan(&self, uid: &PodUid) -> bool {
        !self.known.contains(uid)
    }

    /// A finding about something of nobody. `obstacle` is what speaks against its removal, as an advice.
    pub(crate) fn orphan(
        &self,
        kind: FindingKind,
        subject: &str,
        remedy: Remedy,
        obstacle: Option<String>,
    ) -> Finding {
        let mut finding = Finding::told(kind, subject, self.why, "");
        match (self.doubt, obstacle) {
            (_, Some(obstacle)) => finding.advice = obstacle,
            (Some(doubt), None) => finding.advice = doubt.to_owned(),
            (None, None) => {
                finding.advice = "podwright doctor --fix removes it".to_owned();
                finding.remedy = Some(remedy);
            }
        }
        finding
    }
}
