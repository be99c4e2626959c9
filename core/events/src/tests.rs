//! Rules of the book, the budget and the journal, and random histories of all three.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_types::{EventRecord, EventType, MonoTime, ObjectKind, ObjectRef, PodKey, PodUid, WallTime};
use proptest::prelude::*;

use crate::book::{COMBINED, COMBINED_AT, MAX_BYTES, MAX_EVENTS, MAX_MESSAGE_BYTES, MAX_PER_OBJECT};
use crate::{Book, Budget, Courtesy, Happening, Limits, journal};

const NO_LIMIT: Limits = Limits { burst: 1, refill: Duration::ZERO };

fn pod(name: &str) -> ObjectRef {
    ObjectRef::pod(&PodKey::new("shop", name), &PodUid::from(format!("uid-{name}")))
}

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_secs(1_767_268_800 + secs)
}

fn all(book: &Book) -> Vec<EventRecord> {
    book.since(0).map(|event| EventRecord::clone(event)).collect()
}

#[test]
fn equal_happenings_are_counted_and_others_are_told_apart() {
    let mut book = Book::default();
    let back_off = Happening::warning("BackOff", "again").of("spec.containers{main}");
    for secs in 0..3 {
        book.record(&pod("web"), &back_off, at(secs));
    }
    book.record(&pod("web"), &Happening::normal("Pulled", "there"), at(3));
    book.record(&pod("other"), &back_off, at(4));
    let other_container = back_off.clone().of("spec.containers{side}");
    book.record(&pod("web"), &other_container, at(5));
    let seen: Vec<_> =
        all(&book).into_iter().map(|event| (event.object.name, event.reason, event.count)).collect();
    let row = |object: &str, reason: &str, count| (object.to_owned(), reason.to_owned(), count);
    assert_eq!(
        seen,
        [
            row("web", "BackOff", 3),
            row("web", "Pulled", 1),
            row("other", "BackOff", 1),
            row("web", "BackOff", 1)
        ]
    );
    let first = &all(&book)[0];
    assert_eq!((first.first_seen, first.last_seen), (at(0), at(2)));
    assert_eq!(first.object.container(), "main");
    assert_eq!(book.of(ObjectKind::Pod, "uid-web").count(), 3);
    assert_eq!(first.name, format!("web.{:x}", at(0).unix_nanos()), "the name is made as upstream's");
}

#[test]
fn names_are_unique_even_when_the_clock_stands() {
    let mut book = Book::default();
    let one = book.record(&pod("web"), &Happening::normal("A", "a"), at(0));
    let two = book.record(&pod("web"), &Happening::normal("B", "b"), at(0));
    let back = book.record(&pod("web"), &Happening::normal("C", "c"), at(-100));
    assert!(one.name < two.name && two.name < back.name, "{} {} {}", one.name, two.name, back.name);
    let mut later = Book::default();
    later.restore(all(&book));
    let next = later.record(&pod("web"), &Happening::normal("D", "d"), at(-200));
    assert!(next.name > back.name, "nor after a restart");
    let again = later.record(&pod("web"), &Happening::normal("A", "a"), at(-200));
    assert_eq!(
        (&again.name, again.count, later.since(0).count()),
        (&one.name, 2, 4),
        "what was seen before is counted"
    );
    let news: Vec<_> = later.since(Book::BEGINNING).map(|event| event.reason.as_str()).collect();
    assert_eq!(news, ["D", "A"], "what is restored is no news");
}

#[test]
fn many_messages_of_one_reason_become_one_event_until_it_is_quiet() {
    let mut book = Book::default();
    for number in 0..100 {
        book.record(&pod("web"), &Happening::warning("Unhealthy", format!("said {number}")), at(number));
    }
    let events = all(&book);
    assert_eq!(events.len(), COMBINED_AT, "nine of their own, and one for the rest");
    let combined = events.last().expect("the newest");
    assert_eq!((combined.message.as_str(), combined.count), ("(combined from similar events): said 99", 91));
    book.record(&pod("web"), &Happening::warning("Failed", "said 1"), at(100));
    assert_eq!(all(&book).len(), COMBINED_AT + 1, "another reason is counted by itself");
    book.record(&pod("web"), &Happening::warning("Unhealthy", "said after a while"), at(800));
    let newest = all(&book).pop().expect("the newest");
    assert_eq!((newest.message.as_str(), newest.count), ("said after a while", 1));
}

#[test]
fn readers_get_what_changed_since_they_looked() {
    let mut book = Book::default();
    book.record(&pod("web"), &Happening::normal("A", "a"), at(0));
    let looked = book.revision();
    assert_eq!(book.since(looked).count(), 0);
    book.record(&pod("web"), &Happening::normal("B", "b"), at(1));
    book.record(&pod("web"), &Happening::normal("A", "a"), at(2));
    let news: Vec<_> = book.since(looked).map(|event| (event.reason.clone(), event.count)).collect();
    assert_eq!(news, [("B".to_owned(), 1), ("A".to_owned(), 2)]);
}

#[test]
fn the_book_is_bounded_by_number_by_bytes_and_for_each_object() {
    let mut book = Book::default();
    for number in 0..2 * MAX_PER_OBJECT {
        book.record(&pod("web"), &Happening::normal(format!("R{number}"), "m"), at(0));
    }
    assert_eq!(book.of(ObjectKind::Pod, "uid-web").count(), MAX_PER_OBJECT);
    for number in 0..2 * MAX_EVENTS {
        book.record(&pod(&format!("p{number}")), &Happening::normal("A", "a"), at(1));
    }
    assert_eq!(book.since(0).count(), MAX_EVENTS);
    let long = "x".repeat(10 * MAX_MESSAGE_BYTES);
    let cut = book.record(&pod("web"), &Happening::normal("Long", long), at(2));
    assert!(cut.message.ends_with(&format!(" ({} more bytes)", 9 * MAX_MESSAGE_BYTES)));
    for number in 0..1000 {
        let long = format!("{number}{}", "x".repeat(MAX_MESSAGE_BYTES));
        book.record(&pod(&format!("q{number}")), &Happening::normal("Long", long), at(3));
    }
    let kept: usize = book.since(0).map(|event| event.message.len()).sum();
    assert!(kept <= MAX_BYTES, "{kept}");
}

#[test]
fn a_journal_gives_back_the_newest_state_and_leaves_out_what_is_broken() {
    let mut book = Book::default();
    let mut file = Vec::new();
    for (reason, secs) in [("A", 0), ("B", 1), ("A", 2)] {
        let event =
            book.record(&pod("web"), &Happening::normal(reason, "a \"text\"\nof two lines"), at(secs));
        journal::write(&event, &mut file);
    }
    let good = journal::read([file.as_slice()]);
    assert_eq!((good.events, good.bad_lines), (all(&book), 0));

    let mut cut_off = file.clone();
    cut_off.truncate(file.len() - 5);
    let read = journal::read([cut_off.as_slice()]);
    assert_eq!(
        (read.events.len(), read.events[0].count, read.bad_lines),
        (2, 1, 0),
        "the state before is still there"
    );

    let mut broken = file.clone();
    broken[40] ^= 1;
    let read = journal::read([broken.as_slice()]);
    assert_eq!((read.events.len(), read.bad_lines), (2, 1));
    let garbage = [b"no journal at all\n".as_slice(), &[0xff; 100], b"\n\n\n"].concat();
    assert_eq!(journal::read([garbage.as_slice(), file.as_slice()]).events, all(&book));
}

/// What comes out of a budget until `until`, with the second at which it does.
fn drain(budget: &mut Budget, until: u64) -> Vec<(u64, Arc<EventRecord>)> {
    let mut out = Vec::new();
    let mut now = MonoTime::ZERO;
    loop {
        while let Some(event) = budget.next(now) {
            out.push((now.as_nanos() / 1_000_000_000, event));
        }
        match budget.next_deadline() {
            Some(due) if due <= MonoTime::from_secs(until) => {
                assert!(due > now, "a deadline that is over brings something");
                now = due;
            }
            _ => return out,
        }
    }
}

#[test]
fn an_object_has_25_events_at_once_and_one_more_every_5_minutes() {
    let (mut book, mut budget) = (Book::default(), Budget::new(NO_LIMIT));
    for number in 0..30 {
        let event = book.record(&pod("web"), &Happening::warning(format!("R{number}"), "m"), at(0));
        budget.offer(MonoTime::ZERO, event);
    }
    let event = book.record(&pod("other"), &Happening::warning("R", "m"), at(0));
    budget.offer(MonoTime::ZERO, event);
    let times: Vec<u64> = drain(&mut budget, 1500).into_iter().map(|(secs, _)| secs).collect();
    assert_eq!(times.iter().filter(|secs| **secs == 0).count(), 26, "the other object has its own budget");
    assert_eq!(times[26..], [300, 600, 900, 1200, 1500]);
    assert_eq!(budget.next_deadline(), None, "and nothing is left to wait for");
}

#[test]
fn good_news_is_told_at_once_and_repetitions_come_late_with_their_count() {
    let (mut book, mut budget) = (Book::default(), Budget::new(NO_LIMIT));
    for _ in 0..100 {
        let event = book.record(&pod("web"), &Happening::normal("Started", "again"), at(0));
        budget.offer(MonoTime::ZERO, event);
        while budget.next(MonoTime::ZERO).is_some() {}
    }
    let ready = book.record(&pod("web"), &Happening::normal("Ready", "at last"), at(1));
    budget.offer(MonoTime::ZERO, ready);
    let told = drain(&mut budget, 300);
    assert_eq!((told[0].0, told[0].1.reason.as_str()), (0, "Ready"));
    assert_eq!((told[1].0, told[1].1.count), (300, 100), "the true count, once there is a token");
}

#[test]
fn the_node_has_a_rate() {
    let (mut book, mut budget) = (Book::default(), Budget::new(Limits::of(2, 3)));
    for number in 0..7 {
        let event = book.record(&pod(&format!("p{number}")), &Happening::normal("A", "a"), at(0));
        budget.offer(MonoTime::ZERO, event);
    }
    let times: Vec<u64> = drain(&mut budget, 10).into_iter().map(|(secs, _)| secs).collect();
    assert_eq!(times, [0, 0, 0, 0, 1, 1, 2], "three at once, then one each half second");
    assert_eq!(Limits::of(0, 0), NO_LIMIT);
}

#[test]
fn what_could_not_be_told_goes_first_next_time() {
    let (mut book, mut budget) = (Book::default(), Budget::new(NO_LIMIT));
    for reason in ["A", "B"] {
        let event = book.record(&pod("web"), &Happening::normal(reason, "m"), at(0));
        budget.offer(MonoTime::ZERO, event);
    }
    let first = budget.next(MonoTime::ZERO).expect("ready");
    budget.put_back(first);
    let order: Vec<_> = drain(&mut budget, 1).into_iter().map(|(_, event)| event.reason.clone()).collect();
    assert_eq!(order, ["A", "B"]);
}

proptest! {
    #[test]
    fn every_event_is_told_in_the_end_with_its_count_and_within_the_budget(
        steps in proptest::collection::vec((0_u8..3, 0_u8..4, 0_u8..15, any::<bool>(), 0_u64..400), 1..300)
    ) {
        let (mut book, mut budget) = (Book::default(), Budget::new(Limits::of(5, 10)));
        let (mut now, mut told) = (MonoTime::ZERO, BTreeMap::<String, u32>::new());
        let mut warnings = BTreeMap::<String, u32>::new();
        for (object, reason, message, is_warning, wait) in steps {
            now = now + Duration::from_secs(wait);
            let (reason, message) = (format!("R{reason}"), format!("m{message}"));
            let happening = match is_warning {
                true => Happening::warning(reason, message),
                false => Happening::normal(reason, message),
            };
            let wall = at(i64::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(0));
            let event = book.record(&pod(&object.to_string()), &happening, wall);
            budget.offer(now, event);
            while let Some(event) = budget.next(now) {
                if event.event_type == EventType::Warning {
                    *warnings.entry(event.object.uid.clone()).or_default() += 1;
                }
                told.insert(event.name.clone(), event.count);
            }
            let refilled = u32::try_from(now.as_nanos() / 300_000_000_000).unwrap_or(0);
            for (object, count) in &warnings {
                prop_assert!(*count <= 25 + refilled, "{} told {} times", object, count);
            }
        }
        while let Some(due) = budget.next_deadline() {
            now = now.max(due);
            while let Some(event) = budget.next(now) {
                told.insert(event.name.clone(), event.count);
            }
        }
        let kept: BTreeMap<_, _> = book.since(0).map(|event| (event.name.clone(), event.count)).collect();
        prop_assert_eq!(told, kept);
    }

    #[test]
    fn no_journal_is_too_odd_to_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let journal = journal::read([bytes.as_slice()]);
        prop_assert!(journal.events.is_empty());
    }

    #[test]
    fn combined_messages_begin_as_client_gos(count in 10_usize..60) {
        let mut book = Book::default();
        for number in 0..count {
            book.record(&pod("web"), &Happening::warning("R", number.to_string()), at(0));
        }
        let combined: Vec<_> = all(&book).into_iter().filter(|event| event.message.starts_with(COMBINED)).collect();
        prop_assert_eq!(combined.len(), 1);
        prop_assert_eq!(combined[0].count as usize, count - COMBINED_AT + 1);
    }
}

#[test]
fn good_news_gives_way_for_a_while_only() {
    let now = |secs| MonoTime::from_secs(secs);
    let mut courtesy = Courtesy::default();
    assert!(!courtesy.ends(now(0), true), "nothing waits");
    courtesy.wait(now(1));
    courtesy.wait(now(8));
    assert_eq!((courtesy.ends(now(10), false), courtesy.until()), (false, Some(now(11))));
    assert!(courtesy.ends(now(10), true), "nobody is brought up any more");
    courtesy.wait(now(10));
    assert_eq!((courtesy.ends(now(19), false), courtesy.ends(now(20), false)), (false, true));
    assert_eq!(courtesy.until(), None);
}
