//! A bounded memory of answers that grow old (CONTRACT 2.2, 2.3).

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use core_types::MonoTime;

/// Answers by question, each with its own end. When it is full, the one that was used longest ago goes.
#[derive(Debug)]
pub(super) struct Answers<Q, A> {
    capacity: usize,
    entries: HashMap<Q, Entry<A>>,
    /// Questions by last use.
    by_use: BTreeMap<u64, Q>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<A> {
    answer: A,
    ends: MonoTime,
    used: u64,
}

impl<Q: Clone + Eq + Hash, A: Clone> Answers<Q, A> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// The answer that still counts.
    pub(super) fn get(&mut self, question: &Q, now: MonoTime) -> Option<A> {
        let entry = self.entries.get_mut(question)?;
        self.by_use.remove(&entry.used);
        if entry.ends <= now {
            self.entries.remove(question);
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, question.clone());
        Some(entry.answer.clone())
    }

    /// Keeps an answer for `ttl`; not at all when that is zero.
    pub(super) fn put(&mut self, question: Q, answer: A, now: MonoTime, ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        self.uses += 1;
        let entry = Entry { answer, ends: now + ttl, used: self.uses };
        if let Some(before) = self.entries.insert(question.clone(), entry) {
            self.by_use.remove(&before.used);
        }
        self.by_use.insert(self.uses, question);
        while self.entries.len() > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_until_its_end_and_the_least_used_goes_first() {
        let at = MonoTime::from_secs;
        let mut answers = Answers::new(2);
        answers.put("a", 1, at(0), Duration::from_secs(10));
        answers.put("b", 2, at(0), Duration::from_secs(30));
        assert_eq!(answers.get(&"a", at(9)), Some(1));
        answers.put("c", 3, at(9), Duration::from_secs(30));
        assert_eq!(answers.get(&"b", at(9)), None, "b was used longest ago");
        assert_eq!(answers.get(&"a", at(10)), None, "its time is over");
        assert_eq!(answers.get(&"c", at(38)), Some(3));
        answers.put("d", 4, at(38), Duration::ZERO);
        assert_eq!(answers.get(&"d", at(38)), None, "zero keeps nothing");
        assert_eq!(answers.entries.len(), answers.by_use.len());
    }
}
