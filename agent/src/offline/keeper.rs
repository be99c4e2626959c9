//! Reads the memory at the start of the agent, and writes it when a start would come out differently.

use std::sync::Arc;
use std::time::Duration;

use core_offline::memory::{kept_of_node, may_start};
use core_offline::{FormatError, Identity, Kept, Memory, News};
use core_types::{PodExt, PodKey, WallTime};
use ports::Clock;
use ports::sealed::SealedError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Offline, Stage, State, end_of};
use crate::calm_view::CalmView;
use crate::collections::{Collections, Known};
use crate::node::SeenNode;
use crate::outside::OfflineOutside;
use crate::timer;

/// Changes within this time go into one write: pods often come together, and what they refer to follows them.
const GATHER: Duration = Duration::from_secs(2);
/// Wait after a write that failed. A full disk does not get better by haste.
const RETRY: Duration = Duration::from_secs(30);

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Sealed(#[from] SealedError),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Which statuses are worth a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// None: something else must have changed.
    Change,
    /// All: the agent stops.
    Stop,
}

/// What the keeper watches beside the memory: services and the like, the Node object, the node view.
pub(crate) type Watched = (Option<Collections>, watch::Receiver<SeenNode>, CalmView);

/// The task.
pub(crate) struct Keeper {
    pub(crate) offline: Offline,
    pub(crate) outside: OfflineOutside,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Identity,
    /// Services, runtime classes, trust bundles.
    pub(crate) collections: Option<Collections>,
    pub(crate) node: watch::Receiver<SeenNode>,
    pub(crate) view: CalmView,
}

impl Keeper {
    /// Runs until it is stopped, and writes once more then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut written = self.load().await;
        self.offline.loaded(written.clone());
        let mut left_out = Vec::new();
        let mut state = self.offline.state.subscribe();
        state.mark_changed();
        let mut pause = GATHER;
        while self.news(&mut state, &written.memory, &stop).await {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = timer::until(self.clock.as_ref(), Some(self.clock.now() + pause)) => {}
            }
            state.mark_unchanged();
            pause = GATHER;
            if !self.write(&mut written.memory, &mut left_out, Occasion::Change).await {
                state.mark_changed();
                pause = RETRY;
            }
        }
        self.write(&mut written.memory, &mut left_out, Occasion::Stop).await;
    }

    /// Waits for something that was learned; false when the agent stops.
    async fn news(
        &mut self,
        state: &mut watch::Receiver<State>,
        written: &Memory,
        stop: &CancellationToken,
    ) -> bool {
        let ended = async |view: &mut CalmView| loop {
            let node = view.changed().await;
            if written.pods.iter().any(|pod| may_start(pod) && end_of(&node, &pod.uid()).is_some()) {
                return;
            }
        };
        let collections = async |collections: &mut Option<Collections>| match collections {
            Some(Collections { services, runtime_classes, trust, .. }) => tokio::select! {
                () = services.changed() => {}
                () = runtime_classes.changed() => {}
                () = trust.changed() => {}
            },
            None => std::future::pending().await,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            Ok(()) = state.changed() => true,
            () = collections(&mut self.collections) => true,
            Ok(()) = self.node.changed() => true,
            () = ended(&mut self.view) => true,
        }
    }

    /// What an earlier life kept. A file that cannot be used is set aside: the node goes on as one that has none.
    async fn load(&self) -> Kept {
        let error = match self.try_load().await {
            Ok(kept) => return kept,
            Err(error) => error,
        };
        let place = match self.outside.file.set_aside().await {
            Ok(path) => format!("it is set aside as {}", path.display()),
            Err(error) => format!("and it cannot be set aside: {error}"),
        };
        tracing::error!("what was kept for a start without the API server cannot be used, {place}: {error}");
        Kept::default()
    }

    async fn try_load(&self) -> Result<Kept, Unusable> {
        let Some(text) = self.outside.file.load().await? else { return Ok(Kept::default()) };
        let kept = core_offline::decode(text.expose(), &self.identity)?;
        let pods = kept.memory.pods.len();
        tracing::debug!(pods, saved_at = %kept.saved_at, "read what was kept for a start without the API server");
        Ok(kept)
    }

    /// Writes what is known now, if it is worth it; false when it must be tried again.
    async fn write(&self, written: &mut Memory, left_out: &mut Vec<PodKey>, occasion: Occasion) -> bool {
        let Some(memory) = self.gather() else { return true };
        let is_worth_it = match memory.news(written) {
            News::None => false,
            News::Statuses => occasion == Occasion::Stop,
            News::Content => true,
        };
        if !is_worth_it {
            return true;
        }
        let now: WallTime = self.clock.wall();
        let encoded = match core_offline::encode(&memory, &self.identity, now) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(%error, "what is kept for a start without the API server has no form");
                return true;
            }
        };
        if encoded.left_out != *left_out {
            left_out.clone_from(&encoded.left_out);
            tracing::warn!(
                ?left_out,
                "these pods are too large to be kept for a start without the API server"
            );
        }
        match self.outside.file.store(encoded.text).await {
            Ok(()) => {
                *written = memory;
                true
            }
            Err(error) => {
                tracing::warn!(
                    "a start without the API server will not know the newest state, which is written again in {RETRY:?}: {error}"
                );
                false
            }
        }
    }

    /// What is known now; `None` while nobody has told pods.
    fn gather(&self) -> Option<Memory> {
        let mut memory = None;
        let view = self.view.now();
        let seen = self.node.borrow().node.as_deref().map(kept_of_node).map(Arc::new);
        self.offline.state.send_if_modified(|state| {
            if matches!(state.stage, Stage::Told | Stage::Remembered) {
                let known = &mut state.memory;
                known.node = seen.or(known.node.take());
                if let Some(Collections { services, runtime_classes, trust, .. }) = &self.collections {
                    renew(&mut known.services, services);
                    renew(&mut known.runtime_classes, runtime_classes);
                    renew(&mut known.trust, trust);
                }
                known.prune();
                memory = Some(known.clone());
            }
            false
        });
        if let Some(memory) = &mut memory {
            memory.end(|uid| end_of(&view, uid));
            memory.prune();
        }
        memory
    }
}

/// Takes over what the server told of a kind, if it did in this life.
fn renew<B: crate::collections::Book>(kept: &mut Option<B>, known: &Known<B>) {
    if let Some(book) = known.told() {
        *kept = Some((*book).clone());
    }
}
