//! The machine against tables, and against random histories with a model runtime.

use super::*;
use core_types::PodExt;
use core_types::api::{ObjectMeta, PodSpec};

fn pod(uid: &str, name: &str, grace_secs: i64) -> Arc<Pod> {
    Arc::new(Pod {
        metadata: ObjectMeta {
            uid: Some(uid.into()),
            name: Some(name.into()),
            namespace: Some("default".into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { termination_grace_period_seconds: Some(grace_secs), ..PodSpec::default() }),
        status: None,
    })
}

fn desired(uid: &str, name: &str) -> Event {
    Event::Desired { pod: pod(uid, name, 30), source: PodSource::File }
}

fn seen(uid: &str, at_secs: u64, stopped: bool) -> Event {
    let sighting = Sighting { observed_at: MonoTime::from_secs(at_secs), stopped, changed: true };
    Event::Seen { uid: uid.into(), sighting }
}

fn relisted(at_secs: u64) -> Event {
    Event::Relisted {
        observed_at: MonoTime::from_secs(at_secs),
        sightings: BTreeMap::new(),
        unknown: BTreeMap::new(),
    }
}

/// A machine with a clock in whole seconds.
struct Bench {
    workers: PodWorkers,
    now_secs: u64,
}

impl Bench {
    fn new() -> Self {
        Self { workers: PodWorkers::new(WorkerPolicy::default()), now_secs: 1 }
    }

    /// One that has synced a pod once, in the second 2.
    fn synced(uid: &str, name: &str) -> Self {
        let mut bench = Self::new();
        bench.at(1, relisted(1));
        bench.at(1, desired(uid, name));
        let sync = bench.at(1, seen(uid, 1, true));
        bench.end(2, uid, &sync);
        bench
    }

    fn at(&mut self, secs: u64, event: Event) -> Vec<Effect> {
        self.now_secs = secs;
        let effects = self.workers.step(MonoTime::from_secs(secs), event);
        assert!(!effects.iter().any(|e| matches!(e, Effect::Broken(_))), "{effects:?}");
        self.workers.check().unwrap();
        effects
    }

    fn lifecycle(&self, uid: &str) -> Option<Lifecycle> {
        self.workers.get(&uid.into()).map(PodWorker::lifecycle)
    }

    fn end(&mut self, secs: u64, uid: &str, effects: &[Effect]) -> Vec<Effect> {
        let op = started(effects).expect("an operation was started").0;
        self.at(
            secs,
            Event::Ended {
                uid: uid.into(),
                op,
                outcome: Outcome::Done { again_at: None, touched: Touched::Runtime },
            },
        )
    }
}

fn started(effects: &[Effect]) -> Option<(OpId, Operation)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start { op, operation, .. } => Some((*op, operation.clone())),
        _ => None,
    })
}

#[test]
fn nothing_starts_before_the_runtime_was_seen() {
    let mut bench = Bench::new();
    assert!(started(&bench.at(1, desired("a", "web"))).is_none());
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Waiting));
    let effects = bench.at(2, relisted(1));
    assert!(matches!(started(&effects), Some((_, Operation::Sync { .. }))));
}

#[test]
fn a_pod_waits_for_others_to_end_but_not_for_ever() {
    for ends in [true, false] {
        let mut bench = Bench::synced("old", "old");
        let second = bench.at(3, seen("old", 3, false));
        let stop = Event::Stop { uid: "old".into(), reason: StopReason::Evicted, grace_secs: None };
        bench.at(4, stop);
        let hold = Event::Hold {
            uid: "new".into(),
            until_ended: [PodUid::from("old")].into(),
            at_most: MonoTime::from_secs(60),
        };
        bench.at(4, hold);
        bench.at(4, desired("new", "new"));
        assert!(started(&bench.at(5, seen("new", 5, true))).is_none());
        assert_eq!(bench.lifecycle("new"), Some(Lifecycle::Waiting));
        bench.end(6, "old", &second);
        let third = bench.at(7, seen("old", 7, false));
        bench.end(8, "old", &third);
        if ends {
            bench.at(20, seen("old", 20, true));
            assert_eq!(bench.lifecycle("old"), Some(Lifecycle::Terminated));
        } else {
            assert!(bench.workers.next_deadline().is_some_and(|at| at <= MonoTime::from_secs(60)));
            bench.at(60, Event::Tick);
        }
        assert_eq!(bench.lifecycle("new"), Some(Lifecycle::Syncing), "{ends}");
    }
}

#[test]
fn a_sync_waits_for_a_picture_newer_than_the_last_act() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let first = bench.at(1, seen("a", 1, true));
    bench.end(5, "a", &first);
    assert!(started(&bench.at(6, seen("a", 4, true))).is_none(), "the picture is older than the act");
    assert!(started(&bench.at(7, seen("a", 6, false))).is_some());
}

#[test]
fn a_pod_that_the_node_ended_is_told_to_be_late_once() {
    for (reason, grace_secs, late_at) in [
        (StopReason::Evicted, None, Some(1 + 45)),
        (StopReason::Evicted, Some(1), Some(1 + 10)),
        (StopReason::Removed, None, None),
    ] {
        let mut bench = Bench::new();
        bench.at(1, relisted(1));
        bench.at(1, desired("a", "web"));
        bench.at(1, seen("a", 1, false));
        bench.at(1, Event::Stop { uid: "a".into(), reason: reason.clone(), grace_secs });
        let is_late = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Overdue { .. }));
        let at = late_at.unwrap_or(1000);
        assert!(!is_late(&bench.at(at - 1, Event::Tick)), "{reason:?}");
        assert_eq!(bench.workers.next_deadline(), late_at.map(MonoTime::from_secs), "{reason:?}");
        assert_eq!(is_late(&bench.at(at, Event::Tick)), late_at.is_some(), "{reason:?}");
        assert!(!is_late(&bench.at(at + 100, Event::Tick)), "it is told once");
        assert_eq!(bench.workers.next_deadline(), None, "the outcome is waited for, no time helps");
    }
}

#[test]
fn a_pod_that_waits_for_a_picture_has_no_deadline() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let first = bench.at(1, seen("a", 1, true));
    bench.end(5, "a", &first);
    bench.at(6, Event::Nudge { uid: "a".into() });
    assert_eq!(bench.workers.next_deadline(), None, "a tick would find nothing to do, for ever");
}

#[test]
fn an_operation_that_changed_nothing_asks_for_no_picture() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let sync = bench.at(1, seen("a", 1, false));
    let op = started(&sync).unwrap().0;
    let outcome = Outcome::Done { again_at: None, touched: Touched::Nothing };
    let effects = bench.at(2, Event::Ended { uid: "a".into(), op, outcome });
    assert!(effects.is_empty(), "{effects:?}");
    let due = bench.workers.next_deadline().expect("the next sync is due by itself");
    let tick = bench.at(due.as_nanos() / 1_000_000_000 + 1, Event::Tick);
    assert!(started(&tick).is_some(), "the old picture still holds");
}

#[test]
fn a_removed_pod_is_stopped_seen_stopped_released_and_erased() {
    let mut bench = Bench::synced("a", "web");
    let effects = bench.at(3, Event::Stop { uid: "a".into(), reason: StopReason::Removed, grace_secs: None });
    assert!(started(&effects).is_none(), "no picture shows the effect of the sync yet");
    let stop = bench.at(4, seen("a", 3, false));
    assert!(matches!(started(&stop), Some((_, Operation::Terminate { grace_secs: 29, .. }))), "{stop:?}");
    bench.end(9, "a", &stop);
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Terminating), "PW-4: a newer picture is needed");
    let release = bench.at(10, seen("a", 10, true));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Terminated));
    assert!(matches!(started(&release), Some((_, Operation::Release))));
    let erase = bench.end(11, "a", &release);
    assert!(matches!(started(&erase), Some((_, Operation::Erase))));
    bench.end(12, "a", &erase);
    assert_eq!(bench.lifecycle("a"), None);
}

#[test]
fn a_completed_pod_is_kept_until_it_is_removed() {
    let mut bench = Bench::synced("a", "job");
    bench.at(3, Event::Stop { uid: "a".into(), reason: StopReason::Completed, grace_secs: None });
    let release = bench.at(4, seen("a", 3, true));
    let after = bench.end(5, "a", &release);
    assert!(started(&after).is_none());
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Terminated));
    let erase = bench.at(6, Event::Stop { uid: "a".into(), reason: StopReason::Removed, grace_secs: None });
    assert!(matches!(started(&erase), Some((_, Operation::Erase))));
}

#[test]
fn a_stop_cancels_the_running_sync_and_grace_only_shrinks() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let sync = bench.at(1, seen("a", 1, true));
    let uid: PodUid = "a".into();
    let stop = |grace_secs| Event::Stop { uid: uid.clone(), reason: StopReason::Removed, grace_secs };
    assert!(bench.at(2, stop(None)).iter().any(|e| matches!(e, Effect::Cancel { .. })));
    assert!(!bench.at(2, stop(Some(60))).iter().any(|e| matches!(e, Effect::Cancel { .. })));
    assert!(bench.at(2, stop(Some(5))).iter().any(|e| matches!(e, Effect::Cancel { .. })));
    let op = started(&sync).unwrap().0;
    bench.at(2, Event::Ended { uid: uid.clone(), op, outcome: Outcome::Cancelled });
    let terminate = bench.at(3, seen("a", 3, false));
    assert!(
        matches!(started(&terminate), Some((_, Operation::Terminate { grace_secs: 4, .. }))),
        "{terminate:?}"
    );
}

#[test]
fn the_same_uid_comes_back_after_its_old_incarnation_is_gone() {
    let mut bench = Bench::synced("a", "web");
    bench.at(3, Event::Stop { uid: "a".into(), reason: StopReason::Removed, grace_secs: None });
    bench.at(3, desired("a", "web"));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Terminating));
    let release = bench.at(4, seen("a", 3, true));
    let erase = bench.end(5, "a", &release);
    bench.end(6, "a", &erase);
    assert!(matches!(bench.lifecycle("a"), Some(Lifecycle::Waiting | Lifecycle::Syncing)));
    assert!(matches!(started(&bench.at(7, seen("a", 7, true))), Some((_, Operation::Sync { .. }))));
}

#[test]
fn a_uid_that_comes_back_under_another_name_frees_the_old_and_takes_the_new() {
    let mut bench = Bench::synced("a", "web");
    bench.at(3, Event::Stop { uid: "a".into(), reason: StopReason::Removed, grace_secs: None });
    bench.at(3, desired("a", "db"));
    bench.at(3, desired("b", "web"));
    bench.at(3, desired("c", "db"));
    bench.at(3, seen("b", 3, true));
    bench.at(3, seen("c", 3, true));
    assert_eq!(bench.lifecycle("b"), Some(Lifecycle::Waiting), "the old name is held until nothing runs");
    assert_eq!(bench.lifecycle("c"), Some(Lifecycle::Syncing), "the new name is not held yet");
    let release = bench.at(4, seen("a", 3, true));
    assert_eq!(bench.lifecycle("b"), Some(Lifecycle::Syncing));
    let erase = bench.end(5, "a", &release);
    bench.end(6, "a", &erase);
    bench.at(7, seen("a", 7, true));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Waiting), "the new name is another's");
}

#[test]
fn a_pod_waits_until_the_other_of_its_name_is_stopped() {
    let mut bench = Bench::synced("b", "web");
    bench.at(3, Event::Stop { uid: "b".into(), reason: StopReason::Removed, grace_secs: None });
    bench.at(3, desired("a", "web"));
    bench.at(3, seen("a", 3, true));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Waiting));
    let effects = bench.at(4, seen("b", 3, true));
    assert_eq!(bench.lifecycle("b"), Some(Lifecycle::Terminated));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Syncing), "{effects:?}");
}

#[test]
fn a_pod_waits_for_one_of_its_name_that_only_the_runtime_knows() {
    let mut bench = Bench::new();
    let key = PodKey::new("default", "web");
    let unknown = BTreeMap::from([(PodUid::from("old"), key.clone())]);
    bench.at(1, Event::Relisted { observed_at: MonoTime::from_secs(1), sightings: BTreeMap::new(), unknown });
    bench.at(1, desired("a", "web"));
    bench.at(1, seen("a", 1, true));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Waiting));
    bench.at(2, Event::Orphan { uid: "old".into(), key });
    let kill = bench.at(2, seen("old", 2, false));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Waiting));
    bench.end(3, "old", &kill);
    bench.at(4, seen("old", 4, true));
    assert_eq!(bench.lifecycle("a"), Some(Lifecycle::Syncing));
}

#[test]
fn a_spec_that_changes_during_an_operation_is_the_next_ones() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let first = bench.at(1, seen("a", 1, true));
    for grace_secs in [40, 50] {
        bench.at(2, Event::Desired { pod: pod("a", "web", grace_secs), source: PodSource::File });
    }
    bench.end(3, "a", &first);
    match started(&bench.at(4, seen("a", 4, false))) {
        Some((_, Operation::Sync { pod })) => assert_eq!(pod.grace_period_secs(), 50, "PW-6"),
        other => panic!("no sync follows at once: {other:?}"),
    }
}

#[test]
fn an_orphan_is_killed_with_one_second_and_erased() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    let key = PodKey::new("default", "old");
    bench.at(1, Event::Orphan { uid: "o".into(), key });
    let effects = bench.at(1, seen("o", 1, false));
    assert!(matches!(started(&effects), Some((_, Operation::Terminate { pod: None, grace_secs: 1 }))));
    bench.end(3, "o", &effects);
    let release = bench.at(4, seen("o", 4, true));
    let erase = bench.end(5, "o", &release);
    bench.end(6, "o", &erase);
    assert_eq!(bench.lifecycle("o"), None);
}

#[test]
fn failures_back_off_and_are_retried() {
    let mut bench = Bench::new();
    bench.at(1, relisted(1));
    bench.at(1, desired("a", "web"));
    let mut effects = bench.at(1, seen("a", 1, true));
    let mut waits = Vec::new();
    for _ in 0..6 {
        let op = started(&effects).unwrap().0;
        let now = bench.now_secs;
        // A token is to be renewed much later.
        let again_at = Some(MonoTime::from_secs(now + 2880));
        let outcome = Outcome::Failed { retry_at: None, again_at };
        bench.at(now, Event::Ended { uid: "a".into(), op, outcome });
        let unchanged = Sighting { observed_at: MonoTime::from_secs(now + 1), stopped: true, changed: false };
        bench.at(now, Event::Seen { uid: "a".into(), sighting: unchanged });
        let due = bench.workers.next_deadline().unwrap();
        waits.push(due.since(MonoTime::from_secs(now)).as_secs());
        effects = bench.at(due.as_nanos() / 1_000_000_000, Event::Tick);
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
}

mod random {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Move {
        Want(u8),
        Drop(u8),
        Complete(u8),
        Look(u8),
        End(u8, bool),
        Relist,
        Wait(u8),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            (0..4u8).prop_map(Move::Want),
            (0..4u8).prop_map(Move::Drop),
            (0..4u8).prop_map(Move::Complete),
            (0..4u8).prop_map(Move::Look),
            (0..4u8, any::<bool>()).prop_map(|(i, ok)| Move::End(i, ok)),
            Just(Move::Relist),
            (1..90u8).prop_map(Move::Wait),
        ];
        proptest::collection::vec(one, 1..120)
    }

    /// Pods 0 and 1 share a name, as do 2 and 3.
    fn name_of(i: u8) -> String {
        format!("pod{}", i / 2)
    }

    #[derive(Default)]
    struct Model {
        running: BTreeMap<PodUid, bool>,
        ops: BTreeMap<PodUid, (OpId, Operation)>,
        wanted: BTreeMap<PodUid, bool>,
    }

    impl Model {
        fn apply(&mut self, workers: &PodWorkers, effects: Vec<Effect>) {
            for effect in effects {
                match effect {
                    Effect::Start { uid, op, operation } => {
                        if matches!(operation, Operation::Sync { .. }) {
                            assert_eq!(
                                workers.get(&uid).map(PodWorker::lifecycle),
                                Some(Lifecycle::Syncing),
                                "PW-3"
                            );
                        }
                        assert!(self.ops.insert(uid, (op, operation)).is_none(), "PW-1");
                    }
                    Effect::Moved { uid, to: Lifecycle::Terminated } => {
                        assert!(!self.running.get(&uid).copied().unwrap_or(false), "PW-4: {uid} still runs");
                    }
                    Effect::Broken(invariant) => panic!("{invariant}"),
                    Effect::Moved { .. }
                    | Effect::Cancel { .. }
                    | Effect::Look { .. }
                    | Effect::Overdue { .. } => {}
                }
            }
            workers.check().unwrap();
        }

        fn sighting(&self, uid: &PodUid, at: MonoTime) -> Sighting {
            let running = self.running.get(uid).copied().unwrap_or(false);
            Sighting { observed_at: at, stopped: !running, changed: true }
        }

        fn finish(&mut self, uid: &PodUid, ok: bool) -> Option<(OpId, Outcome)> {
            let (op, operation) = self.ops.remove(uid)?;
            match operation {
                Operation::Sync { .. } => {
                    self.running.insert(uid.clone(), true);
                }
                Operation::Terminate { .. } if ok => {
                    self.running.insert(uid.clone(), false);
                }
                Operation::Terminate { .. } | Operation::Release | Operation::Erase => {}
            }
            let outcome = if ok {
                Outcome::Done { again_at: None, touched: Touched::Runtime }
            } else {
                Outcome::Failed { retry_at: None, again_at: None }
            };
            Some((op, outcome))
        }
    }

    fn run(moves: Vec<Move>) {
        let mut workers = PodWorkers::new(WorkerPolicy::default());
        let mut model = Model::default();
        let mut now = MonoTime::from_secs(1);
        let uid_of = |i: u8| PodUid::from(format!("u{i}"));
        let step = |workers: &mut PodWorkers, model: &mut Model, now: MonoTime, event: Event| {
            let effects = workers.step(now, event);
            model.apply(workers, effects);
        };
        for chosen in moves {
            now = now + Duration::from_millis(10);
            let event = match chosen {
                Move::Want(i) => {
                    // Merging lets one pod per name through: take the other out first.
                    let other = uid_of(i ^ 1);
                    model.wanted.insert(other.clone(), false);
                    let stop = Event::Stop { uid: other, reason: StopReason::Removed, grace_secs: None };
                    step(&mut workers, &mut model, now, stop);
                    model.wanted.insert(uid_of(i), true);
                    Event::Desired { pod: pod(&format!("u{i}"), &name_of(i), 5), source: PodSource::File }
                }
                Move::Drop(i) => {
                    model.wanted.insert(uid_of(i), false);
                    Event::Stop { uid: uid_of(i), reason: StopReason::Removed, grace_secs: None }
                }
                Move::Complete(i) => {
                    Event::Stop { uid: uid_of(i), reason: StopReason::Completed, grace_secs: None }
                }
                Move::Look(i) => Event::Seen { uid: uid_of(i), sighting: model.sighting(&uid_of(i), now) },
                Move::End(i, ok) => match model.finish(&uid_of(i), ok) {
                    Some((op, outcome)) => Event::Ended { uid: uid_of(i), op, outcome },
                    None => Event::Tick,
                },
                Move::Relist => {
                    let sightings = (0..4).map(|i| (uid_of(i), model.sighting(&uid_of(i), now))).collect();
                    Event::Relisted { observed_at: now, sightings, unknown: BTreeMap::new() }
                }
                Move::Wait(secs) => {
                    now = now + Duration::from_secs(u64::from(secs));
                    Event::Tick
                }
            };
            step(&mut workers, &mut model, now, event);
        }
        settle(&mut workers, &mut model, now, &uid_of);
    }

    /// The faults stop: everything must converge to what is wanted.
    fn settle(workers: &mut PodWorkers, model: &mut Model, mut now: MonoTime, uid_of: &dyn Fn(u8) -> PodUid) {
        for _ in 0..40 {
            for i in 0..4 {
                now = now + Duration::from_secs(30);
                if let Some((op, outcome)) = model.finish(&uid_of(i), true) {
                    let effects = workers.step(now, Event::Ended { uid: uid_of(i), op, outcome });
                    model.apply(workers, effects);
                }
                now = now + Duration::from_secs(1);
                let sightings = (0..4).map(|i| (uid_of(i), model.sighting(&uid_of(i), now))).collect();
                let effects = workers
                    .step(now, Event::Relisted { observed_at: now, sightings, unknown: BTreeMap::new() });
                model.apply(workers, effects);
            }
        }
        for (uid, wanted) in &model.wanted {
            let lifecycle = workers.get(uid).map(PodWorker::lifecycle);
            match wanted {
                true => assert!(
                    matches!(lifecycle, Some(Lifecycle::Syncing | Lifecycle::Terminated)),
                    "{uid}: {lifecycle:?}"
                ),
                false => assert_eq!(lifecycle, None, "{uid} should be gone"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn every_history_keeps_the_rules_and_converges(moves in moves()) {
            run(moves);
        }
    }
}
