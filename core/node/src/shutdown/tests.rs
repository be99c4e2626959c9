//! Histories of shutdowns: who is stopped when, and when the machine may go. Pods end and are told of after times that the tests choose.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(secs: u64) -> MonoTime {
    MonoTime::from_secs(1000 + secs)
}

fn pod(name: &str, priority: i32, grace_secs: i64) -> ShutdownPod {
    ShutdownPod { uid: name.into(), priority, grace_secs }
}

fn stop(name: &str, grace_secs: i64) -> ShutdownEffect {
    ShutdownEffect::Stop { uid: name.into(), grace_secs }
}

fn left(pods: &[(&str, Left)]) -> ShutdownEvent {
    ShutdownEvent::Looked(pods.iter().map(|(name, left)| ((*name).into(), *left)).collect())
}

fn periods(groups: &[(i32, u64)]) -> GroupPeriods {
    let groups =
        groups.iter().map(|(priority, period)| GroupPeriod { priority: *priority, period: secs(*period) });
    GroupPeriods::by_priority(groups).unwrap()
}

#[test]
fn pods_stand_where_upstream_puts_them() {
    let groups = periods(&[(1000, 3), (100, 1), (500, 2)]);
    for (priority, index) in
        [(-5, 0), (0, 0), (100, 0), (499, 0), (500, 1), (999, 1), (1000, 2), (2_000_001_000, 2)]
    {
        assert_eq!(groups.index(priority), index, "{priority}");
    }
    assert_eq!(groups.total(), secs(6));
}

#[test]
fn the_total_is_shared_with_critical_pods() {
    assert_eq!(
        GroupPeriods::of_total(secs(30), secs(10)),
        Some(periods(&[(0, 20), (SYSTEM_CRITICAL_PRIORITY, 10)]))
    );
    assert_eq!(
        GroupPeriods::of_total(secs(30), Duration::ZERO),
        Some(periods(&[(0, 30), (SYSTEM_CRITICAL_PRIORITY, 0)]))
    );
    assert_eq!(GroupPeriods::of_total(Duration::ZERO, Duration::ZERO), None);
    assert_eq!(GroupPeriods::by_priority([]), None);
}

#[test]
fn groups_go_one_after_the_other_and_the_last_word_is_waited_for() {
    let mut machine = GracefulShutdown::new(periods(&[(0, 20), (100, 5), (200, 10)]));
    assert!(!machine.goes_down() && machine.next_deadline().is_none());
    let pods = vec![pod("a", 0, 30), pod("b", 0, 1), pod("system", 2_000_000_000, 10)];
    assert_eq!(machine.step(at(0), ShutdownEvent::GoesDown(pods)), [stop("a", 20), stop("b", 1)]);
    assert!(machine.goes_down() && machine.is_at_work());
    assert_eq!(machine.next_deadline(), Some(at(20)));
    let both = [("a", Left::Something), ("b", Left::Untold), ("system", Left::Something)];
    assert_eq!(machine.step(at(3), left(&both)), []);
    // The group without pods takes no time.
    let one = [("a", Left::Untold), ("system", Left::Something)];
    assert_eq!(machine.step(at(4), left(&one)), [stop("system", 10)]);
    assert_eq!(machine.step(at(5), left(&[("a", Left::Untold), ("system", Left::Untold)])), []);
    assert_eq!(machine.next_deadline(), Some(at(15)));
    assert_eq!(machine.step(at(6), left(&[("system", Left::Untold)])), []);
    assert_eq!(machine.step(at(7), left(&[])), [ShutdownEffect::LetGo]);
    assert!(machine.goes_down() && !machine.is_at_work());
    assert_eq!(machine.step(at(8), ShutdownEvent::GoesDown(vec![pod("a", 0, 1)])), [], "it is told once");
    assert_eq!(machine.step(at(9), left(&[])), []);
}

#[test]
fn time_that_is_over_ends_a_group_and_nobody_is_waited_for_beyond_the_total() {
    let mut machine = GracefulShutdown::new(periods(&[(0, 4), (100, 2)]));
    machine.step(at(0), ShutdownEvent::GoesDown(vec![pod("a", 0, 30), pod("b", 100, 30)]));
    let stuck = [("a", Left::Something), ("b", Left::Something)];
    assert_eq!(machine.step(at(4), left(&stuck)), [stop("b", 2)]);
    assert_eq!(machine.step(at(6), left(&stuck)), [ShutdownEffect::LetGo]);
}

#[test]
fn a_shutdown_that_is_called_off_stops_nothing_more_and_may_come_again() {
    let mut machine = GracefulShutdown::new(periods(&[(0, 4), (100, 2)]));
    machine.step(at(0), ShutdownEvent::GoesDown(vec![pod("a", 0, 30), pod("b", 100, 30)]));
    assert_eq!(machine.step(at(1), ShutdownEvent::StaysUp), []);
    assert!(!machine.goes_down());
    assert_eq!(machine.step(at(9), left(&[("b", Left::Something)])), []);
    assert_eq!(machine.step(at(10), ShutdownEvent::GoesDown(vec![pod("b", 100, 30)])), [stop("b", 2)]);
}

#[test]
fn a_node_without_pods_lets_the_machine_go_at_the_first_look() {
    let mut machine = GracefulShutdown::new(periods(&[(0, 4)]));
    assert_eq!(machine.step(at(0), ShutdownEvent::GoesDown(Vec::new())), []);
    assert_eq!(machine.step(at(0), left(&[])), [ShutdownEffect::LetGo]);
}

proptest! {
    /// Whatever pods there are and however long they take: each is stopped once, lower groups before higher ones, and the machine
    /// may go in the end, before the total is over.
    #[test]
    fn every_history_ends_in_time_and_in_order(
        groups in prop::collection::btree_map(-3i32..6, 0u64..8, 1..4),
        pods in prop::collection::vec((-5i32..8, 0i64..20, 0u64..12, 0u64..6), 0..8),
    ) {
        let groups: Vec<(i32, u64)> = groups.into_iter().collect();
        let periods = periods(&groups);
        let mut machine = GracefulShutdown::new(periods.clone());
        let name = |index: usize| format!("p{index}");
        let there = pods.iter().enumerate().map(|(index, (priority, grace, ..))| pod(&name(index), *priority, *grace));
        let begun = machine.step(at(0), ShutdownEvent::GoesDown(there.collect()));
        let mut stopped: BTreeMap<PodUid, u64> = BTreeMap::new();
        let mut let_go = None;
        let mut note = |effects: Vec<ShutdownEffect>, second, stopped: &mut BTreeMap<PodUid, u64>| {
            for effect in effects {
                prop_assert!(let_go.is_none());
                match effect {
                    ShutdownEffect::Stop { uid, grace_secs } => {
                        let index: usize = uid.as_str()[1..].parse().unwrap();
                        let most = i64::try_from(groups[periods.index(pods[index].0)].1).unwrap();
                        prop_assert_eq!(grace_secs, pods[index].1.min(most));
                        prop_assert!(stopped.insert(uid, second).is_none(), "stopped twice");
                    }
                    ShutdownEffect::LetGo => let_go = Some(second),
                }
            }
            Ok(())
        };
        note(begun, 0, &mut stopped)?;
        for second in 0..=periods.total().as_secs() {
            let mut left = BTreeMap::new();
            for (index, (.., takes, tells)) in pods.iter().enumerate() {
                let uid: PodUid = name(index).as_str().into();
                match stopped.get(&uid) {
                    Some(since) if second >= since + takes + tells => {}
                    Some(since) if second >= since + takes => drop(left.insert(uid, Left::Untold)),
                    _ => drop(left.insert(uid, Left::Something)),
                }
            }
            let effects = machine.step(at(second), ShutdownEvent::Looked(left));
            note(effects, second, &mut stopped)?;
        }
        prop_assert!(let_go.is_some(), "it never ends");
        let mut all: Vec<(usize, u64, u64)> = Vec::new();
        for (uid, since) in &stopped {
            let index: usize = uid.as_str()[1..].parse().unwrap();
            all.push((periods.index(pods[index].0), *since, since + pods[index].2));
        }
        for (group, since, _) in &all {
            for (other, before, ended) in all.iter().filter(|(other, ..)| other < group) {
                prop_assert!(ended <= since || before + groups[*other].1 <= *since, "too early");
            }
        }
        prop_assert_eq!(stopped.keys().collect::<BTreeSet<_>>().len(), pods.len());
    }
}
