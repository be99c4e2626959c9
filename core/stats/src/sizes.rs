//! When a directory is measured again. Nothing is measured unless somebody asks; a measurement is shared as long as it is
//! young enough, and no directory takes more than a tenth of the time of one processor, however often somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::MonoTime;

/// After a measurement a directory is left alone for so many times as long as it took.
const REST: u32 = 9;

/// It is left alone no longer than this: what took longer than ten seconds has waited, not worked.
const REST_AT_MOST: Duration = Duration::from_secs(90);

/// Directories by name, with the last measurement of each.
#[derive(Debug)]
pub struct SizeBook<T> {
    entries: BTreeMap<String, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    last: Option<T>,
    running_since: Option<MonoTime>,
    began: Option<MonoTime>,
    rests_until: MonoTime,
    is_told: bool,
}

impl<T> Default for SizeBook<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<T: Clone> SizeBook<T> {
    /// Forgets all but these; one that is being measured stays until that is done.
    pub fn keep_only(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.entries.retain(|name, entry| entry.running_since.is_some() || is_wanted(name));
    }

    /// True when the directory must be measured now: the last measurement began longer than `max_age` ago, none is under
    /// way, and it has rested. Counts as begun from then on.
    pub fn begin(&mut self, name: &str, now: MonoTime, max_age: Duration) -> bool {
        let entry = self.entries.entry(name.to_owned()).or_insert(Entry {
            last: None,
            running_since: None,
            began: None,
            rests_until: now,
            is_told: false,
        });
        let is_young = entry.began.is_some_and(|began| now.since(began) < max_age);
        let is_due = entry.running_since.is_none() && now >= entry.rests_until && !is_young;
        if is_due {
            entry.running_since = Some(now);
            entry.is_told = false;
        }
        is_due
    }

    /// A measurement ended. `None` when it failed, as after a file system that hung: the last one stays, and the next may begin when as
    /// much time has passed as it took.
    pub fn end(&mut self, name: &str, now: MonoTime, result: Option<T>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Some(began) = entry.running_since.take() else { return };
        let rest = now.since(began).saturating_mul(if result.is_some() { REST } else { 1 });
        entry.rests_until = now + rest.min(REST_AT_MOST);
        if result.is_some() {
            entry.began = Some(began);
            entry.last = result;
        }
    }

    /// A measurement that was begun did not come to run after all; it may begin again at once.
    pub fn give_up(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.running_since = None;
        }
    }

    /// The last measurement.
    pub fn last(&self, name: &str) -> Option<T> {
        self.entries.get(name)?.last.clone()
    }

    /// How long a measurement has been under way, once for each that takes longer than `limit`: it hangs.
    pub fn newly_hung(&mut self, name: &str, now: MonoTime, limit: Duration) -> Option<Duration> {
        let entry = self.entries.get_mut(name)?;
        let running_for = now.since(entry.running_since?);
        let is_news = running_for > limit && !entry.is_told;
        entry.is_told |= is_news;
        is_news.then_some(running_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_secs(secs)
    }

    #[test]
    fn a_measurement_is_shared_until_it_is_old() {
        let mut book = SizeBook::default();
        assert!(book.begin("a", at(0), MINUTE));
        assert!(!book.begin("a", at(1), MINUTE), "under way");
        assert_eq!(book.last("a"), None);
        book.end("a", at(2), Some(7));
        assert_eq!(book.last("a"), Some(7));
        assert!(!book.begin("a", at(59), MINUTE));
        assert!(book.begin("a", at(60), MINUTE));
        assert_eq!(book.last("a"), Some(7), "the old one until there is a new one");
        book.end("a", at(61), None);
        assert_eq!(book.last("a"), Some(7), "also when measuring failed");
    }

    #[test]
    fn what_takes_long_rests_nine_times_as_long() {
        let mut book = SizeBook::default();
        assert!(book.begin("a", at(0), Duration::ZERO));
        book.end("a", at(10), Some(1));
        assert!(!book.begin("a", at(99), Duration::ZERO));
        assert!(book.begin("a", at(100), Duration::ZERO));
        book.give_up("a");
        assert!(book.begin("a", at(100), Duration::ZERO));
    }

    #[test]
    fn what_hung_is_measured_again_soon_after_it_answers() {
        let mut book = SizeBook::default();
        assert!(book.begin("a", at(0), Duration::ZERO));
        book.end("a", at(20), None);
        assert!(!book.begin("a", at(39), Duration::ZERO));
        assert!(book.begin("a", at(40), Duration::ZERO), "it failed after a while");
        book.end("a", at(4_000), Some(1));
        assert!(book.begin("a", at(4_090), Duration::ZERO), "it answered after an hour");
        book.end("a", at(8_000), None);
        assert!(book.begin("a", at(8_090), Duration::ZERO), "it failed after an hour");
    }

    #[test]
    fn a_hung_measurement_is_told_once() {
        let mut book = SizeBook::<u8>::default();
        let limit = Duration::from_secs(10);
        assert!(book.begin("a", at(0), MINUTE));
        assert_eq!(book.newly_hung("a", at(10), limit), None);
        assert_eq!(book.newly_hung("a", at(11), limit), Some(Duration::from_secs(11)));
        assert_eq!(book.newly_hung("a", at(12), limit), None, "told already");
        book.end("a", at(20), None);
        assert_eq!(book.newly_hung("a", at(50), limit), None);
        assert!(book.begin("a", at(200), MINUTE));
        assert!(book.newly_hung("a", at(220), limit).is_some(), "another one");
    }

    #[test]
    fn what_nobody_wants_is_forgotten_unless_it_is_being_measured() {
        let mut book = SizeBook::default();
        for name in ["a", "b"] {
            assert!(book.begin(name, at(0), MINUTE));
        }
        book.end("a", at(1), Some(1));
        book.keep_only(|_| false);
        assert_eq!(book.last("a"), None);
        assert!(!book.begin("b", at(5), MINUTE), "still under way");
        book.end("b", at(6), Some(2));
        book.keep_only(|_| false);
        assert_eq!(book.last("b"), None);
    }
}
