//! What pods store on the node (`ports::LocalStorage`): log files, the hosts file, volumes (CONTRACT 5.14).
//!
//! ```text
//! asked > volumes whose figures are old > bounded pool, a few at a time > book > last figures of all
//!                                         (goes on behind the asker)
//! ```
//! Reads directories beneath the pod's own and those of logs, through directory handles; follows no symlink, enters no
//! other mount, changes nothing. A volume that hangs has its last figures and holds up no other; it is named in the log,
//! once.

mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use core_stats::{DiskUse, PodFilesUse, SizeBook, VolumeUse};
use core_types::{PodKey, PodUid};
use futures_util::future::join_all;
use ports::stats::VolumeTarget;
use ports::{Clock, FileError, LocalStorage};
use rustix::fs::FileType;

use crate::beneath::{Dir, component};
use crate::blocking::Blocking;
use crate::cgroup_stats::filesystem_sample;
use crate::error::{AtPath, no_result};

/// Whoever asks waits so long for volumes that are being measured, and then takes the figures there are.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Counting one volume ends after this; some millions of files, when the kernel has them at hand.
const COUNT_AT_MOST: Duration = Duration::from_secs(10);

/// A count that takes longer than this hangs in a call.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// Volumes counted at a time: it is work for the processor, and pods shall have most of that.
const COUNTERS: usize = 2;

/// Entries of a log directory that are looked at. The agent keeps some files for each container.
const MAX_LOG_FILES: usize = 10_000;

/// What pods store on this node.
pub struct HostLocalStorage {
    layout: Arc<Layout>,
    /// For logs: quick.
    looks: Blocking,
    /// For volumes.
    counts: Blocking,
    book: Book,
}

/// Where it lies, and the clock that stamps what was read.
struct Layout {
    root_dir: PathBuf,
    pod_logs_dir: PathBuf,
    clock: Arc<dyn Clock>,
}

/// The last figures of each volume.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<SizeBook<VolumeUse>>>);

impl Book {
    fn lock(&self) -> MutexGuard<'_, SizeBook<VolumeUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostLocalStorage {
    /// Pods below this root directory, logs below that directory. Neither must be there yet.
    pub fn new(root_dir: &Path, pod_logs_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let (root_dir, pod_logs_dir) = (root_dir.to_path_buf(), pod_logs_dir.to_path_buf());
        Self {
            layout: Arc::new(Layout { root_dir, pod_logs_dir, clock }),
            looks: Blocking::new(ANSWER_WITHIN),
            counts: Blocking::with_workers(HANGS_AFTER, COUNTERS),
            book: Book::default(),
        }
    }

    /// Counts a volume that the book has as begun, and writes the figures down, also when nobody waits any more.
    async fn count(&self, target: &VolumeTarget) {
        let (layout, wanted) = (Arc::clone(&self.layout), target.clone());
        let begun = Begun { book: self.book.clone(), name: name(target), is_done: false };
        let work = move || {
            let result = layout.volume(&wanted);
            if let Err(error) = &result {
                tracing::debug!(%error, "a volume cannot be measured");
            }
            begun.end(layout.clock.as_ref(), result.ok().flatten());
        };
        if let Err(error) = self.counts.run(&name(target), work).await {
            tracing::debug!(%error, volume = name(target), "a volume is not measured yet");
        }
    }

    fn tell_hung(&self, target: &VolumeTarget) {
        let now = self.layout.clock.now();
        let hung = self.book.lock().newly_hung(&name(target), now, HANGS_AFTER);
        if let Some(since) = hung {
            let path = self.layout.root_dir.join(relative(target));
            tracing::warn!(
                volume = target.name, pod_uid = %target.uid, path = %path.display(), ?since,
                "the file system of a volume hangs; its use is shown as it was until it answers"
            );
        }
    }
}

/// A count that the book has as begun. It is given up when the work never ran or broke down.
struct Begun {
    book: Book,
    name: String,
    is_done: bool,
}

impl Begun {
    fn end(mut self, clock: &dyn Clock, result: Option<VolumeUse>) {
        self.is_done = true;
        self.book.lock().end(&self.name, clock.now(), result);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.is_done {
            self.book.lock().give_up(&self.name);
        }
    }
}

#[async_trait]
impl LocalStorage for HostLocalStorage {
    async fn pod_files(&self, key: &PodKey, uid: &PodUid) -> Result<PodFilesUse, FileError> {
        let (layout, wanted, pod) = (Arc::clone(&self.layout), key.clone(), uid.clone());
        let result = self.looks.run(uid.as_str(), move || layout.pod_files(&wanted, &pod)).await;
        let path = self.layout.pod_logs_dir.join(log_dir(key, uid));
        result.unwrap_or_else(|error| Err(no_result(error, "look at the logs in", path)))
    }

    async fn volumes(&self, targets: &[VolumeTarget], max_age: Duration) -> Vec<Option<VolumeUse>> {
        let due: Vec<&VolumeTarget> = {
            let (now, mut book) = (self.layout.clock.now(), self.book.lock());
            let wanted: std::collections::BTreeSet<String> = targets.iter().map(name).collect();
            book.keep_only(|name| wanted.contains(name));
            targets.iter().filter(|target| book.begin(&name(target), now, max_age)).collect()
        };
        let counts = join_all(due.into_iter().map(|target| self.count(target)));
        // Those that do not end in time go on by themselves and are there for the next asker.
        let _ = tokio::time::timeout(ANSWER_WITHIN, counts).await;
        targets.iter().for_each(|target| self.tell_hung(target));
        let book = self.book.lock();
        targets.iter().map(|target| book.last(&name(target))).collect()
    }
}

fn name(target: &VolumeTarget) -> String {
    format!("{}/{}/{}", target.uid, target.plugin.dir_name(), target.name)
}

/// Path of a volume below the root directory.
fn relative(target: &VolumeTarget) -> PathBuf {
    let pod = Path::new("pods").join(target.uid.as_str());
    pod.join("volumes").join(target.plugin.dir_name()).join(&target.name)
}

/// Name of the directory with a pod's logs.
fn log_dir(key: &PodKey, uid: &PodUid) -> String {
    format!("{}_{}_{uid}", key.namespace, key.name)
}

impl Layout {
    /// Counts a volume; `None` when it is not there.
    fn volume(&self, target: &VolumeTarget) -> Result<Option<VolumeUse>, FileError> {
        let path = self.root_dir.join(relative(target));
        for name in [target.uid.as_str(), &target.name] {
            component(&path, name)?;
        }
        let Some(dir) = Dir::open(&self.root_dir)?.find(relative(target))? else { return Ok(None) };
        let taken_at = self.clock.wall();
        let stat = rustix::fs::fstatvfs(dir.fd()).at("read the size of the file system of", &path)?;
        let (used, coverage) = tree::count(&dir, self.clock.as_ref(), COUNT_AT_MOST)?;
        Ok(Some(VolumeUse { taken_at, used, coverage, filesystem: filesystem_sample(&stat, taken_at) }))
    }

    fn pod_files(&self, key: &PodKey, uid: &PodUid) -> Result<PodFilesUse, FileError> {
        let mut found = PodFilesUse { taken_at: self.clock.wall(), ..PodFilesUse::default() };
        let name = log_dir(key, uid);
        component(&self.pod_logs_dir, &name)?;
        if let Some(pod) = find(&self.pod_logs_dir, &name)? {
            found.pod_logs = files(&pod)?;
            for (name, file_type) in pod.some_entries(MAX_LOG_FILES)? {
                if file_type == FileType::Directory
                    && let (Some(dir), Some(name)) = (pod.find(&name)?, name.to_str())
                {
                    found.container_logs.insert(name.to_owned(), files(&dir)?);
                }
            }
        }
        let pod = Path::new("pods").join(component(&self.root_dir, uid.as_str())?);
        if let Some(pod) = find(&self.root_dir, pod)? {
            let hosts = pod.stat_entry("etc-hosts")?;
            found.etc_hosts = hosts.map(|stat| tree::use_of(&stat));
        }
        Ok(found)
    }
}

/// A directory below one that may not be there yet.
fn find(parent: &Path, relative: impl AsRef<Path>) -> Result<Option<Dir>, FileError> {
    match parent.exists() {
        true => Dir::open(parent)?.find(relative),
        false => Ok(None),
    }
}

/// The files of one directory, without those below.
fn files(dir: &Dir) -> Result<DiskUse, FileError> {
    let mut sum = DiskUse::default();
    for (name, file_type) in dir.some_entries(MAX_LOG_FILES)? {
        if file_type != FileType::Directory
            && let Some(stat) = dir.stat_entry(&name)?
        {
            sum += tree::use_of(&stat);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
