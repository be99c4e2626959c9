//! Tables and properties of the store.

use core_types::{KeyedKind, Secret};
use proptest::prelude::{any, prop, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::*;

const WATCH: Strategy = Strategy::Watch { max_idle: Duration::from_secs(300) };

fn object(name: &str) -> KeyedRef {
    KeyedRef::secret("shop", name)
}

fn content(value: &str) -> Option<Arc<KeyedObject>> {
    let data = [("k".to_owned(), Secret::new(value.as_bytes().to_vec()))].into();
    Some(Arc::new(KeyedObject { data, ..KeyedObject::default() }))
}

fn immutable(value: &str) -> Option<Arc<KeyedObject>> {
    content(value).map(|object| {
        Arc::new(KeyedObject { mutability: Mutability::Immutable, ..Arc::unwrap_or_clone(object) })
    })
}

struct Bench(Store);

impl Bench {
    fn at(&mut self, secs: u64, event: Event) -> Vec<Effect> {
        self.0.step(MonoTime::from_secs(secs), event)
    }

    fn register(&mut self, secs: u64, uid: &str, uses: &[(&str, Use)]) -> Vec<Effect> {
        let uses = uses.iter().map(|(name, use_)| (object(name), *use_)).collect();
        self.at(secs, Event::Registered { uid: uid.into(), uses })
    }

    fn ask(&mut self, secs: u64, ticket: Ticket, name: &str) -> Vec<Effect> {
        self.at(secs, Event::Asked { ticket, object: object(name) })
    }

    fn tell(
        &mut self,
        secs: u64,
        name: &str,
        generation: Generation,
        content: Option<Arc<KeyedObject>>,
    ) -> Vec<Effect> {
        self.at(secs, Event::Told { object: object(name), generation, content })
    }
}

fn answer(ticket: Ticket, content: Option<Arc<KeyedObject>>) -> Effect {
    Effect::Answer { ticket, lookup: Ok(content.expect("content")) }
}

fn error_of(effects: &[Effect]) -> String {
    match effects {
        [Effect::Answer { lookup: Err(error), .. }, ..] => error.to_string(),
        other => format!("{other:?}"),
    }
}

fn changed(pods: &[&str]) -> Effect {
    Effect::Changed { pods: pods.iter().map(|&uid| uid.into()).collect() }
}

#[test]
fn one_watch_serves_all_pods_and_ends_with_the_last() {
    let mut bench = Bench(Store::new(WATCH));
    let follow = Effect::Follow { object: object("a"), generation: 1 };
    assert_eq!(bench.register(0, "p1", &[("a", Use::InVolume)]), [follow]);
    assert_eq!(bench.register(0, "p2", &[("a", Use::AtStart)]), []);
    assert_eq!(bench.ask(0, 1, "a"), [], "it waits for the first news");
    assert_eq!(bench.0.next_deadline(), Some(MonoTime::from_secs(1)));
    assert_eq!(bench.tell(0, "a", 1, content("x")), [answer(1, content("x"))]);
    assert_eq!(bench.ask(1, 2, "a"), [answer(2, content("x"))]);
    assert_eq!(bench.tell(2, "a", 1, content("x")), [], "nothing has changed");
    assert_eq!(bench.tell(3, "a", 1, content("y")), [changed(&["p1"])], "p2 needs it at its start only");
    assert_eq!(bench.at(4, Event::Forgotten { uid: "p1".into() }), []);
    assert_eq!(
        bench.at(4, Event::Forgotten { uid: "p2".into() }),
        [Effect::Unfollow { object: object("a") }]
    );
    assert!(bench.0.is_empty());
    assert_eq!(error_of(&bench.ask(5, 3, "a")), r#"object "shop"/"a" not registered"#);
    assert_eq!(bench.tell(6, "a", 1, content("z")), [], "news of an ended watch");
}

#[test]
fn what_does_not_exist_or_is_not_told_is_an_error_and_its_coming_is_news() {
    let mut bench = Bench(Store::new(WATCH));
    bench.register(0, "p1", &[("a", Use::AtStart)]);
    bench.ask(0, 1, "a");
    let late = bench.at(1, Event::Tick);
    assert_eq!(error_of(&late), "failed to sync secret cache: timed out waiting for the condition");
    assert_eq!(bench.tell(2, "a", 1, None), [changed(&["p1"])], "who was turned away may ask again");
    assert_eq!(error_of(&bench.ask(3, 2, "a")), r#"secret "a" not found"#);
    assert_eq!(bench.tell(4, "a", 1, content("x")), [changed(&["p1"])]);
    let map = KeyedRef { kind: KeyedKind::ConfigMap, ..object("m") };
    bench.at(5, Event::Registered { uid: "p2".into(), uses: [(map.clone(), Use::InVolume)].into() });
    bench.at(5, Event::Told { object: map.clone(), generation: 2, content: None });
    let gone = bench.at(5, Event::Asked { ticket: 3, object: map });
    assert_eq!(error_of(&gone), r#"configmap "m" not found"#);
}

#[test]
fn immutable_objects_are_watched_no_more() {
    let mut bench = Bench(Store::new(WATCH));
    bench.register(0, "p1", &[("a", Use::InVolume)]);
    let unfollow = Effect::Unfollow { object: object("a") };
    assert_eq!(bench.tell(0, "a", 1, immutable("x")), [unfollow]);
    assert_eq!(bench.ask(9_999, 1, "a"), [answer(1, immutable("x"))]);
    assert_eq!(bench.register(9_999, "p2", &[("a", Use::InVolume)]), []);
    assert_eq!(bench.0.next_deadline(), None);
}

#[test]
fn a_watch_for_starts_only_ends_when_nobody_asks_and_begins_again() {
    let mut bench = Bench(Store::new(WATCH));
    bench.register(0, "p1", &[("env", Use::AtStart), ("vol", Use::InVolume)]);
    bench.tell(0, "env", 1, content("x"));
    bench.tell(0, "vol", 2, content("x"));
    bench.ask(10, 1, "env");
    assert_eq!(bench.0.next_deadline(), Some(MonoTime::from_secs(310)));
    assert_eq!(bench.at(310, Event::Tick), [Effect::Unfollow { object: object("env") }]);
    assert_eq!(bench.0.next_deadline(), None);
    assert_eq!(bench.ask(400, 2, "env"), [Effect::Follow { object: object("env"), generation: 3 }]);
    assert_eq!(bench.tell(400, "env", 3, content("y")), [answer(2, content("y"))]);
}

#[test]
fn what_was_read_counts_for_its_time() {
    let mut bench = Bench(Store::new(Strategy::Cached { ttl: Duration::from_secs(60) }));
    assert_eq!(bench.register(0, "p1", &[("a", Use::InVolume)]), []);
    let fetch = |generation| Effect::Fetch { object: object("a"), generation };
    let fetched = |generation, result| Event::Fetched { object: object("a"), generation, result };
    assert_eq!(bench.ask(0, 1, "a"), [fetch(1)]);
    assert_eq!(bench.ask(0, 2, "a"), [], "one read answers both");
    let both = bench.at(0, fetched(1, Ok(content("x"))));
    assert_eq!(both, [answer(1, content("x")), answer(2, content("x"))]);
    assert_eq!(bench.ask(59, 3, "a"), [answer(3, content("x"))]);
    assert_eq!(bench.ask(60, 4, "a"), [fetch(2)]);
    assert_eq!(
        bench.at(60, fetched(2, Err("refused".into()))),
        [answer(4, content("x"))],
        "better than nothing"
    );
    assert_eq!(bench.ask(61, 5, "a"), [fetch(3)]);
    let gone = bench.at(61, fetched(3, Ok(None)));
    assert_eq!(error_of(&gone), r#"secret "a" not found"#);
    bench.0.set_ttl(Duration::ZERO);
    assert_eq!(bench.ask(61, 6, "a"), [fetch(4)], "always anew");
    let mut fresh = Bench(Store::new(Strategy::Cached { ttl: Duration::ZERO }));
    fresh.register(0, "p1", &[("a", Use::AtStart)]);
    fresh.ask(0, 1, "a");
    assert_eq!(error_of(&fresh.at(0, fetched(1, Err("refused".into())))), "refused");
}

#[derive(Clone, Debug)]
enum Step {
    Register(u8, Vec<(u8, bool)>),
    Forget(u8),
    Ask(u8),
    Tell(u8, Option<u8>, bool),
    Wait(u64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3u8, prop::collection::vec((0..3u8, any::<bool>()), 0..3))
            .prop_map(|(p, o)| Step::Register(p, o)),
        (0..3u8).prop_map(Step::Forget),
        (0..3u8).prop_map(Step::Ask),
        (0..3u8, prop::option::of(0..2u8), any::<bool>()).prop_map(|(o, c, i)| Step::Tell(o, c, i)),
        (0..400u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happens: at most one watch per object and none without a user; every question is answered once, within
    /// its time.
    #[test]
    fn every_history_keeps_the_rules(steps in steps()) {
        let mut store = Store::new(WATCH);
        let (mut now, mut next_ticket) = (0, 0);
        let mut watched: BTreeMap<KeyedRef, Generation> = BTreeMap::new();
        let mut open: BTreeMap<Ticket, u64> = BTreeMap::new();
        for step in steps {
            let name = |n: u8| object(["a", "b", "c"][usize::from(n)]);
            let pod = |n: u8| PodUid::from(["p", "q", "r"][usize::from(n)]);
            let event = match step {
                Step::Register(p, objects) => {
                    let use_ = |volume| if volume { Use::InVolume } else { Use::AtStart };
                    let uses = objects.into_iter().map(|(o, volume)| (name(o), use_(volume))).collect();
                    Event::Registered { uid: pod(p), uses }
                }
                Step::Forget(p) => Event::Forgotten { uid: pod(p) },
                Step::Ask(o) => {
                    next_ticket += 1;
                    open.insert(next_ticket, now);
                    Event::Asked { ticket: next_ticket, object: name(o) }
                }
                Step::Tell(o, value, fixed) => {
                    let Some(generation) = watched.get(&name(o)).copied() else { continue };
                    let content = match (value, fixed) {
                        (None, _) => None,
                        (Some(value), false) => content(&value.to_string()),
                        (Some(value), true) => immutable(&value.to_string()),
                    };
                    Event::Told { object: name(o), generation, content }
                }
                Step::Wait(secs) => {
                    now += secs;
                    Event::Tick
                }
            };
            for effect in store.step(MonoTime::from_secs(now), event) {
                match effect {
                    Effect::Follow { object, generation } => {
                        prop_assert!(watched.insert(object, generation).is_none(), "watched twice");
                    }
                    Effect::Unfollow { object } => {
                        prop_assert!(watched.remove(&object).is_some(), "not watched");
                    }
                    Effect::Answer { ticket, .. } => {
                        prop_assert!(open.remove(&ticket).is_some(), "answered twice");
                    }
                    Effect::Changed { pods } => prop_assert!(!pods.is_empty()),
                    Effect::Fetch { .. } => prop_assert!(false, "a watch is not read"),
                }
            }
            prop_assert!(watched.keys().all(|object| store.items.contains_key(object)), "watched for nobody");
            prop_assert!(store.items.values().all(|item| !item.users.is_empty()));
            for asked_at in open.values() {
                prop_assert!(now <= asked_at + SYNC_WAIT.as_secs() , "a question waits too long");
            }
        }
    }
}
