//! What the runtime's events told of something created or started that no picture shows yet, and when it is looked at for that.
//!
//! A pod's sandbox and containers come one soon after the other, mostly by our own hand, and whoever starts them asks for a look at
//! the end: that picture then answers all that was told meanwhile, and what is told after it of things that it shows.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::runtime::{ContainerState, RuntimeEvent, RuntimeEventKind};
use core_types::{ContainerId, MonoTime, ObservedPod, PodUid};

/// How long a look waits that is made for such an event. While a pod is being brought up, this is how old its picture may become.
const GATHER: Duration = Duration::from_secs(1);

/// What is told and not seen, by pod.
#[derive(Debug, Default)]
pub(crate) struct Hints(BTreeMap<PodUid, Told>);

#[derive(Debug)]
struct Told {
    look_at: MonoTime,
    of: Vec<(ContainerId, RuntimeEventKind)>,
}

impl Hints {
    /// An event told of something created or started. `picture` is the pod's last one.
    pub(crate) fn tell(
        &mut self,
        now: MonoTime,
        uid: &PodUid,
        event: &RuntimeEvent,
        picture: Option<&ObservedPod>,
    ) {
        let RuntimeEvent { container_id, kind, .. } = event;
        if picture.is_some_and(|picture| shows(picture, container_id, *kind)) {
            return;
        }
        let told =
            self.0.entry(uid.clone()).or_insert_with(|| Told { look_at: now + GATHER, of: Vec::new() });
        told.of.push((container_id.clone(), *kind));
    }

    /// A new picture of a pod: what it shows needs no look any more.
    pub(crate) fn see(&mut self, picture: &ObservedPod) {
        if let Some(told) = self.0.get_mut(&picture.uid) {
            told.of.retain(|(id, kind)| !shows(picture, id, *kind));
            if told.of.is_empty() {
                self.0.remove(&picture.uid);
            }
        }
    }

    /// A look at the pod begins, and answers what was told so far.
    pub(crate) fn begin(&mut self, uid: &PodUid) {
        self.0.remove(uid);
    }

    /// A look at everything begins.
    pub(crate) fn begin_all(&mut self) {
        self.0.clear();
    }

    /// The looks that are due for what was told.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (MonoTime, &PodUid)> {
        self.0.iter().map(|(uid, told)| (told.look_at, uid))
    }
}

/// Whether a picture shows what an event tells: then the event came after what it tells was seen.
fn shows(picture: &ObservedPod, id: &ContainerId, kind: RuntimeEventKind) -> bool {
    match picture.containers.iter().find(|container| container.id() == id) {
        Some(container) => kind == RuntimeEventKind::Created || container.state() != ContainerState::Created,
        None => picture.sandboxes.iter().any(|sandbox| sandbox.id().as_str() == id.as_str()),
    }
}
