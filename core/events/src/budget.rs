//! The budget of events: when each one is told to the API server.
//!
//! ```text
//! offered --- good news, or the object has a token ---> ready --- the node has a token ---> next
//!    |                                                    ^
//!    `--- no token ---> waits, coalesced with what follows `--- token refilled
//! ```
//! Each object has, per event type, 25 events at once and one more every 5 minutes, as client-go's spam filter. Three things
//! differ from it. What is over the budget is not dropped but told late, with its true count. The first of its kind is told
//! at once when it is good news, however much bad news there was before. And the node as a whole has a rate
//! (`eventRecordQPS`, `eventBurst`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use core_types::{EventRecord, EventType, MonoTime, ObjectKind};

/// Events of one object and type that may be told at once (client-go).
const OBJECT_BURST: u32 = 25;
/// Time in which an object may tell one more (client-go).
const OBJECT_REFILL: Duration = Duration::from_secs(300);
/// Objects whose budgets are remembered (client-go).
const MAX_OBJECTS: usize = 4096;
/// Events that may wait to be told; the book keeps as many.
const MAX_WAITING: usize = 4096;
/// Events that are remembered as told, to know good news that is new.
const MAX_TOLD: usize = 4096;

/// The node's own rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events at once.
    pub burst: u32,
    /// Time in which one more may be told; zero for no limit.
    pub refill: Duration,
}

impl Limits {
    /// `eventRecordQPS` and `eventBurst`; a rate of zero is no limit.
    pub fn of(per_sec: i32, burst: i32) -> Self {
        let refill = match u32::try_from(per_sec) {
            Ok(per_sec) if per_sec > 0 => Duration::from_secs(1) / per_sec,
            _ => Duration::ZERO,
        };
        Self { burst: u32::try_from(burst).unwrap_or(1).max(1), refill }
    }
}

/// Tokens that come back with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When it is full again; in the past for a full one.
    full_at: MonoTime,
}

impl Bucket {
    /// When the next token may be taken: now at the latest for a bucket that has one.
    fn next_at(self, burst: u32, refill: Duration) -> MonoTime {
        let reserve = refill.saturating_mul(burst.saturating_sub(1));
        let reserve_ns = u64::try_from(reserve.as_nanos()).unwrap_or(u64::MAX);
        MonoTime::from_nanos(self.full_at.as_nanos().saturating_sub(reserve_ns))
    }

    fn take(&mut self, now: MonoTime, refill: Duration) {
        self.full_at = self.full_at.max(now) + refill;
    }
}

type ObjectId = (ObjectKind, String, EventType);

/// What one object may tell.
#[derive(Debug)]
struct Object {
    bucket: Bucket,
    /// Names of events without a token, in their order.
    waiting: VecDeque<String>,
}

/// The machine: events go in as they change and come out when they may be told.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    node: Bucket,
    objects: BTreeMap<ObjectId, Object>,
    /// When objects with waiting events get their next token.
    refills: BTreeSet<(MonoTime, ObjectId)>,
    /// The newest state of every event that waits or is ready.
    pending: BTreeMap<String, Arc<EventRecord>>,
    /// Names of events that have a token of their object.
    ready: VecDeque<String>,
    told: BTreeSet<String>,
    told_order: VecDeque<String>,
    dropped: u64,
}

impl Budget {
    /// A budget that nothing was taken from.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            node: Bucket { full_at: MonoTime::ZERO },
            objects: BTreeMap::new(),
            refills: BTreeSet::new(),
            pending: BTreeMap::new(),
            ready: VecDeque::new(),
            told: BTreeSet::new(),
            told_order: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Takes the newest state of an event.
    pub fn offer(&mut self, now: MonoTime, event: Arc<EventRecord>) {
        let name = event.name.clone();
        let is_new = event.event_type == EventType::Normal && !self.told.contains(&name);
        let id: ObjectId = (event.object.kind, event.object.uid.clone(), event.event_type);
        if self.pending.insert(name.clone(), event).is_some() {
            return;
        }
        if is_new {
            return self.ready.push_back(name);
        }
        if self.pending.len() > MAX_WAITING {
            self.pending.remove(&name);
            self.dropped += 1;
            return;
        }
        self.make_room(now);
        let object = self
            .objects
            .entry(id.clone())
            .or_insert_with(|| Object { bucket: Bucket { full_at: now }, waiting: VecDeque::new() });
        let next_at = object.bucket.next_at(OBJECT_BURST, OBJECT_REFILL);
        if next_at <= now && object.waiting.is_empty() {
            object.bucket.take(now, OBJECT_REFILL);
            self.ready.push_back(name);
        } else {
            object.waiting.push_back(name);
            self.refills.insert((next_at, id));
        }
    }

    /// The next event that may be told. It counts as told; one that could not be is offered again.
    pub fn next(&mut self, now: MonoTime) -> Option<Arc<EventRecord>> {
        self.refill(now);
        if self.ready.is_empty() || self.node.next_at(self.limits.burst, self.limits.refill) > now {
            return None;
        }
        let name = self.ready.pop_front()?;
        let event = self.pending.remove(&name)?;
        self.node.take(now, self.limits.refill);
        self.remember(name);
        Some(event)
    }

    /// Brings back an event that could not be told: it goes first when it is tried again, unless it has changed meanwhile.
    pub fn put_back(&mut self, event: Arc<EventRecord>) {
        let name = event.name.clone();
        if self.pending.insert(name.clone(), event).is_none() {
            self.ready.push_front(name);
        }
    }

    /// When [`Budget::next`] has something again; `None` while nothing waits.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        match self.ready.is_empty() {
            false => Some(self.node.next_at(self.limits.burst, self.limits.refill)),
            true => self.refills.first().map(|(at, _)| *at),
        }
    }

    /// Events that were lost because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives a token to the first waiting event of each object that has one again.
    fn refill(&mut self, now: MonoTime) {
        while let Some((_, id)) = self.refills.first().filter(|(at, _)| *at <= now).cloned() {
            self.refills.pop_first();
            let Some(object) = self.objects.get_mut(&id) else { continue };
            let Some(name) = object.waiting.pop_front() else { continue };
            object.bucket.take(now, OBJECT_REFILL);
            self.ready.push_back(name);
            if !object.waiting.is_empty() {
                self.refills.insert((object.bucket.next_at(OBJECT_BURST, OBJECT_REFILL), id));
            }
        }
    }

    /// Forgets objects that have their whole budget, and then any that nothing waits for.
    fn make_room(&mut self, now: MonoTime) {
        if self.objects.len() < MAX_OBJECTS {
            return;
        }
        self.objects.retain(|_, object| object.bucket.full_at > now || !object.waiting.is_empty());
        if self.objects.len() >= MAX_OBJECTS {
            self.objects.retain(|_, object| !object.waiting.is_empty());
        }
    }

    fn remember(&mut self, name: String) {
        if self.told.insert(name.clone()) {
            self.told_order.push_back(name);
        }
        if self.told_order.len() > MAX_TOLD
            && let Some(oldest) = self.told_order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }
}
