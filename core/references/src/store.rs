//! The store of Secrets and ConfigMaps: the machine that says which are watched or read, keeps what was told, and answers
//! those who ask (CONTRACT 6.10; upstream's secretManager and configMapManager).
//!
//! ```text
//!  Watch:  first reference -> Follow -> told: known --- last reference gone ------> Unfollow, forgotten
//!             ^                           |  +--------- immutable ----------------> Unfollow, known for good
//!             +--- asked for again -------+------------ asked for by nobody long -> Unfollow, to be told anew
//!  Cached: asked for -> known and not too old: answered, else Fetch -> known
//! ```
//! An object that is shown in a volume is followed as long as the volume is there: its changes must reach it.
//!
//! Guarantees: nothing is watched or read to which no pod refers; each question gets one answer, when it must wait then
//! within [`SYNC_WAIT`]; the pods that a change concerns are named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_types::{KeyedObject, KeyedRef, Lookup, LookupError, MonoTime, Mutability, PodUid};

use crate::pod::Use;

/// How long a question waits for a watch to tell for the first time; upstream's value.
pub const SYNC_WAIT: Duration = Duration::from_secs(1);
/// A watch that nobody needs is kept at least this long; upstream's value.
const MIN_IDLE: Duration = Duration::from_secs(60);
/// A watch that nobody needs is kept for so many sync intervals; upstream's value.
const IDLE_SYNCS: u32 = 5;

/// `configMapAndSecretChangeDetectionStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One watch per object. One that is needed at starts only ends after `max_idle`.
    Watch {
        /// How long a watch is kept for nobody.
        max_idle: Duration,
    },
    /// Objects are read when they are asked for and what is known is older than `ttl`; zero for always.
    Cached {
        /// How long what was read counts.
        ttl: Duration,
    },
}

impl Strategy {
    /// Watches, with upstream's patience at this `syncFrequency`.
    pub fn watch(sync_interval: Duration) -> Self {
        Self::Watch { max_idle: (sync_interval * IDLE_SYNCS).max(MIN_IDLE) }
    }
}

/// Names a question, for its answer.
pub type Ticket = u64;
/// Names one watch of an object, or one read: news of an older one do not count.
pub type Generation = u64;

/// Input of the machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A pod refers to these objects, and no longer to others.
    Registered {
        /// Pod.
        uid: PodUid,
        /// What it refers to.
        uses: BTreeMap<KeyedRef, Use>,
    },
    /// A pod is gone.
    Forgotten {
        /// Pod.
        uid: PodUid,
    },
    /// Somebody needs an object.
    Asked {
        /// Goes with the answer.
        ticket: Ticket,
        /// Which.
        object: KeyedRef,
    },
    /// A watch tells what there is now.
    Told {
        /// Which object.
        object: KeyedRef,
        /// Of the `Follow`.
        generation: Generation,
        /// `None`: it does not exist.
        content: Option<Arc<KeyedObject>>,
    },
    /// A read has ended.
    Fetched {
        /// Which object.
        object: KeyedRef,
        /// Of the `Fetch`.
        generation: Generation,
        /// What it brought; the error is for people.
        result: Result<Option<Arc<KeyedObject>>, String>,
    },
    /// A deadline passed.
    Tick,
}

/// Output of the machine, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Watch this object.
    Follow {
        /// Which.
        object: KeyedRef,
        /// Goes with what is told.
        generation: Generation,
    },
    /// End the watch.
    Unfollow {
        /// Which.
        object: KeyedRef,
    },
    /// Read this object once.
    Fetch {
        /// Which.
        object: KeyedRef,
        /// Goes with the result.
        generation: Generation,
    },
    /// Answer a question.
    Answer {
        /// Of the question.
        ticket: Ticket,
        /// The answer.
        lookup: Lookup,
    },
    /// An object has changed for these pods: they need another sync.
    Changed {
        /// Pods.
        pods: Vec<PodUid>,
    },
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    content: Option<Arc<KeyedObject>>,
    at: MonoTime,
}

/// Where what is known comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nobody tells.
    None,
    /// A watch, or a read under way.
    Running(Generation),
    /// The object cannot change any more.
    Frozen,
}

#[derive(Debug)]
struct Item {
    users: BTreeMap<PodUid, Use>,
    source: Source,
    /// What counts.
    known: Option<Known>,
    /// What was told last, though it may not count any more.
    last: Option<Option<Arc<KeyedObject>>>,
    asked_at: MonoTime,
    waiting: Vec<(Ticket, MonoTime)>,
    /// Somebody got no answer: its users are told when there is one.
    disappointed: bool,
}

impl Item {
    fn is_in_volumes(&self) -> bool {
        self.users.values().any(|use_| *use_ == Use::InVolume)
    }

    /// When a watch that nobody needs ends.
    fn idle_at(&self, max_idle: Duration) -> Option<MonoTime> {
        let idle = self.known.is_some() && matches!(self.source, Source::Running(_)) && !self.is_in_volumes();
        idle.then(|| self.asked_at + max_idle)
    }

    fn lookup(&self, object: &KeyedRef) -> Option<Lookup> {
        let known = self.known.as_ref()?;
        Some(
            known
                .content
                .clone()
                .ok_or_else(|| LookupError::NotFound { kind: object.kind, name: object.name.clone() }),
        )
    }
}

/// The machine.
#[derive(Debug)]
pub struct Store {
    strategy: Strategy,
    items: BTreeMap<KeyedRef, Item>,
    pods: BTreeMap<PodUid, BTreeMap<KeyedRef, Use>>,
    generation: Generation,
}

impl Store {
    /// A store without objects.
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, items: BTreeMap::new(), pods: BTreeMap::new(), generation: 0 }
    }

    /// Changes how long what was read counts. Nothing for watches, and for who wants every object read anew each time.
    pub fn set_ttl(&mut self, new: Duration) {
        if let Strategy::Cached { ttl } = &mut self.strategy {
            *ttl = new;
        }
    }

    /// Objects that are known or wanted.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no pod refers to anything.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// When `Tick` is due.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let waiting = self.items.values().flat_map(|item| item.waiting.iter().map(|(_, until)| *until));
        let idle = match self.strategy {
            Strategy::Watch { max_idle } => Some(max_idle),
            Strategy::Cached { .. } => None,
        };
        let idle = idle.into_iter().flat_map(|max| self.items.values().filter_map(move |i| i.idle_at(max)));
        waiting.chain(idle).min()
    }

    /// Takes one event and says what follows from it.
    pub fn step(&mut self, now: MonoTime, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Registered { uid, uses } => self.register(now, &uid, uses, &mut effects),
            Event::Forgotten { uid } => self.register(now, &uid, BTreeMap::new(), &mut effects),
            Event::Asked { ticket, object } => self.ask(now, ticket, &object, &mut effects),
            Event::Told { object, generation, content } => {
                if self.is_current(&object, generation) {
                    self.learn(now, &object, content, &mut effects);
                }
            }
            Event::Fetched { object, generation, result } => {
                if self.is_current(&object, generation) {
                    self.fetched(now, &object, result, &mut effects);
                }
            }
            Event::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    fn is_current(&self, object: &KeyedRef, generation: Generation) -> bool {
        self.items.get(object).is_some_and(|item| item.source == Source::Running(generation))
    }

    fn register(
        &mut self,
        now: MonoTime,
        uid: &PodUid,
        uses: BTreeMap<KeyedRef, Use>,
        effects: &mut Vec<Effect>,
    ) {
        for (object, use_) in &uses {
            let item = self.items.entry(object.clone()).or_insert_with(|| Item {
                users: BTreeMap::new(),
                source: Source::None,
                known: None,
                last: None,
                asked_at: now,
                waiting: Vec::new(),
                disappointed: false,
            });
            item.users.insert(uid.clone(), *use_);
            if matches!(self.strategy, Strategy::Watch { .. }) && item.last.is_none() {
                self.run(object, effects);
            }
        }
        let before = match uses.is_empty() {
            true => self.pods.remove(uid),
            false => self.pods.insert(uid.clone(), uses),
        };
        for object in before.unwrap_or_default().into_keys() {
            if !self.pods.get(uid).is_some_and(|uses| uses.contains_key(&object)) {
                self.drop_user(uid, &object, effects);
            }
        }
    }

    fn drop_user(&mut self, uid: &PodUid, object: &KeyedRef, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(object) else { return };
        item.users.remove(uid);
        if !item.users.is_empty() {
            return;
        }
        let answers = item.waiting.drain(..);
        effects.extend(answers.map(|(ticket, _)| Effect::Answer { ticket, lookup: not_registered(object) }));
        self.unfollow(object, effects);
        self.items.remove(object);
    }

    /// Begins a watch or a read, unless one is under way.
    fn run(&mut self, object: &KeyedRef, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(object).filter(|item| item.source == Source::None) else {
            return;
        };
        self.generation += 1;
        let generation = self.generation;
        item.source = Source::Running(generation);
        let object = object.clone();
        effects.push(match self.strategy {
            Strategy::Watch { .. } => Effect::Follow { object, generation },
            Strategy::Cached { .. } => Effect::Fetch { object, generation },
        });
    }

    fn unfollow(&self, object: &KeyedRef, effects: &mut Vec<Effect>) {
        let running = self.items.get(object).is_some_and(|item| matches!(item.source, Source::Running(_)));
        if running && matches!(self.strategy, Strategy::Watch { .. }) {
            effects.push(Effect::Unfollow { object: object.clone() });
        }
    }

    fn ask(&mut self, now: MonoTime, ticket: Ticket, object: &KeyedRef, effects: &mut Vec<Effect>) {
        let strategy = self.strategy;
        let Some(item) = self.items.get_mut(object) else {
            return effects.push(Effect::Answer { ticket, lookup: not_registered(object) });
        };
        item.asked_at = now;
        let counts = match (strategy, &item.known) {
            (Strategy::Cached { ttl }, Some(known)) => item.source == Source::Frozen || now < known.at + ttl,
            (Strategy::Watch { .. }, known) => known.is_some(),
            (Strategy::Cached { .. }, None) => false,
        };
        if let Some(lookup) = item.lookup(object).filter(|_| counts) {
            return effects.push(Effect::Answer { ticket, lookup });
        }
        // A read ends by its own deadline; a watch may tell nothing for long.
        let until = match strategy {
            Strategy::Watch { .. } => now + SYNC_WAIT,
            Strategy::Cached { .. } => now + Duration::MAX,
        };
        item.waiting.push((ticket, until));
        self.run(object, effects);
    }

    fn fetched(
        &mut self,
        now: MonoTime,
        object: &KeyedRef,
        result: Result<Option<Arc<KeyedObject>>, String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(object) else { return };
        item.source = Source::None;
        match result {
            Ok(content) => self.learn(now, object, content, effects),
            // What was read before is better than nothing.
            Err(problem) => {
                let lookup = item.lookup(object).unwrap_or(Err(LookupError::Api(problem)));
                let answers = item.waiting.drain(..);
                effects.extend(answers.map(|(ticket, _)| Effect::Answer { ticket, lookup: lookup.clone() }));
            }
        }
    }

    fn learn(
        &mut self,
        now: MonoTime,
        object: &KeyedRef,
        content: Option<Arc<KeyedObject>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(object) else { return };
        let before = item.last.replace(content.clone());
        item.known = Some(Known { content: content.clone(), at: now });
        if let Some(lookup) = item.lookup(object) {
            let answers = item.waiting.drain(..);
            effects.extend(answers.map(|(ticket, _)| Effect::Answer { ticket, lookup: lookup.clone() }));
        }
        let came_to_be = before == Some(None) && content.is_some();
        let changed = before.is_some_and(|before| before != content);
        let everybody = came_to_be || std::mem::take(&mut item.disappointed);
        let concerns = |use_: &Use| everybody || (changed && *use_ == Use::InVolume);
        let pods: Vec<PodUid> =
            item.users.iter().filter(|(_, use_)| concerns(use_)).map(|(uid, _)| uid.clone()).collect();
        if !pods.is_empty() {
            effects.push(Effect::Changed { pods });
        }
        if content.is_some_and(|content| content.mutability == Mutability::Immutable) {
            self.unfollow(object, effects);
            if let Some(item) = self.items.get_mut(object) {
                item.source = Source::Frozen;
            }
        }
    }

    fn tick(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        let mut idle = Vec::new();
        for (object, item) in &mut self.items {
            let lookup = Err(LookupError::NotSynced { kind: object.kind });
            let over = item.waiting.extract_if(.., |(_, until)| *until <= now);
            let answers: Vec<Effect> =
                over.map(|(ticket, _)| Effect::Answer { ticket, lookup: lookup.clone() }).collect();
            item.disappointed |= !answers.is_empty();
            effects.extend(answers);
            if let Strategy::Watch { max_idle } = self.strategy
                && item.idle_at(max_idle).is_some_and(|at| at <= now)
            {
                idle.push(object.clone());
            }
        }
        for object in idle {
            self.unfollow(&object, effects);
            if let Some(item) = self.items.get_mut(&object) {
                (item.source, item.known) = (Source::None, None);
            }
        }
    }
}

fn not_registered(object: &KeyedRef) -> Lookup {
    let KeyedRef { namespace, name, .. } = object.clone();
    Err(LookupError::NotRegistered { namespace, name })
}

#[cfg(test)]
mod tests;
