//! What a watcher of the API server sees of the pods, with the time at which it saw it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use ports::ObjectEvent;
use tokio::sync::Notify;

use crate::clock::now;

/// One pod's life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Before its creation was asked for.
    pub(crate) asked_at: Instant,
    /// When Ready was True first.
    pub(crate) ready_at: Option<Instant>,
    /// When it was not there any more.
    pub(crate) gone_at: Option<Instant>,
    /// Whether Ready is True now.
    pub(crate) is_ready: bool,
    /// How often Ready went from True to something else.
    pub(crate) flips: u32,
    /// Ends of containers so far, and when the last one was seen.
    pub(crate) ends: (i32, Option<Instant>),
    /// `limits.cpu` of the first container as its status has it, and when it last changed.
    pub(crate) cpu_limit: (String, Option<Instant>),
}

/// All lives by name.
pub(crate) type Lives = BTreeMap<String, Life>;

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    lives: Mutex<Lives>,
    changed: Notify,
}

impl Book {
    /// Opens a page for a pod that is about to be created.
    pub(crate) fn expect(&self, name: &str) {
        let life = Life {
            asked_at: now(),
            ready_at: None,
            gone_at: None,
            is_ready: false,
            flips: 0,
            ends: (0, None),
            cpu_limit: (String::new(), None),
        };
        self.lives().insert(name.to_owned(), life);
    }

    /// What is known now.
    pub(crate) fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `holds` gives something.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Lives) -> Option<T>,
    ) -> Result<T> {
        let deadline = tokio::time::Instant::from_std(now() + limit);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = holds(&self.lives()) {
                return Ok(found);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!("waited {limit:?} for {what}");
            }
        }
    }

    /// Notes what the events tell, as long as there are some.
    pub(crate) async fn follow(self: Arc<Self>, mut events: impl Stream<Item = ObjectEvent<Pod>> + Unpin) {
        while let Some(event) = events.next().await {
            match event {
                ObjectEvent::Replaced(pods) => pods.iter().for_each(|pod| self.seen(pod)),
                ObjectEvent::Applied(pod) => self.seen(&pod),
                ObjectEvent::Deleted(pod) => self.gone(&pod),
                ObjectEvent::Interrupted(error) => eprintln!("the watch of pods was interrupted: {error}"),
            }
            self.changed.notify_waiters();
        }
    }

    fn seen(&self, pod: &Pod) {
        let seen_at = now();
        let mut lives = self.lives();
        let Some(life) = pod.metadata.name.as_ref().and_then(|name| lives.get_mut(name)) else { return };
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is_ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        // A pod that is being deleted is not ready any more, and that is as it should be.
        let leaves = pod.metadata.deletion_timestamp.is_some();
        if life.is_ready && !is_ready && !leaves {
            life.flips += 1;
        }
        life.is_ready = is_ready;
        if is_ready {
            life.ready_at.get_or_insert(seen_at);
        }
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let ends = containers.iter().map(ends).sum();
        if ends > life.ends.0 {
            life.ends = (ends, Some(seen_at));
        }
        let limit = containers.first().and_then(|container| {
            let limits = container.resources.as_ref()?.limits.as_ref()?;
            limits.get("cpu").map(|quantity| quantity.0.clone())
        });
        if let Some(limit) = limit.filter(|limit| *limit != life.cpu_limit.0) {
            life.cpu_limit = (limit, Some(seen_at));
        }
    }

    fn gone(&self, pod: &Pod) {
        let mut lives = self.lives();
        if let Some(life) = pod.metadata.name.as_ref().and_then(|name| lives.get_mut(name)) {
            life.gone_at = Some(now());
        }
    }
}

/// Ends of a container that its status tells of.
fn ends(status: &ContainerStatus) -> i32 {
    let has_ended = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    status.restart_count + i32::from(has_ended)
}
