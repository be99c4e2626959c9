//! The book of events: every event of this node that is still kept, each with its count.
//!
//! An event that was seen before is counted, not repeated. Ten different messages of one object and reason within ten
//! minutes become one event that shows the newest of them, as client-go's correlator does. Each change gives an event the
//! next revision, so that readers ask for what is newer than what they have. Bounded by number and by bytes: what was seen
//! least recently goes first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_types::{EventRecord, EventType, ObjectKind, ObjectRef, WallTime};

use crate::Happening;
use crate::journal::checksum;

/// Events kept of one object: some fifty containers with their start and one trouble each.
pub(crate) const MAX_PER_OBJECT: usize = 256;
/// Events kept of the node, as many as client-go remembers.
pub(crate) const MAX_EVENTS: usize = 4096;
/// Bytes of all texts that are kept. A usual event has some 250.
pub(crate) const MAX_BYTES: usize = 2 << 20;
/// Bytes of one message: the output of a probe, which is cut at 10 KiB, with the words around it. Larger ones would not fit
/// what an API server takes when there are many.
pub(crate) const MAX_MESSAGE_BYTES: usize = 12 << 10;
/// Different messages of one object and reason that become one event, as client-go.
pub(crate) const COMBINED_AT: usize = 10;
/// Quiet after which messages are told apart again, as client-go.
const COMBINED_FOR: Duration = Duration::from_secs(600);
/// Revisions up to this one belong to what an earlier life of the agent left; those of this life come after it.
const EARLIER: u64 = MAX_EVENTS as u64;
/// How the message of a combined event begins, as client-go.
pub(crate) const COMBINED: &str = "(combined from similar events): ";

/// Every event that is kept.
#[derive(Debug)]
pub struct Book {
    /// By revision: least recent first.
    events: BTreeMap<u64, Arc<EventRecord>>,
    objects: BTreeMap<ObjectId, Object>,
    revision: u64,
    bytes: usize,
    /// The number in the newest name.
    last_number: i64,
}

type ObjectId = (ObjectKind, String);

/// What is kept of one object.
#[derive(Debug, Default)]
struct Object {
    revisions: BTreeSet<u64>,
    groups: BTreeMap<(EventType, String), Group>,
}

/// Events of one type and reason.
#[derive(Debug, Default)]
struct Group {
    /// Sums of messages that were told apart.
    messages: BTreeSet<u64>,
    last_seen: WallTime,
}

impl Group {
    /// True when the message goes into the combined event.
    fn combines(&mut self, message: &str, now: WallTime) -> bool {
        if now.since(self.last_seen) > COMBINED_FOR {
            self.messages.clear();
        }
        self.last_seen = now;
        self.messages.insert(checksum(message.as_bytes()));
        let is_full = self.messages.len() >= COMBINED_AT;
        if is_full {
            self.messages.pop_first();
        }
        is_full
    }
}

fn annotations(happening: &Happening) -> BTreeMap<String, String> {
    let pairs = happening.annotations.iter();
    pairs.map(|(key, value)| ((*key).to_owned(), cut(value))).collect()
}

impl Default for Book {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            objects: BTreeMap::new(),
            revision: EARLIER,
            bytes: 0,
            last_number: 0,
        }
    }
}

impl Book {
    /// The revision after which everything is of this life of the agent.
    pub const BEGINNING: u64 = EARLIER;

    /// Writes down what happened to an object.
    pub fn record(&mut self, object: &ObjectRef, happening: &Happening, now: WallTime) -> Arc<EventRecord> {
        let mut object = object.clone();
        object.field_path.clone_from(&happening.field_path);
        let own = self.objects.entry(id_of(&object)).or_default();
        let group = own.groups.entry((happening.event_type, happening.reason.to_string())).or_default();
        let is_combined = group.combines(&happening.message, now);
        let mut message = cut(&happening.message);
        if is_combined {
            message.insert_str(0, COMBINED);
        }
        let is_twin = |event: &EventRecord| {
            (event.event_type, event.reason.as_str()) == (happening.event_type, &*happening.reason)
                && match is_combined {
                    true => event.message.starts_with(COMBINED),
                    false => event.message == message && event.object.field_path == object.field_path,
                }
        };
        let twin = own.revisions.iter().rev().copied().find(|at| is_twin(&self.events[at]));
        let event = match twin.and_then(|at| self.take(at)) {
            Some(twin) => {
                let mut event = Arc::unwrap_or_clone(twin);
                event.count = event.count.saturating_add(1);
                event.last_seen = now;
                event.message = message;
                event.annotations = annotations(happening);
                event
            }
            None => EventRecord {
                name: self.name_for(&object, now),
                object,
                event_type: happening.event_type,
                reason: happening.reason.to_string(),
                message,
                first_seen: now,
                last_seen: now,
                count: 1,
                annotations: annotations(happening),
            },
        };
        self.revision += 1;
        self.insert(self.revision, Arc::new(event))
    }

    /// Takes what an earlier life of the agent left, least recent first; once, into a book that holds nothing of that yet.
    pub fn restore(&mut self, events: Vec<EventRecord>) {
        let number = |event: &EventRecord| {
            event.name.rsplit_once('.').and_then(|(_, hex)| i64::from_str_radix(hex, 16).ok())
        };
        self.last_number = events.iter().filter_map(number).fold(self.last_number, i64::max);
        let excess = events.len().saturating_sub(MAX_EVENTS);
        for (revision, event) in (1..=EARLIER).zip(events.into_iter().skip(excess)) {
            self.insert(revision, Arc::new(event));
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Events that changed after a revision, least recent first.
    pub fn since(&self, revision: u64) -> impl Iterator<Item = &Arc<EventRecord>> {
        self.events.range(revision.saturating_add(1)..).map(|(_, event)| event)
    }

    /// Events of one object, least recent first.
    pub fn of(&self, kind: ObjectKind, uid: &str) -> impl Iterator<Item = &Arc<EventRecord>> {
        let own = self.objects.get(&(kind, uid.to_owned()));
        own.into_iter().flat_map(|own| &own.revisions).map(|at| &self.events[at])
    }

    fn insert(&mut self, revision: u64, event: Arc<EventRecord>) -> Arc<EventRecord> {
        self.bytes += cost(&event);
        let own = self.objects.entry(id_of(&event.object)).or_default();
        own.revisions.insert(revision);
        let excess = own.revisions.first().copied().filter(|_| own.revisions.len() > MAX_PER_OBJECT);
        self.events.insert(revision, Arc::clone(&event));
        if let Some(oldest) = excess {
            self.forget(oldest);
        }
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some((&oldest, _)) = self.events.first_key_value() else { break };
            self.forget(oldest);
        }
        event
    }

    fn take(&mut self, revision: u64) -> Option<Arc<EventRecord>> {
        let event = self.events.remove(&revision)?;
        self.bytes = self.bytes.saturating_sub(cost(&event));
        if let Some(own) = self.objects.get_mut(&id_of(&event.object)) {
            own.revisions.remove(&revision);
        }
        Some(event)
    }

    /// Forgets an event; with its last one, what is known of the object.
    fn forget(&mut self, revision: u64) {
        let Some(event) = self.take(revision) else { return };
        let id = id_of(&event.object);
        if self.objects.get(&id).is_some_and(|own| own.revisions.is_empty()) {
            self.objects.remove(&id);
        }
    }

    /// Upstream's form, `<object>.<nanoseconds in hex>`, with a number that no other event of this node has.
    fn name_for(&mut self, object: &ObjectRef, now: WallTime) -> String {
        self.last_number = now.unix_nanos().max(self.last_number.saturating_add(1));
        format!("{}.{:x}", object.name, self.last_number)
    }
}

fn id_of(object: &ObjectRef) -> ObjectId {
    (object.kind, object.uid.clone())
}

/// Bytes that an event takes, roughly.
fn cost(event: &EventRecord) -> usize {
    let object = &event.object;
    let texts = [
        &event.name,
        &event.reason,
        &event.message,
        &object.namespace,
        &object.name,
        &object.uid,
        &object.field_path,
    ];
    size_of::<EventRecord>() + texts.into_iter().map(String::len).sum::<usize>()
}

/// The start of a message that is too long, and how much is left out.
fn cut(message: &str) -> String {
    if message.len() <= MAX_MESSAGE_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    format!("{} ({} more bytes)", &message[..end], message.len() - end)
}
