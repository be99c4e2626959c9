//! Files of container logs in memory, with writers that hold their file open as a runtime does: a renamed file is written on
//! until the log is opened anew. Each writer has some megabytes to write, in the course of which its log is rotated.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use core_logs::Plan;
use core_types::MonoTime;
use ports::log_files::{LogLook, LogSizes, PlanRotation};
use ports::{Clock, ContainerLogFiles, FileError};

use super::pod_files::{POD_LOGS_DIR, component, io_error, refused};
use crate::clock::SimClock;
use crate::host::lock;

/// How fast a container writes.
const BYTES_PER_SEC: u64 = 2 << 20;
/// How much a container writes that is not quiet: seven times the default cap.
pub const WRITTEN_BYTES: u64 = 70 << 20;

/// How long a write may go unnoticed.
const NOTICE: std::time::Duration = std::time::Duration::from_secs(1);

/// Log files of the simulated node.
#[derive(Debug)]
pub struct FakeLogFiles {
    clock: Arc<SimClock>,
    logs: Mutex<Logs>,
}

#[derive(Debug, Default)]
struct Logs {
    /// Sizes by path.
    files: BTreeMap<String, u64>,
    /// Sizes at the last look that asked for the next write, of logs that were not written since.
    armed: BTreeMap<String, u64>,
    /// By path of the log.
    writers: BTreeMap<String, Writer>,
}

impl Logs {
    /// Renames a file that its writer has open still.
    fn rename(&mut self, from: &str, to: String) -> Result<(), FileError> {
        let error = |kind| Err(io_error("rename to", Path::new(&to), kind));
        if self.files.contains_key(&to) {
            return error(ErrorKind::AlreadyExists);
        }
        let Some(size) = self.files.remove(from) else { return error(ErrorKind::NotFound) };
        for writer in self.writers.values_mut().filter(|writer| writer.file == from) {
            writer.file.clone_from(&to);
        }
        self.files.insert(to, size);
        Ok(())
    }
}

#[derive(Debug)]
struct Writer {
    /// The file it has open, under the name that the file has now.
    file: String,
    wrote_at: MonoTime,
    left: u64,
}

impl FakeLogFiles {
    /// No logs.
    pub fn new(clock: Arc<SimClock>) -> Self {
        Self { clock, logs: Mutex::default() }
    }

    /// A container starts to write so much.
    pub fn start(&self, log: &str, bytes: u64) {
        let now = self.clock.now();
        let mut logs = self.written();
        logs.files.insert(log.to_owned(), 0);
        logs.writers.insert(log.to_owned(), Writer { file: log.to_owned(), wrote_at: now, left: bytes });
    }

    /// The highest number of a container's logs. `dir` is their directory.
    pub(super) fn highest_number(&self, dir: &Path) -> Option<u32> {
        lock(&self.logs).files.keys().filter_map(|path| number_in(dir, path)).max()
    }

    /// Removes a container's logs except these numbers.
    pub(super) fn keep_numbers(&self, dir: &Path, keep: &[u32]) {
        let goes = |path: &str| number_in(dir, path).is_some_and(|number| !keep.contains(&number));
        self.written().files.retain(|path, _| !goes(path));
    }

    /// Removes all logs of a pod. `dir` is their directory.
    pub(super) fn remove_below(&self, dir: &Path) {
        self.written().files.retain(|path, _| !Path::new(path).starts_with(dir));
    }

    /// The runtime opens a log anew.
    pub fn reopen(&self, log: &str) {
        let mut logs = self.written();
        logs.files.entry(log.to_owned()).or_default();
        if let Some(writer) = logs.writers.get_mut(log) {
            log.clone_into(&mut writer.file);
        }
    }

    /// Sizes of all files of a log; the current one comes first.
    pub fn of_log(&self, log: &str) -> BTreeMap<String, u64> {
        let of_log =
            |path: &str| path.strip_prefix(log).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let logs = self.written();
        logs.files.iter().filter(|(path, _)| of_log(path)).map(|(path, size)| (path.clone(), *size)).collect()
    }

    /// True when the container writes into the file that has the log's name.
    pub fn is_written(&self, log: &str) -> bool {
        self.written().writers.get(log).is_some_and(|writer| writer.file == log)
    }

    /// The files, with everything in them that was written until now.
    fn written(&self) -> MutexGuard<'_, Logs> {
        let now = self.clock.now();
        let mut logs = lock(&self.logs);
        let Logs { files, writers, .. } = &mut *logs;
        for writer in writers.values_mut() {
            let secs = now.since(writer.wrote_at).as_secs_f64();
            let bytes = ((secs * BYTES_PER_SEC as f64) as u64).min(writer.left);
            writer.wrote_at = now;
            writer.left -= bytes;
            if let Some(size) = files.get_mut(&writer.file) {
                *size += bytes;
            }
        }
        logs
    }
}

/// `N` of a file `N.log`, rotated or not, in this directory.
fn number_in(dir: &Path, path: &str) -> Option<u32> {
    let name = Path::new(path).strip_prefix(dir).ok()?.to_str()?;
    name.split_once(".log")?.0.parse().ok()
}

/// The directory of a log.
fn dir_of(log: &str) -> Result<&Path, FileError> {
    let relative = Path::new(log).strip_prefix(POD_LOGS_DIR).ok();
    match relative.filter(|relative| relative.components().count() > 1).and(Path::new(log).parent()) {
        Some(dir) => Ok(dir),
        None => Err(refused(log, format!("it is not below {POD_LOGS_DIR}"))),
    }
}

fn beside(log: &str, name: &str) -> Result<String, FileError> {
    Ok(component(dir_of(log)?, name)?.to_string_lossy().into_owned())
}

#[async_trait]
impl ContainerLogFiles for FakeLogFiles {
    async fn sizes(&self, looks: &[LogLook]) -> Result<LogSizes, FileError> {
        let mut logs = self.written();
        for look in looks.iter().filter(|look| look.tells_write) {
            if let Some(size) = logs.files.get(&look.log).copied() {
                logs.armed.insert(look.log.clone(), size);
            }
        }
        let size = |look: &LogLook| dir_of(&look.log).map(|_| logs.files.get(&look.log).copied());
        Ok(looks.iter().map(size).collect())
    }

    async fn written(&self) -> Vec<String> {
        loop {
            let found = {
                let mut logs = self.written();
                let Logs { files, armed, .. } = &mut *logs;
                let is_written =
                    |(log, seen): (&String, &u64)| files.get(log).is_some_and(|size| size != seen);
                let found: Vec<String> =
                    armed.iter().filter(|one| is_written(*one)).map(|(log, _)| log.clone()).collect();
                for log in &found {
                    armed.remove(log);
                }
                found
            };
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(NOTICE).await;
        }
    }

    async fn move_aside(&self, log: &str, plan: PlanRotation) -> Result<Plan, FileError> {
        let dir = dir_of(log)?;
        let mut logs = self.written();
        let names = logs.files.keys().filter_map(|path| Path::new(path).strip_prefix(dir).ok()?.to_str());
        let plan = plan(&names.map(str::to_owned).collect::<Vec<_>>());
        for name in &plan.remove {
            logs.files.remove(&beside(log, name)?);
        }
        logs.rename(log, beside(log, &plan.rename_to)?)?;
        Ok(plan)
    }

    async fn move_back(&self, log: &str, name: &str) -> Result<(), FileError> {
        self.written().rename(&beside(log, name)?, log.to_owned())
    }

    async fn compress(&self, log: &str, name: &str) -> Result<(), FileError> {
        let path = beside(log, name)?;
        let mut logs = self.written();
        if let Some(size) = logs.files.remove(&path) {
            logs.files.insert(format!("{path}.gz"), size / 10);
        }
        Ok(())
    }
}
