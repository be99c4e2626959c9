//! Tells of processes that the kernel killed for lack of memory: which, in which container, how much that used (CONTRACT 5.13).
//! Processes that a container has started count like its first one.
//!
//! Reads: the kernel's log, from where an earlier life of the agent stopped; the node view for the container. Publishes: what
//! happened to a container, to the sync loop; of a process outside of all containers an event of the node. Keeps its place in
//! the log in a file.

use std::sync::Arc;
use std::time::Duration;

use core_reclaim::{OomKill, OomParser};
use core_types::view::NodeView;
use core_types::{ContainerId, MonoTime, PodUid};
use ports::kernel_log::{KernelLines, KernelLogError, LogPlace};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::events::{Happening, Recorder};
use crate::outside::Outside;
use crate::{checkpoints, task, timer};

/// The file with the place in the log.
const PLACE: &str = "oom_watch";
/// Wait before the log is opened again; it does not get better by haste.
const RETRY: Duration = Duration::from_secs(30);
/// How long a kill waits for the view to show its container: a container can be killed before it was seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container in which a process was killed.
#[derive(Debug)]
pub(crate) struct OomNews {
    pub(crate) uid: PodUid,
    pub(crate) container: ContainerId,
    /// Sentence for people.
    pub(crate) message: String,
}

/// The task.
pub(crate) struct OomWatch {
    pub(crate) outside: Outside,
    pub(crate) recorder: Recorder,
    pub(crate) news: mpsc::Sender<OomNews>,
}

impl OomWatch {
    /// Runs until it is stopped.
    pub(crate) async fn run(self, mut view: watch::Receiver<Arc<NodeView>>, stop: CancellationToken) {
        let work = async {
            // What happened while the agent was away is told once the containers are known.
            if view.wait_for(|view| view.runtime.last_relist.is_some()).await.is_err() {
                return;
            }
            let mut place = self.load().await;
            let mut is_told = false;
            loop {
                if let Err(error) = self.follow(&mut place, &mut view).await
                    && !is_told
                {
                    is_told = true;
                    tracing::error!("{error}");
                }
                let due: MonoTime = self.outside.clock.now() + RETRY;
                timer::until(self.outside.clock.as_ref(), Some(due)).await;
            }
        };
        task::until_stopped(&stop, work).await;
    }

    /// Follows the log until it cannot be read any more.
    async fn follow(
        &self,
        place: &mut Option<LogPlace>,
        view: &mut watch::Receiver<Arc<NodeView>>,
    ) -> Result<(), KernelLogError> {
        let mut lines: Box<dyn KernelLines> = self.outside.usage.machine.log.open(place.as_ref()).await?;
        if place.as_ref().is_none_or(|place| place.boot_id != lines.begins_after().boot_id) {
            let beginning = lines.begins_after().clone();
            self.store(&beginning).await;
            *place = Some(beginning);
        }
        let mut parser = OomParser::default();
        loop {
            let line = lines.next().await?;
            let kill = parser.line(&line.text);
            *place = Some(line.place);
            if let Some(kill) = kill {
                self.tell(&kill, view).await;
                if let Some(place) = place {
                    self.store(place).await;
                }
            }
        }
    }

    async fn tell(&self, kill: &OomKill, view: &mut watch::Receiver<Arc<NodeView>>) {
        if kill.is_of_system() {
            return self.recorder.node(&Happening::warning("SystemOOM", kill.system_text()));
        }
        let id = kill.container_id();
        // It is somebody else's when it never shows.
        let shown = view.wait_for(|view| owner(view, id).is_some());
        let found = match tokio::time::timeout(PATIENCE, shown).await {
            Ok(Ok(node)) => owner(&node, id),
            Ok(Err(_)) | Err(_) => None,
        };
        let Some((uid, container)) = found else {
            return tracing::debug!(cgroup = kill.task_cgroup, "a process was killed in a cgroup of no pod");
        };
        let news = OomNews { uid, container, message: kill.text() };
        if self.news.send(news).await.is_err() {
            tracing::debug!("the sync loop has ended; kills are told by the next life of the agent");
        }
    }

    async fn load(&self) -> Option<LogPlace> {
        checkpoints::load_json(&*self.outside.checkpoints, PLACE, "kills of earlier are not told").await
    }

    async fn store(&self, place: &LogPlace) {
        let without = "a restart may tell of a kill twice";
        checkpoints::store_json(&*self.outside.checkpoints, PLACE, without, place).await;
    }
}

fn owner(node: &NodeView, id: &str) -> Option<(PodUid, ContainerId)> {
    node.observed.iter().find_map(|(uid, pod)| {
        let container = pod.containers.iter().find(|container| container.id().as_str() == id)?;
        Some((uid.clone(), container.id().clone()))
    })
}
