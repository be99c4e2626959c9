//! The scheduler: sharing, order, rate, aborts, and bounds over random histories.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::runtime::ImageAuth;
use proptest::prelude::*;

use super::*;
use crate::credential::CredentialSource;

fn key(image: &str) -> PullKey {
    PullKey::new(&ImageSpec { image: image.to_owned(), ..ImageSpec::default() }, &[])
}

const NORMAL: PullRank = PullRank { critical: false, priority: 0 };
const CRITICAL: PullRank = PullRank { critical: true, priority: 0 };

fn asked(ticket: u64, image: &str, rank: PullRank) -> Event {
    Event::Asked { ticket: Ticket(ticket), key: key(image), rank }
}

fn start(pull: u64, ticket: u64) -> Effect {
    Effect::Start { pull: PullId(pull), ticket: Ticket(ticket) }
}

fn answer(pull: u64, ticket: u64) -> Effect {
    Effect::Answer { pull: PullId(pull), ticket: Ticket(ticket) }
}

fn serial() -> PullScheduler {
    PullScheduler::new(1, PullRate::Unlimited)
}

const NOW: MonoTime = MonoTime::ZERO;

#[test]
fn who_wants_the_same_shares_one_pull() {
    let mut pulls = PullScheduler::new(3, PullRate::Unlimited);
    assert_eq!(pulls.step(NOW, asked(1, "a", NORMAL)), [start(0, 1)]);
    assert_eq!(pulls.step(NOW, asked(2, "a", NORMAL)), []);
    assert_eq!(pulls.step(NOW, asked(3, "b", NORMAL)), [start(1, 3)]);
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(0))), [answer(0, 1), answer(0, 2)]);
    assert_eq!(pulls.step(NOW, asked(4, "a", NORMAL)), [start(2, 4)], "the next wish is a new pull");
}

#[test]
fn other_credentials_are_another_pull() {
    let spec = ImageSpec { image: "a".to_owned(), ..ImageSpec::default() };
    let auth = |password: &str| {
        let auth = ImageAuth { password: password.to_owned(), ..ImageAuth::default() };
        Credential::new(auth, "", CredentialSource::Node)
    };
    assert_ne!(PullKey::new(&spec, &[auth("x")]), PullKey::new(&spec, &[auth("y")]));
    assert_ne!(PullKey::new(&spec, &[auth("x")]), PullKey::new(&spec, &[]));
    let with = |name: &str| ImageSpec {
        annotations: BTreeMap::from([(name.to_owned(), "v".to_owned())]),
        ..spec.clone()
    };
    assert_eq!(PullKey::new(&with("kubernetes.io/config.hash"), &[]), PullKey::new(&spec, &[]));
    assert_ne!(PullKey::new(&with("example.com/snapshotter"), &[]), PullKey::new(&spec, &[]));
}

#[test]
fn the_critical_come_first_then_the_earliest() {
    let mut pulls = serial();
    assert_eq!(pulls.step(NOW, asked(1, "a", NORMAL)), [start(0, 1)]);
    for (ticket, image, rank) in [
        (2, "b", NORMAL),
        (3, "c", NORMAL),
        (4, "d", PullRank { critical: false, priority: 7 }),
        (5, "e", CRITICAL),
    ] {
        assert_eq!(pulls.step(NOW, asked(ticket, image, rank)), []);
    }
    // A critical pod wants c too, and so c goes before b.
    assert_eq!(pulls.step(NOW, asked(6, "c", CRITICAL)), []);
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(0))), [answer(0, 1), start(2, 3)]);
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(2))), [answer(2, 3), answer(2, 6), start(4, 5)]);
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(4))), [answer(4, 5), start(3, 4)]);
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(3))), [answer(3, 4), start(1, 2)]);
}

#[test]
fn a_pull_that_nobody_wants_is_aborted() {
    let mut pulls = serial();
    pulls.step(NOW, asked(1, "a", NORMAL));
    pulls.step(NOW, asked(2, "a", NORMAL));
    pulls.step(NOW, asked(3, "b", NORMAL));
    pulls.step(NOW, asked(4, "c", NORMAL));
    assert_eq!(pulls.step(NOW, Event::Withdrawn(Ticket(1))), []);
    assert_eq!(pulls.step(NOW, Event::Withdrawn(Ticket(3))), [], "b was only queued");
    assert_eq!(pulls.step(NOW, Event::Withdrawn(Ticket(2))), [Effect::Abort(PullId(0)), start(2, 4)]);
    assert_eq!(pulls.step(NOW, Event::Withdrawn(Ticket(2))), [], "once is enough");
    assert_eq!(pulls.step(NOW, Event::Ended(PullId(0))), [], "its end comes too late");
}

#[test]
fn one_pull_too_many_in_a_second_is_refused() {
    let mut pulls = PullScheduler::new(9, PullRate::Limited { per_second: 1.0, burst: 2.0 });
    assert_eq!(pulls.step(NOW, asked(1, "a", NORMAL)), [start(0, 1)]);
    assert_eq!(pulls.step(NOW, asked(2, "b", NORMAL)), [start(1, 2)]);
    assert_eq!(pulls.step(NOW, asked(3, "c", NORMAL)), [Effect::Refuse(Ticket(3))]);
    assert_eq!(pulls.step(NOW, asked(4, "a", NORMAL)), [], "sharing costs nothing");
    let later = NOW + Duration::from_millis(1001);
    assert_eq!(pulls.step(later, asked(5, "c", NORMAL)), [start(3, 5)]);
    assert_eq!(pulls.step(later, asked(6, "d", NORMAL)), [Effect::Refuse(Ticket(6))]);
}

#[derive(Clone, Debug)]
enum Move {
    Ask(u8, i32),
    Withdraw(usize),
    End(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0..5_u8, 0..3_i32).prop_map(|(image, priority)| Move::Ask(image, priority)),
        1 => any::<usize>().prop_map(Move::Withdraw),
        2 => any::<usize>().prop_map(Move::End),
    ];
    proptest::collection::vec(one, 0..80)
}

proptest! {
    /// Never more pulls than allowed, never two of one image, and each wish ends once.
    #[test]
    fn every_history_keeps_the_bounds_and_answers_each_wish(moves in moves(), parallel in 1..4_usize) {
        let mut pulls = PullScheduler::new(parallel, PullRate::Unlimited);
        let mut running: BTreeMap<PullId, u8> = BTreeMap::new();
        let mut open: BTreeMap<Ticket, u8> = BTreeMap::new();
        let ends = std::iter::repeat_n(Move::End(0), moves.len());
        for (number, step) in moves.clone().into_iter().chain(ends).enumerate() {
            let event = match step {
                Move::Ask(image, priority) => {
                    let ticket = Ticket(number as u64);
                    open.insert(ticket, image);
                    let rank = PullRank { critical: false, priority };
                    asked(ticket.0, &image.to_string(), rank)
                }
                Move::Withdraw(nth) => {
                    let Some(ticket) = open.keys().nth(nth % open.len().max(1)).copied() else { continue };
                    open.remove(&ticket);
                    Event::Withdrawn(ticket)
                }
                Move::End(nth) => {
                    let Some(pull) = running.keys().nth(nth % running.len().max(1)).copied() else { continue };
                    running.remove(&pull);
                    Event::Ended(pull)
                }
            };
            for effect in pulls.step(NOW, event) {
                match effect {
                    Effect::Start { pull, ticket } => {
                        let image = open[&ticket];
                        prop_assert!(running.values().all(|other| *other != image));
                        running.insert(pull, image);
                        prop_assert!(running.len() <= parallel);
                    }
                    Effect::Abort(pull) => prop_assert!(running.remove(&pull).is_some()),
                    Effect::Answer { ticket, .. } => prop_assert!(open.remove(&ticket).is_some()),
                    Effect::Refuse(_) => prop_assert!(false, "nothing limits the rate"),
                }
            }
        }
        prop_assert!(open.is_empty() && running.is_empty());
    }
}
