//! Which limits are crossed, since when, and what the node shows (CONTRACT 5.10).
//!
//! ```text
//! measured > below its limit, or not yet back above limit + minimum reclaim > met since > grace over > starved
//!                                                  \
//!                                                   condition shown until the transition period has passed without it
//! ```
//! A limit whose signal was not measured again since the last step starves nobody a second time: one old figure never
//! costs two pods.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use core_types::MonoTime;

use crate::signal::{NodeCondition, Resource};
use crate::threshold::Threshold;
use crate::usage::{Observation, Observations};

/// What a step says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodePressure {
    /// Conditions that the node shows, in the order of their names' declaration.
    pub conditions: Vec<NodeCondition>,
    /// Limits that ask for something to be given back now, the one to begin with first: memory before all else.
    pub starved: Vec<Threshold>,
}

/// The memory of the node's limits.
#[derive(Clone, Debug)]
pub struct Pressure {
    thresholds: Vec<Threshold>,
    transition: Duration,
    met_since: Vec<(Threshold, MonoTime)>,
    starved: Vec<Threshold>,
    seen: BTreeMap<NodeCondition, MonoTime>,
    last: Observations,
}

impl Pressure {
    /// No pressure so far. `transition` is `evictionPressureTransitionPeriod`.
    pub fn new(thresholds: Vec<Threshold>, transition: Duration) -> Self {
        Self {
            thresholds,
            transition,
            met_since: Vec::new(),
            starved: Vec::new(),
            seen: BTreeMap::new(),
            last: Observations::new(),
        }
    }

    /// The same machine for a node that shows these conditions already: each goes when the transition period has passed
    /// without it, counted from now. One that no limit can bring is left out.
    #[must_use]
    pub fn showing(mut self, conditions: impl IntoIterator<Item = NodeCondition>, now: MonoTime) -> Self {
        let limits = &self.thresholds;
        let has_limit =
            |condition: &NodeCondition| limits.iter().any(|one| one.signal.condition() == *condition);
        let kept: Vec<_> = conditions.into_iter().filter(has_limit).collect();
        self.seen.extend(kept.into_iter().map(|condition| (condition, now)));
        self
    }

    /// The limits.
    pub fn thresholds(&self) -> &[Threshold] {
        &self.thresholds
    }

    /// Takes new measurements.
    pub fn step(&mut self, now: MonoTime, measured: &Observations) -> NodePressure {
        let met = self.met(measured);
        self.met_since = met
            .iter()
            .map(|threshold| {
                let before = self.met_since.iter().find(|(other, _)| other == threshold);
                (*threshold, before.map_or(now, |(_, since)| *since))
            })
            .collect();
        for threshold in &met {
            self.seen.insert(threshold.signal.condition(), now);
        }
        let transition = self.transition;
        self.seen.retain(|_, seen| *seen == now || now.since(*seen) < transition);
        let graced = self.met_since.iter().filter(|(threshold, since)| now.since(*since) >= threshold.grace);
        self.starved = graced.map(|(threshold, _)| *threshold).collect();
        let mut starved: Vec<Threshold> =
            self.starved.iter().copied().filter(|threshold| self.is_news(threshold, measured)).collect();
        starved.sort_by_key(|threshold| Reverse(threshold.signal.resource() == Resource::Memory));
        self.last.clone_from(measured);
        NodePressure { conditions: self.conditions(), starved }
    }

    /// Conditions that the node shows now.
    pub fn conditions(&self) -> Vec<NodeCondition> {
        self.seen.keys().copied().collect()
    }

    /// True when nothing more has to be given back: every limit is left by its minimum reclaim.
    pub fn is_relieved(&self, measured: &Observations) -> bool {
        !self.thresholds.iter().any(|threshold| is_met(threshold, measured, Until::Reclaimed))
    }

    /// When the next step is due by itself: a grace ends, or a condition goes.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let graces = self
            .met_since
            .iter()
            .filter(|(threshold, _)| !self.starved.contains(threshold))
            .map(|(threshold, since)| *since + threshold.grace);
        let conditions = self.seen.values().map(|seen| *seen + self.transition);
        graces.chain(conditions).min()
    }

    /// Limits that are crossed, and those that starved before and are not left far enough.
    fn met(&self, measured: &Observations) -> Vec<Threshold> {
        let crossed = self.thresholds.iter().filter(|threshold| is_met(threshold, measured, Until::Left));
        let mut met: Vec<Threshold> = crossed.copied().collect();
        for threshold in &self.starved {
            let known = met.iter().any(|other| other.is_same(threshold));
            if !known && is_met(threshold, measured, Until::Reclaimed) {
                met.push(*threshold);
            }
        }
        met
    }

    /// Whether the signal was measured since the last step.
    fn is_news(&self, threshold: &Threshold, measured: &Observations) -> bool {
        let at =
            |observations: &Observations| observations.get(&threshold.signal).map(|look| look.measured_at);
        at(measured) > at(&self.last)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Left,
    Reclaimed,
}

fn is_met(threshold: &Threshold, measured: &Observations, until: Until) -> bool {
    let Some(Observation { available, capacity, .. }) = measured.get(&threshold.signal).copied() else {
        return false;
    };
    let mut bound = threshold.below.of(capacity);
    if let (Until::Reclaimed, Some(more)) = (until, threshold.min_reclaim) {
        bound += more.of(capacity);
    }
    available < bound
}

#[cfg(test)]
mod tests {
    use core_types::Quantity;
    use proptest::prelude::*;

    use super::*;
    use crate::signal::Signal;
    use crate::threshold::Amount;

    const MIB: i64 = 1 << 20;

    fn limit(signal: Signal, below_mib: i64, grace_secs: u64, reclaim_mib: i64) -> Threshold {
        let amount = |mib: i64| Amount::Quantity(Quantity::from_bytes(mib * MIB));
        Threshold {
            signal,
            below: amount(below_mib),
            grace: Duration::from_secs(grace_secs),
            min_reclaim: (reclaim_mib > 0).then(|| amount(reclaim_mib)),
        }
    }

    fn at(secs: u64, left: &[(Signal, i64)]) -> (MonoTime, Observations) {
        let now = MonoTime::from_secs(secs);
        let look = |mib: i64| Observation {
            available: Quantity::from_bytes(mib * MIB),
            capacity: Quantity::from_bytes(1000 * MIB),
            measured_at: now,
        };
        (now, left.iter().map(|(signal, mib)| (*signal, look(*mib))).collect())
    }

    fn step(pressure: &mut Pressure, secs: u64, left: &[(Signal, i64)]) -> (Vec<NodeCondition>, Vec<Signal>) {
        let (now, measured) = at(secs, left);
        let said = pressure.step(now, &measured);
        (said.conditions, said.starved.iter().map(|threshold| threshold.signal).collect())
    }

    #[test]
    fn a_hard_limit_starves_at_once_and_holds_until_enough_is_back() {
        let memory = Signal::MemoryAvailable;
        let mut pressure = Pressure::new(vec![limit(memory, 100, 0, 50)], Duration::from_secs(300));
        assert_eq!(step(&mut pressure, 10, &[(memory, 100)]), (vec![], vec![]));
        let low = (vec![NodeCondition::MemoryPressure], vec![memory]);
        assert_eq!(step(&mut pressure, 20, &[(memory, 99)]), low);
        assert_eq!(step(&mut pressure, 30, &[(memory, 140)]), low);
        let (now, measured) = at(40, &[(memory, 150)]);
        assert!(pressure.is_relieved(&measured));
        assert_eq!(pressure.step(now, &measured).starved, []);
        let shown = step(&mut pressure, 329, &[(memory, 150)]);
        assert_eq!(shown, (vec![NodeCondition::MemoryPressure], vec![]));
        assert_eq!(step(&mut pressure, 330, &[(memory, 150)]), (vec![], vec![]));
    }

    #[test]
    fn a_soft_limit_waits_for_its_grace_and_forgets_it_when_it_is_left() {
        let disk = Signal::NodeFsAvailable;
        let mut pressure = Pressure::new(vec![limit(disk, 100, 60, 0)], Duration::from_secs(10));
        assert_eq!(step(&mut pressure, 0, &[(disk, 10)]), (vec![NodeCondition::DiskPressure], vec![]));
        assert_eq!(pressure.next_deadline(), Some(MonoTime::from_secs(10)));
        assert_eq!(step(&mut pressure, 50, &[(disk, 200)]), (vec![], vec![]));
        assert_eq!(step(&mut pressure, 55, &[(disk, 10)]).1, []);
        assert_eq!(step(&mut pressure, 114, &[(disk, 10)]).1, []);
        assert_eq!(step(&mut pressure, 115, &[(disk, 10)]).1, [disk]);
    }

    #[test]
    fn memory_goes_first_and_one_measurement_counts_once() {
        let (disk, memory) = (Signal::NodeFsAvailable, Signal::AllocatableMemoryAvailable);
        let limits = vec![limit(disk, 100, 0, 0), limit(memory, 100, 0, 0)];
        let mut pressure = Pressure::new(limits, Duration::from_secs(10));
        let (now, measured) = at(1, &[(disk, 1), (memory, 1)]);
        let starved: Vec<_> = pressure.step(now, &measured).starved.iter().map(|t| t.signal).collect();
        assert_eq!(starved, [memory, disk]);
        let again = pressure.step(MonoTime::from_secs(2), &measured);
        assert_eq!(again.starved, []);
        assert_eq!(again.conditions, [NodeCondition::MemoryPressure, NodeCondition::DiskPressure]);
    }

    #[test]
    fn what_cannot_be_measured_is_no_shortage() {
        let memory = Signal::MemoryAvailable;
        let mut pressure = Pressure::new(vec![limit(memory, 100, 0, 0)], Duration::from_secs(10));
        assert_eq!(step(&mut pressure, 1, &[]), (vec![], vec![]));
        assert!(pressure.is_relieved(&Observations::new()));
    }

    #[test]
    fn what_is_shown_already_stays_for_the_transition_period() {
        let transition = Duration::from_secs(300);
        let limits = vec![limit(Signal::MemoryAvailable, 100, 0, 0)];
        let shown = [NodeCondition::MemoryPressure, NodeCondition::PidPressure];
        let mut pressure = Pressure::new(limits, transition).showing(shown, MonoTime::from_secs(10));
        assert_eq!(pressure.next_deadline(), Some(MonoTime::from_secs(310)));
        let (now, plenty) = at(309, &[(Signal::MemoryAvailable, 500)]);
        assert_eq!(pressure.step(now, &plenty).conditions, [NodeCondition::MemoryPressure]);
        let (now, plenty) = at(310, &[(Signal::MemoryAvailable, 500)]);
        assert_eq!(pressure.step(now, &plenty), NodePressure::default());
    }

    proptest! {
        /// Whatever is measured: only a limit that is below its bound (with its reclaim) starves, a soft one not before
        /// its grace, and a starved limit's condition is shown.
        #[test]
        fn random_measurements_starve_only_what_is_short(
            looks in prop::collection::vec((1u64..40, 0i64..200, 0i64..200), 1..40),
        ) {
            let (disk, memory) = (Signal::NodeFsAvailable, Signal::MemoryAvailable);
            let limits = vec![limit(memory, 100, 0, 20), limit(memory, 150, 30, 0), limit(disk, 50, 0, 0)];
            let mut pressure = Pressure::new(limits, Duration::from_secs(60));
            let (mut now, mut soft_since) = (0, None);
            for (pause, memory_mib, disk_mib) in looks {
                now += pause;
                soft_since = if memory_mib < 150 { soft_since.or(Some(now)) } else { None };
                let (time, measured) = at(now, &[(memory, memory_mib), (disk, disk_mib)]);
                let said = pressure.step(time, &measured);
                for threshold in &said.starved {
                    prop_assert!(is_met(threshold, &measured, Until::Reclaimed));
                    prop_assert!(said.conditions.contains(&threshold.signal.condition()));
                    if !threshold.is_hard() {
                        prop_assert!(soft_since.is_some_and(|since| now - since >= 30));
                    }
                }
                let hard = said.starved.iter().any(|t| t.signal == memory && t.is_hard());
                prop_assert!(hard || memory_mib >= 100);
            }
        }
    }
}
