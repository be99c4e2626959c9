//! What is decided when the node is short of something (CONTRACT 5.10): what is given back before pods are, who goes and how
//! long they get, and what is remembered of it.

use core_types::WallTime;
use core_types::pressure::{EvictionDecision, EvictionPlace, Pressures};
use core_types::{PodExt, PodUid};

use crate::message::{EvictionText, eviction_text};
use crate::ranking::{Candidate, Ranked, rank};
use crate::signal::{NodeCondition, Resource, Signal};
use crate::threshold::{FsLayout, Threshold};
use crate::usage::Observations;

/// Grace of a pod that goes for a hard limit or for a limit of its own, in seconds; upstream's.
pub const HARD_GRACE_SECS: i64 = 1;

/// What the node gives back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeReclaim {
    /// Dead containers, and all of pods that have ended.
    DeadContainers,
    /// Images that nobody uses.
    UnusedImages,
}

/// What is given back before a pod goes, in this order. Nothing of the node's helps against short memory and process IDs.
pub fn reclaim_first(signal: Signal, layout: FsLayout) -> &'static [NodeReclaim] {
    use NodeReclaim::{DeadContainers, UnusedImages};
    const BOTH: &[NodeReclaim] = &[DeadContainers, UnusedImages];
    let of_node = matches!(signal, Signal::NodeFsAvailable | Signal::NodeFsInodesFree);
    let of_images = matches!(signal, Signal::ImageFsAvailable | Signal::ImageFsInodesFree);
    match (signal.resource(), layout) {
        (Resource::Memory | Resource::Pids, _) => &[],
        (_, FsLayout::Single) => BOTH,
        (_, FsLayout::SeparateImages) if of_node => &[],
        (_, FsLayout::SeparateImages) => BOTH,
        (_, FsLayout::SplitImages) if of_images => &[UnusedImages],
        (_, FsLayout::SplitImages) => &[DeadContainers],
    }
}

/// A pod that goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Victim {
    /// Which.
    pub uid: PodUid,
    /// What is said of it.
    pub text: EvictionText,
    /// What it gets, in seconds.
    pub grace_secs: i64,
    /// What is remembered.
    pub decision: EvictionDecision,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Shortage<'a> {
    /// The limit that asks for it.
    pub limit: &'a Threshold,
    /// All limits that ask for something.
    pub starved: &'a [Threshold],
    /// What was measured.
    pub measured: &'a Observations,
    /// Where file systems are.
    pub layout: FsLayout,
    /// `evictionMaxPodGracePeriod`, in seconds.
    pub max_grace_secs: i64,
}

impl Shortage<'_> {
    /// The pod that goes now: the first in the order. `None` when all that run are critical.
    pub fn victim(&self, candidates: &[Candidate], now: WallTime) -> Option<Victim> {
        let order = rank(candidates, self.limit.signal, self.layout);
        let first = order.first()?;
        let candidate = &candidates[first.index];
        let text = eviction_text(
            self.limit.signal.resource(),
            &candidate.pod,
            candidate.usage.as_ref(),
            self.starved,
            self.measured,
        );
        let own = candidate.pod.spec_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace_secs = match self.limit.is_hard() {
            true => HARD_GRACE_SECS,
            false => own.map_or(self.max_grace_secs, |own| own.min(self.max_grace_secs)),
        };
        let look = self.measured.get(&self.limit.signal);
        let decision = EvictionDecision {
            uid: candidate.pod.uid(),
            key: candidate.pod.key(),
            at: now,
            signal: self.limit.signal.name().to_owned(),
            limit: look.map(|look| self.limit.below.of(look.capacity).to_string()).unwrap_or_default(),
            available: look.map(|look| look.available.to_string()).unwrap_or_default(),
            message: text.message.clone(),
            order: places(&order, candidates),
        };
        Some(Victim { uid: candidate.pod.uid(), text, grace_secs, decision })
    }
}

/// The order for people and programs.
pub fn places(order: &[Ranked], candidates: &[Candidate]) -> Vec<EvictionPlace> {
    let place = |ranked: &Ranked| EvictionPlace {
        key: candidates[ranked.index].pod.key(),
        exceeds_request: ranked.exceeds_request,
        priority: ranked.priority,
        used: ranked.used.map(|used| used.to_string()).unwrap_or_default(),
        requested: ranked.requested.to_string(),
    };
    order.iter().map(place).collect()
}

/// Conditions as the node shows them.
pub fn pressures(conditions: &[NodeCondition]) -> Pressures {
    let has = |condition| conditions.contains(&condition);
    Pressures {
        memory: has(NodeCondition::MemoryPressure),
        disk: has(NodeCondition::DiskPressure),
        pid: has(NodeCondition::PidPressure),
    }
}

/// The conditions that these are.
pub fn conditions(pressures: Pressures) -> Vec<NodeCondition> {
    let all = [
        (pressures.memory, NodeCondition::MemoryPressure),
        (pressures.disk, NodeCondition::DiskPressure),
        (pressures.pid, NodeCondition::PidPressure),
    ];
    all.into_iter().filter(|(is_shown, _)| *is_shown).map(|(_, condition)| condition).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use core_types::{MonoTime, Quantity};

    use super::*;
    use crate::testing::{Use, candidate, pod};
    use crate::threshold::Amount;
    use crate::usage::Observation;

    #[test]
    fn the_node_gives_back_what_lies_on_the_disk_that_is_short() {
        use NodeReclaim::{DeadContainers, UnusedImages};
        let cases: [(Signal, FsLayout, &[NodeReclaim]); 8] = [
            (Signal::MemoryAvailable, FsLayout::Single, &[]),
            (Signal::PidAvailable, FsLayout::Single, &[]),
            (Signal::NodeFsAvailable, FsLayout::Single, &[DeadContainers, UnusedImages]),
            (Signal::NodeFsInodesFree, FsLayout::SeparateImages, &[]),
            (Signal::ContainerFsAvailable, FsLayout::SeparateImages, &[DeadContainers, UnusedImages]),
            (Signal::ImageFsAvailable, FsLayout::SplitImages, &[UnusedImages]),
            (Signal::NodeFsAvailable, FsLayout::SplitImages, &[DeadContainers]),
            (Signal::ContainerFsInodesFree, FsLayout::SplitImages, &[DeadContainers]),
        ];
        for (signal, layout, expected) in cases {
            assert_eq!(reclaim_first(signal, layout), expected, "{signal} {layout:?}");
        }
    }

    #[test]
    fn one_pod_goes_with_the_grace_of_the_limit_and_leaves_a_record() {
        let limit = |grace: u64| Threshold {
            signal: Signal::MemoryAvailable,
            below: Amount::Quantity(Quantity::from_bytes(100 << 20)),
            grace: Duration::from_secs(grace),
            min_reclaim: None,
        };
        let look = Observation {
            available: Quantity::from_bytes(50 << 20),
            capacity: Quantity::from_bytes(1000 << 20),
            measured_at: MonoTime::ZERO,
        };
        let measured = Observations::from([(Signal::MemoryAvailable, look)]);
        let mut candidates = vec![
            candidate(pod("small", 0, &[]), Use::memory(10)),
            candidate(pod("big", 0, &[]), Use::memory(90)),
        ];
        let victim = |limit: &Threshold, candidates: &[Candidate]| {
            let shortage = Shortage {
                limit,
                starved: std::slice::from_ref(limit),
                measured: &measured,
                layout: FsLayout::Single,
                max_grace_secs: 20,
            };
            shortage.victim(candidates, WallTime::from_unix_secs(7))
        };
        let hard = victim(&limit(0), &candidates).expect("one goes");
        assert_eq!((hard.uid.as_str(), hard.grace_secs), ("big", HARD_GRACE_SECS));
        assert_eq!((hard.decision.limit.as_str(), hard.decision.available.as_str()), ("100Mi", "50Mi"));
        let order: Vec<_> =
            hard.decision.order.iter().map(|place| format!("{} {}", place.key.name, place.used)).collect();
        assert_eq!(order, ["big 90Mi", "small 10Mi"]);
        assert_eq!(victim(&limit(30), &candidates).map(|victim| victim.grace_secs), Some(20));
        for candidate in &mut candidates {
            let pod = std::sync::Arc::make_mut(&mut candidate.pod);
            pod.spec.as_mut().expect("a spec").priority = Some(2_000_000_000);
        }
        assert_eq!(victim(&limit(0), &candidates), None);
    }
}
