//! A start without the API server: what it told is kept in a sealed file, and used when it cannot be asked (ADR 0010).
//!
//! ```text
//! pods, objects, tokens, services ... as they are told --> memory --2 s--> keeper --> sealed file
//!
//! start: Loading --file read--> Awaited --server away--> Remembered --server tells its pods--> Told
//!                                  +-------------------- server tells its pods -----------------^
//! ```
//! In stage `Remembered` the API source tells the pods of the memory, and whoever asks for what they refer to and was told
//! nothing gets it from the memory ([`ports`]). In stage `Told` the memory follows the server. Other tasks are not concerned:
//! to them the server has answered.
//!
//! Reads: the sealed file, once; what the other tasks were told. Writes: the sealed file, when a start would come out
//! differently; not for a status. At rest it waits.

mod keeper;
mod ports;

use std::sync::Arc;

use core_offline::{Kept, Memory};
use core_pods::mirror::is_mirror;
use core_references::{IssuedToken, TokenAsk};
use core_types::api::{Pod, PodStatus};
use core_types::view::NodeView;
use core_types::{KeyedObject, KeyedRef, PodUid, Shutdown, WallTime};
use tokio::sync::watch;

use crate::node::SeenNode;
use crate::status::is_terminal;

pub(crate) use keeper::{Keeper, Watched};
pub(crate) use ports::with_memory;

/// How far the start is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The file is being read.
    #[default]
    Loading,
    /// The server is asked.
    Awaited,
    /// The pods are those of the memory.
    Remembered,
    /// The pods are those of the server.
    Told,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    memory: Memory,
    /// When the memory was written, by an earlier life.
    saved_at: WallTime,
}

/// Pods that the server told before.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) pods: Vec<Arc<Pod>>,
    /// When it was written down.
    pub(crate) saved_at: WallTime,
}

/// The memory, for all who learn or ask.
#[derive(Clone)]
pub(crate) struct Offline {
    state: watch::Sender<State>,
    node: watch::Sender<SeenNode>,
}

impl Offline {
    /// A memory that is being read. What it holds of the Node object is shown to `node` when it is used.
    pub(crate) fn new(node: watch::Sender<SeenNode>) -> Self {
        Self { state: watch::Sender::new(State::default()), node }
    }

    /// The file was read.
    fn loaded(&self, mut kept: Kept) {
        self.state.send_modify(|state| {
            match state.stage {
                Stage::Loading => state.stage = Stage::Awaited,
                // The server was faster.
                _ => kept.memory.pods.clear(),
            }
            state.memory.recall(kept.memory);
            state.saved_at = kept.saved_at;
        });
    }

    /// The server is away: its pods as it told them before, if it ever did. From now on they count.
    pub(crate) async fn remember(&self) -> Option<Remembered> {
        // The sender is this value's own, so there is no error to tell of.
        let _ = self.state.subscribe().wait_for(|state| state.stage != Stage::Loading).await;
        let mut remembered = None;
        self.state.send_if_modified(|state| {
            if state.stage != Stage::Awaited || state.memory.pods.is_empty() {
                return false;
            }
            state.stage = Stage::Remembered;
            let node = state.memory.node.clone();
            self.node.send_if_modified(|seen| {
                seen.remembered = node.filter(|_| !seen.is_heard);
                seen.remembered.is_some()
            });
            remembered = Some(Remembered { pods: state.memory.pods.clone(), saved_at: state.saved_at });
            true
        });
        remembered
    }

    /// The server told all its pods.
    pub(crate) fn told(&self, pods: &[Arc<Pod>]) {
        let own: Vec<Arc<Pod>> = pods.iter().filter(|pod| !is_mirror(pod)).cloned().collect();
        self.state.send_if_modified(|state| {
            let known = &mut state.memory.pods;
            let is_same = known.len() == own.len() && known.iter().zip(&own).all(|(a, b)| Arc::ptr_eq(a, b));
            *known = own;
            std::mem::replace(&mut state.stage, Stage::Told) != Stage::Told || !is_same
        });
    }

    fn learn_object(&self, object: &KeyedRef, content: Option<&KeyedObject>) {
        self.state.send_if_modified(|state| {
            let objects = &mut state.memory.objects;
            let is_known = objects.get(object).is_some_and(|known| known.as_deref() == content);
            if !is_known {
                objects.insert(object.clone(), content.cloned().map(Arc::new));
            }
            !is_known
        });
    }

    fn learn_token(&self, ask: &TokenAsk, issued: &IssuedToken) {
        self.state.send_modify(|state| drop(state.memory.tokens.insert(ask.clone(), issued.clone())));
    }

    /// An object of the memory, while it counts; the inner `None`: it did not exist.
    fn object(&self, object: &KeyedRef) -> Option<Option<Arc<KeyedObject>>> {
        let state = self.state.borrow();
        let counts = state.stage == Stage::Remembered;
        state.memory.objects.get(object).filter(|_| counts).cloned()
    }

    /// A token of the memory, while it counts. It may have expired: no other can be had, and the server that would refuse it
    /// is away.
    fn token(&self, ask: &TokenAsk) -> Option<IssuedToken> {
        let state = self.state.borrow();
        let counts = state.stage == Stage::Remembered;
        state.memory.tokens.get(ask).filter(|_| counts).cloned()
    }

    /// Waits until the memory counts and gives `part` of it. Never comes back when there is no such part, or when the server
    /// is not away.
    pub(crate) async fn part<T>(&self, part: impl Fn(&Memory) -> Option<T>) -> T {
        let mut state = self.state.subscribe();
        loop {
            let found = {
                let state = state.borrow_and_update();
                Some(&state.memory).filter(|_| state.stage == Stage::Remembered).and_then(&part)
            };
            match found {
                Some(found) => return found,
                None if state.changed().await.is_err() => std::future::pending().await,
                None => {}
            }
        }
    }
}

/// The status of a pod that has ended here. While the machine goes down pods end because of it: who was told so by the API server
/// has ended for good, and the others start again with the machine.
fn end_of(view: &NodeView, uid: &PodUid) -> Option<PodStatus> {
    if view.shutdown == Shutdown::InProgress {
        return None;
    }
    let shown = view.pods.get(uid).filter(|shown| shown.is_observed && is_terminal(&shown.status))?;
    Some((*shown.status).clone())
}

#[cfg(test)]
mod tests;
