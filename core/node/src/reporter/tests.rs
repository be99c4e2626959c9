//! When reports are sent, and that random histories end with an object that says what was seen.

use proptest::prelude::*;

use crate::NetworkFacts;
use crate::settings::tests::{machine, settings};
use core_types::pressure::Pressures;

use super::*;

const CADENCE: Cadence =
    Cadence { report_every: Duration::from_secs(300), retry_every: Duration::from_secs(10) };

fn reporter() -> Reporter {
    Reporter::new(settings(), machine(), CADENCE, Spread::new("n1", 0))
}

fn picture() -> Picture {
    let ip = "192.0.2.1".parse().unwrap();
    let network = NetworkFacts { interfaces: vec![ip], default_route: vec![ip], ..NetworkFacts::default() };
    Picture { network, ..Picture::default() }
}

fn wall(now: MonoTime) -> WallTime {
    WallTime::from_unix_nanos(i64::try_from(now.as_nanos()).unwrap())
}

/// The object after a report, as the API server would make it.
fn applied(reporter: &mut Reporter, known: &Node, picture: &Picture, now: MonoTime) -> Node {
    reporter.updated(known, picture, wall(now)).node
}

#[test]
fn the_first_report_is_at_once_and_the_next_is_spread() {
    let (mut reporter, now) = (reporter(), MonoTime::from_secs(1000));
    assert!(reporter.next_deadline() <= now);
    let mut known = reporter.new_node(&picture(), wall(now)).node;
    let later = now + Duration::from_secs(5);
    let report = reporter.plan(&known, &picture(), later, wall(later)).expect("a report");
    assert_eq!(report.cause, Cause::Change);
    known = applied(&mut reporter, &known, &picture(), later);
    reporter.on_reported(report.cause, later);
    let wait = reporter.next_deadline().since(later).as_secs_f64();
    assert!((150.0..450.0).contains(&wait), "{wait}");

    let due = reporter.next_deadline();
    assert_eq!(reporter.plan(&known, &picture(), due - Duration::from_secs(1), wall(due)), None);
    let report = reporter.plan(&known, &picture(), due, wall(due)).expect("a report");
    assert_eq!((report.cause, report.events.len()), (Cause::Routine, 0));
    reporter.on_reported(report.cause, due);
    assert_eq!(reporter.next_deadline(), due + CADENCE.report_every);
}

#[test]
fn a_change_is_reported_at_once_but_not_twice_in_a_second() {
    let (mut reporter, now) = (reporter(), MonoTime::from_secs(1000));
    let known = reporter.new_node(&picture(), wall(now)).node;
    reporter.on_reported(Cause::Change, now);
    let pressed = Picture { pressures: Pressures { memory: true, ..Pressures::default() }, ..picture() };
    let soon = now + Duration::from_millis(300);
    assert_eq!(reporter.plan(&known, &pressed, soon, wall(soon)), None);
    let then = reporter.not_before();
    assert_eq!(then, now + SPACING);
    let report = reporter.plan(&known, &pressed, then, wall(then)).expect("a report");
    assert_eq!(report.events[0].reason, "NodeHasInsufficientMemory");
    let conditions = report.patch["status"]["conditions"].as_array().unwrap();
    assert_eq!(
        (conditions[0]["type"].as_str(), conditions[0]["status"].as_str()),
        (Some("MemoryPressure"), Some("True"))
    );
}

#[test]
fn what_the_server_never_takes_is_sent_more_and_more_seldom() {
    let (mut reporter, mut now) = (reporter(), MonoTime::from_secs(1000));
    let known = reporter.new_node(&picture(), wall(now)).node;
    let pressed = Picture { pressures: Pressures { memory: true, ..Pressures::default() }, ..picture() };
    let mut sent = Vec::new();
    while now < MonoTime::from_secs(1600) {
        if let Some(report) = reporter.plan(&known, &pressed, now, wall(now)) {
            reporter.on_reported(report.cause, now);
            sent.push(now);
        }
        now = now + Duration::from_millis(100);
    }
    let pauses: Vec<u64> = sent.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(pauses[..6], [1, 2, 4, 8, 10, 10], "{pauses:?}");
    assert!(sent.len() < 66, "{} reports in ten minutes", sent.len());

    // After a rest a change is sent at once, and the next one a second later.
    let rested = now + Duration::from_secs(60);
    reporter.on_reported(Cause::Change, rested);
    assert_eq!(reporter.not_before(), rested + SPACING);
}

#[test]
fn five_tries_follow_each_other_then_there_is_a_pause() {
    let (mut reporter, now) = (reporter(), MonoTime::from_secs(1000));
    let known = reporter.new_node(&picture(), wall(now)).node;
    for failures in 1..5 {
        let report = reporter.plan(&known, &picture(), now, wall(now + Duration::from_secs(9)));
        assert!(report.is_some());
        assert_eq!(reporter.on_failed(now), failures);
        assert_eq!(reporter.next_deadline(), now);
    }
    reporter.on_failed(now);
    assert_eq!(reporter.plan(&known, &picture(), now, wall(now)), None);
    let pause = reporter.next_deadline().since(now).as_secs_f64();
    assert!((10.0..=10.4).contains(&pause), "{pause}");
}

#[test]
fn cordons_are_told_once() {
    let mut reporter = reporter();
    let mut node = Node::default();
    assert_eq!(reporter.schedulable_event(&node), None);
    node.spec.get_or_insert_default().unschedulable = Some(true);
    assert_eq!(reporter.schedulable_event(&node).unwrap().reason, "NodeNotSchedulable");
    assert_eq!(reporter.schedulable_event(&node), None);
    assert_eq!(reporter.schedulable_event(&Node::default()).unwrap().reason, "NodeSchedulable");
}

#[test]
fn an_existing_object_is_reconciled_only_when_it_must_be() {
    let (mut reporter, now) = (reporter(), WallTime::from_unix_secs(5));
    let node = reporter.new_node(&picture(), now).node;
    assert_eq!(reporter.reconcile(&node, &picture(), now), None);
    let mut odd = node.clone();
    odd.metadata.labels.as_mut().unwrap().remove("kubernetes.io/hostname");
    let patch = reporter.reconcile(&odd, &picture(), now).expect("a patch");
    assert_eq!(patch, serde_json::json!({ "metadata": { "labels": { "kubernetes.io/hostname": "n1" } } }));
}

proptest! {
    /// Pressures come and go, reports are lost and written over: in the end the object shows what was seen, after at most
    /// one report, and nothing more is sent until the next routine report.
    #[test]
    fn the_object_shows_what_was_seen(history in proptest::collection::vec((0_u8..8, 0_u8..4, 0_u64..40), 0..40)) {
        let (mut reporter, mut now) = (reporter(), MonoTime::from_secs(1000));
        let mut known = reporter.new_node(&picture(), wall(now)).node;
        let mut seen = picture();
        for (pressures, fault, pause) in history {
            now = now + Duration::from_secs(pause);
            seen.pressures = Pressures { memory: pressures & 1 > 0, disk: pressures & 2 > 0, pid: pressures & 4 > 0 };
            if let Some(report) = reporter.plan(&known, &seen, now, wall(now)) {
                match fault {
                    0 => {
                        reporter.on_failed(now);
                    }
                    1 => {
                        // It arrived, but the answer was lost.
                        known = applied(&mut reporter, &known, &seen, now);
                        reporter.on_failed(now);
                    }
                    _ => {
                        known = applied(&mut reporter, &known, &seen, now);
                        reporter.on_reported(report.cause, now);
                    }
                }
            }
        }
        now = now.max(reporter.next_deadline().min(now + Duration::from_secs(12))).max(reporter.not_before());
        if let Some(report) = reporter.plan(&known, &seen, now, wall(now)) {
            known = applied(&mut reporter, &known, &seen, now);
            reporter.on_reported(report.cause, now);
        }
        let shown = applied(&mut reporter, &known, &seen, now);
        prop_assert!(!crate::status::has_changed(&known, &shown));
        let later = reporter.next_deadline() - Duration::from_secs(1);
        prop_assert_eq!(reporter.plan(&known, &seen, later.max(now), wall(later)), None);
    }
}
