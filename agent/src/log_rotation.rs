//! Rotates the logs of running containers (CONTRACT 3.28).
//!
//! Reads the node view for what runs and where its log is, the sizes of these logs when [`Growth`] says that one may be
//! full, and the first write after each look, so that a log that rests costs nothing and one that bursts is seen. Publishes nothing. What a rotation does is [`core_logs::plan`]'s to say.
//!
//! ```text
//! size at the cap > remove what is too much > rename the log > ReopenContainerLog > compress the older file, in its turn
//!                                                 ^ renamed back when the runtime refuses
//! ```
//! One rotation at most is in flight per container; compressing waits for one of `containerLogMaxWorkers` places and never
//! delays a rotation. While no container runs the task sleeps. Ended containers are not rotated; their files go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core_logs::{Growth, LogPolicy};
use core_types::runtime::ContainerState;
use core_types::view::NodeView;
use core_types::{ContainerId, MonoTime};
use ports::log_files::LogLook;
use ports::{FileError, RuntimeError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::calm_view::CalmView;
use crate::outside::Outside;
use crate::settings::LogRotation;
use crate::timer;

/// Why a log was not rotated.
#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("the runtime did not open a new log, and the old one has its name again: {0}")]
    Reopen(#[source] RuntimeError),
    #[error("the runtime did not open a new log ({cause}), and the old one stays {renamed}: {source}")]
    RenameBack { cause: RuntimeError, renamed: String, source: FileError },
}

/// The log of one running container.
#[derive(Debug)]
struct Watched {
    log: String,
    growth: Growth,
    is_in_work: bool,
    has_ended: bool,
}

impl Watched {
    fn look(&self, now: MonoTime) -> LogLook {
        LogLook { log: self.log.clone(), tells_write: self.growth.rests(now) }
    }
}

/// A file in the directory of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OldFile {
    log: String,
    name: String,
}

/// How a job ended.
enum Done {
    Rotated { id: ContainerId, log: String, result: Result<Rotated, RotationError> },
    Reopened { id: ContainerId, result: Result<(), RuntimeError> },
    Compressed { file: OldFile, result: Result<(), FileError> },
}

/// A log that begins anew.
struct Rotated {
    at: MonoTime,
    compress: Vec<String>,
}

/// The task.
pub(crate) struct LogTask {
    outside: Outside,
    rotation: LogRotation,
    watched: BTreeMap<ContainerId, Watched>,
    compressing: BTreeSet<OldFile>,
    places: Arc<Semaphore>,
    jobs: JoinSet<Done>,
}

impl LogTask {
    pub(crate) fn new(outside: Outside, rotation: LogRotation) -> Self {
        Self {
            outside,
            rotation,
            watched: BTreeMap::new(),
            compressing: BTreeSet::new(),
            places: Arc::new(Semaphore::new(rotation.workers)),
            jobs: JoinSet::new(),
        }
    }

    /// Runs until it is stopped; rotations in flight are finished then, so that no log is left without its name.
    pub(crate) async fn run(mut self, mut view: CalmView, stop: CancellationToken) {
        let files = Arc::clone(&self.outside.log_files);
        loop {
            let (clock, next_look) = (Arc::clone(&self.outside.clock), self.next_look());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.jobs.join_next() => self.finish(done),
                node = view.changed() => self.follow(&node),
                logs = files.written() => self.take_writes(&logs),
                () = timer::until(clock.as_ref(), next_look) => {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        () = self.look() => {}
                    }
                }
            }
        }
        while self.watched.values().any(|watched| watched.is_in_work) {
            match self.jobs.join_next().await {
                Some(done) => self.finish(done),
                None => return,
            }
        }
    }

    fn next_look(&self) -> Option<MonoTime> {
        let idle = self.watched.values().filter(|watched| !watched.is_in_work);
        idle.map(|watched| watched.growth.next_look()).min()
    }

    /// Watches the logs of exactly the containers that run.
    fn follow(&mut self, node: &NodeView) {
        let now = self.outside.clock.now();
        let containers = node.observed.values().flat_map(|pod| &pod.containers);
        let running: BTreeMap<&ContainerId, &str> = containers
            .filter(|container| container.state() == ContainerState::Running)
            .map(|container| (container.id(), container.status.log_path.as_str()))
            .filter(|(_, log)| !log.is_empty())
            .collect();
        self.watched.retain(|id, watched| {
            watched.has_ended = !running.contains_key(id);
            watched.is_in_work || !watched.has_ended
        });
        for (id, log) in running {
            self.watched.entry(id.clone()).or_insert_with(|| Watched {
                log: log.to_owned(),
                growth: Growth::new(now),
                is_in_work: false,
                has_ended: false,
            });
        }
    }

    fn take_writes(&mut self, logs: &[String]) {
        let now = self.outside.clock.now();
        let logs: BTreeSet<&str> = logs.iter().map(String::as_str).collect();
        for watched in self.watched.values_mut().filter(|watched| logs.contains(watched.log.as_str())) {
            watched.growth.written(now, &self.rotation.policy);
        }
    }

    /// Looks at the logs that are due, and at those that may join them.
    async fn look(&mut self) {
        let now = self.outside.clock.now();
        let is_due = |watched: &Watched| !watched.is_in_work && watched.growth.may_join(now);
        let due = self.watched.iter().filter(|(_, watched)| is_due(watched));
        let (ids, looks): (Vec<_>, Vec<_>) = due.map(|(id, watched)| (id.clone(), watched.look(now))).unzip();
        let sizes = self.outside.log_files.sizes(&looks).await;
        let now = self.outside.clock.now();
        let sizes = match sizes {
            Ok(sizes) => sizes,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the sizes of container logs; it is tried again");
                for id in ids {
                    self.watched
                        .entry(id)
                        .and_modify(|watched| watched.growth.failed(now, &self.rotation.policy));
                }
                return;
            }
        };
        for (id, size) in ids.into_iter().zip(sizes) {
            self.looked(id, size, now);
        }
    }

    fn looked(&mut self, id: ContainerId, size: Result<Option<u64>, FileError>, now: MonoTime) {
        let policy = &self.rotation.policy;
        let Some(watched) = self.watched.get_mut(&id) else { return };
        match size {
            Ok(Some(size)) => {
                watched.growth.looked(size, now, policy);
                if watched.growth.is_full(policy) {
                    self.rotate(id);
                }
            }
            Ok(None) => {
                watched.is_in_work = true;
                let runtime = Arc::clone(&self.outside.runtime);
                self.jobs.spawn(async move {
                    let result = runtime.reopen_container_log(&id).await;
                    Done::Reopened { id, result }
                });
            }
            Err(error) => {
                watched.growth.failed(now, policy);
                tracing::warn!(container = %id, %error, "cannot look at the size of a container's log");
            }
        }
    }

    fn rotate(&mut self, id: ContainerId) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        watched.is_in_work = true;
        let log = watched.log.clone();
        let of_log = self.compressing.iter().filter(|file| file.log == log);
        let compressing: Vec<_> = of_log.map(|file| file.name.clone()).collect();
        let (outside, max_files) = (self.outside.clone(), self.rotation.policy.max_files);
        self.jobs.spawn(async move {
            let result = rotate(&outside, &id, &log, max_files, &compressing).await;
            Done::Rotated { id, log, result }
        });
    }

    fn finish(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Rotated { id, log, result: Ok(rotated) }) => {
                tracing::debug!(container = %id, log, "rotated a log");
                self.end_work(&id, |growth, policy| growth.rotated(rotated.at, policy));
                let files = rotated.compress.into_iter().map(|name| OldFile { log: log.clone(), name });
                files.for_each(|file| self.compress(file));
            }
            Ok(Done::Rotated { id, log, result: Err(error) }) => {
                tracing::warn!(container = %id, log, %error, "cannot rotate a log; it is tried again");
                self.leave_alone(&id);
            }
            Ok(Done::Reopened { id, result }) => {
                match result {
                    Ok(()) => tracing::warn!(container = %id, "the log was missing and was opened anew"),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => tracing::warn!(container = %id, %error, "cannot open the missing log anew"),
                }
                self.leave_alone(&id);
            }
            Ok(Done::Compressed { file, result }) => {
                if let Err(error) = result {
                    let OldFile { log, name } = &file;
                    tracing::warn!(log, name, %error, "cannot compress an old log; the next rotation tries again");
                }
                self.compressing.remove(&file);
            }
            Err(broken) => tracing::error!(%broken, "a job of the log rotation ended in an unforeseen way"),
        }
    }

    fn leave_alone(&mut self, id: &ContainerId) {
        let now = self.outside.clock.now();
        self.end_work(id, |growth, policy| growth.failed(now, policy));
    }

    /// A log that is in no work any more goes on as `then` says, or is let go when its container has ended meanwhile.
    fn end_work(&mut self, id: &ContainerId, then: impl FnOnce(&mut Growth, &LogPolicy)) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        if watched.has_ended {
            self.watched.remove(id);
            return;
        }
        watched.is_in_work = false;
        then(&mut watched.growth, &self.rotation.policy);
    }

    fn compress(&mut self, file: OldFile) {
        if !self.compressing.insert(file.clone()) {
            return;
        }
        let (files, places) = (Arc::clone(&self.outside.log_files), Arc::clone(&self.places));
        self.jobs.spawn(async move {
            let _place = places.acquire_owned().await;
            let result = files.compress(&file.log, &file.name).await;
            Done::Compressed { file, result }
        });
    }
}

/// One rotation, up to the point where the runtime writes into a new file.
async fn rotate(
    outside: &Outside,
    id: &ContainerId,
    log: &str,
    max_files: usize,
    compressing: &[String],
) -> Result<Rotated, RotationError> {
    let (files, now) = (&outside.log_files, outside.clock.wall());
    let (name, compressing) = (log.rsplit('/').next().unwrap_or(log).to_owned(), compressing.to_vec());
    let plan = Box::new(move |names: &[String]| core_logs::plan(&name, names, max_files, &compressing, now));
    let plan = files.move_aside(log, plan).await?;
    match outside.runtime.reopen_container_log(id).await {
        Ok(()) => Ok(Rotated { at: outside.clock.now(), compress: plan.compress }),
        Err(cause) => match files.move_back(log, &plan.rename_to).await {
            Ok(()) => Err(RotationError::Reopen(cause)),
            Err(source) => Err(RotationError::RenameBack { cause, renamed: plan.rename_to, source }),
        },
    }
}
