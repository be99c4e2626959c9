//! A container runtime in memory: sandboxes, containers, images and an event stream, with the strictness of a real one
//! (names are reserved, a container needs a ready sandbox and a present image) and with faults.
//!
//! What a container does is told by its arguments: `exit CODE SECS` ends by itself, `once CODE SECS` does so the first time,
//! `stubborn` ignores the stop signal, `quiet` writes no log, anything else runs until it is stopped. `after NAME` says that the container may
//! start only when that one has ended well (`exit`) or runs, and `outlives NAME` that it may be stopped only when that one
//! does not run. A command that is executed in it ends with CODE after SECS when the arguments
//! hold `exec CODE SECS`, else at once and well. The runtime outlives the agent, as a real one does.

mod calls;
mod images;
mod order;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use core_types::runtime::{RuntimeEvent, RuntimeEventKind};
use core_types::{ContainerId, PodUid};
use ports::runtime::{RuntimeError, RuntimeResult};
use tokio::sync::mpsc;

use crate::clock::SimClock;
use crate::faults::{Fate, Faults};
use crate::host::FakeLogFiles;

pub use store::{Container, Sandbox, Store};

/// Deadline that stands for `runtimeRequestTimeout`.
const CALL_DEADLINE: Duration = Duration::from_secs(120);
/// Events kept for a listener that is slow; a real stream buffers too.
const EVENT_BUFFER: usize = 4096;

/// The runtime of one simulated node.
pub struct FakeRuntime {
    clock: Arc<SimClock>,
    faults: Arc<Faults>,
    log_files: Arc<FakeLogFiles>,
    store: Mutex<Store>,
    listeners: Mutex<Vec<mpsc::Sender<RuntimeEvent>>>,
    has_events: bool,
    me: Weak<Self>,
}

/// Whether the runtime sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSupport {
    /// As containerd 2.x.
    Streams,
    /// As containerd 1.6.
    Unimplemented,
}

impl FakeRuntime {
    /// An empty runtime.
    pub fn new(
        clock: Arc<SimClock>,
        faults: Arc<Faults>,
        log_files: Arc<FakeLogFiles>,
        events: EventSupport,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            clock,
            faults,
            log_files,
            store: Mutex::default(),
            listeners: Mutex::default(),
            has_events: events == EventSupport::Streams,
            me: me.clone(),
        })
    }

    /// The store, for checks and for scenarios that meddle with it.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks every event stream, as a restart of the runtime does.
    pub fn break_streams(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends a running container from outside, e.g. by a signal.
    pub fn kill_container(&self, id: &ContainerId, exit_code: i32) {
        let uid = self.store().exit(id, exit_code, self.wall());
        if let Some(uid) = uid {
            self.tell(RuntimeEventKind::Stopped, id, uid);
        }
    }

    /// Ends a container after a while, as its program would.
    fn schedule_exit(&self, id: ContainerId, exit_code: i32, after: Duration) {
        let me = self.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(runtime) = me.upgrade() {
                runtime.kill_container(&id, exit_code);
            }
        });
    }

    fn wall(&self) -> core_types::WallTime {
        ports::Clock::wall(self.clock.as_ref())
    }

    fn tell(&self, kind: RuntimeEventKind, id: &ContainerId, uid: PodUid) {
        if self.faults.loses_event() {
            return;
        }
        let event = RuntimeEvent { kind, container_id: id.clone(), pod_uid: Some(uid) };
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
    }

    fn listen(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_BUFFER);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Runs a call through its fate: `act` takes effect, or not, and the caller is told, or not.
    async fn call<T>(&self, name: &'static str, act: impl FnOnce() -> RuntimeResult<T>) -> RuntimeResult<T> {
        self.store().count_call(name);
        let fate = self.faults.draw();
        tracing::debug!(at = ?self.clock.last(), call = name, ?fate, "runtime");
        match fate {
            Fate::Fine => act(),
            Fate::Slow(wait) => {
                tokio::time::sleep(wait).await;
                act()
            }
            Fate::Fails => Err(RuntimeError::Unavailable {
                call: name,
                endpoint: "sim".into(),
                message: "simulated failure".into(),
            }),
            Fate::WorksButTimesOut => {
                let _lost_answer = act();
                tokio::time::sleep(CALL_DEADLINE).await;
                Err(RuntimeError::Timeout { call: name, after: CALL_DEADLINE })
            }
        }
    }

    /// A read: it cannot take effect, so a lost answer is only a late failure.
    async fn read<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&Store) -> RuntimeResult<T>,
    ) -> RuntimeResult<T> {
        self.call(name, || act(&self.store())).await
    }
}
