//! The files of container logs, for their rotation: sizes, names, removing, renaming, gzip (CONTRACT 3.28).
//!
//! Reads and changes only regular files of directories beneath `podLogsDir`, through directory handles ([`crate::beneath`]).
//! Every call runs on the bounded pool with a deadline. Looks at sizes and the short operations have a pool of their own, so
//! that none of them waits behind a compression.

mod writes;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_logs::Plan;
use flate2::Compression;
use flate2::write::GzEncoder;
use ports::log_files::{LogLook, LogSizes, PlanRotation};
use ports::{ContainerLogFiles, FileError};
use rustix::fs::{FileType, Mode, OFlags};

use self::writes::Writes;
use crate::beneath::{Dir, component};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result, refused};

/// Compressing takes a second for some hundred megabytes; caps of many gigabytes on slow disks take minutes.
const COMPRESS_DEADLINE: Duration = Duration::from_secs(600);

/// The nice value of the thread that compresses.
const LOWEST_PRIORITY: i32 = 19;

/// The files of container logs on this node.
#[derive(Debug)]
pub struct HostContainerLogFiles {
    root: Arc<Root>,
    writes: Option<Arc<Writes>>,
    short: Blocking,
    compressions: Blocking,
}

/// `podLogsDir` as the settings name it, which is how runtimes tell paths of logs.
#[derive(Debug)]
struct Root(PathBuf);

impl HostContainerLogFiles {
    /// The logs below this directory, which may not be there yet. Must be called inside a tokio runtime.
    pub fn new(pod_logs_dir: &Path) -> Self {
        Self {
            root: Arc::new(Root(pod_logs_dir.to_path_buf())),
            writes: Writes::start(),
            short: Blocking::new(FILE_DEADLINE),
            compressions: Blocking::new(COMPRESS_DEADLINE),
        }
    }

    async fn in_dir<T: Send + 'static>(
        &self,
        log: &str,
        operation: &'static str,
        work: impl FnOnce(&Dir) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (root, path) = (Arc::clone(&self.root), PathBuf::from(log));
        let result = self.short.run(log, move || work(&root.dir_of(&path)?)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, PathBuf::from(log))))
    }
}

impl Root {
    /// The directory of a log.
    fn dir_of(&self, log: &Path) -> Result<Dir, FileError> {
        Dir::open(&self.0)?.dir(self.relative(log)?.parent().unwrap_or(Path::new("")))
    }

    /// Path of a log below the root.
    fn relative<'a>(&self, log: &'a Path) -> Result<&'a Path, FileError> {
        log.strip_prefix(&self.0)
            .ok()
            .filter(|relative| relative.components().count() > 1)
            .ok_or_else(|| refused(log, format!("it is not below {}", self.0.display())))
    }

    /// The sizes of logs.
    fn sizes(&self, looks: &[LogLook], writes: Option<&Writes>) -> LogSizes {
        let mut root = None;
        looks.iter().map(|look| self.size(&mut root, look, writes)).collect()
    }

    /// The size of a log, and from before that a watch on its next write. `root` is opened once for all logs.
    fn size(
        &self,
        root: &mut Option<Dir>,
        look: &LogLook,
        writes: Option<&Writes>,
    ) -> Result<Option<u64>, FileError> {
        let log = Path::new(&look.log);
        let relative = self.relative(log)?;
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(refused(log, "it names no file"));
        };
        let root = match root {
            Some(root) => root,
            None => root.insert(Dir::open(&self.0)?),
        };
        let Some(dir) = root.find(parent)? else { return Ok(None) };
        let Some(stat) = dir.stat_entry(name)? else { return Ok(None) };
        match (FileType::from_raw_mode(stat.st_mode), writes.filter(|_| look.tells_write)) {
            (FileType::RegularFile, None) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            (FileType::RegularFile, Some(writes)) => {
                let Some(file) = dir.open_file(name, OFlags::RDONLY, 0)? else { return Ok(None) };
                writes.arm(&file, log);
                Ok(Some(file.metadata().at("stat", log)?.len()))
            }
            _ => Err(refused(log, "it is not a regular file; it is not rotated")),
        }
    }
}

#[async_trait]
impl ContainerLogFiles for HostContainerLogFiles {
    async fn sizes(&self, looks: &[LogLook]) -> Result<LogSizes, FileError> {
        let (root, writes, looks) = (Arc::clone(&self.root), self.writes.clone(), looks.to_vec());
        let result = self.short.run("sizes", move || root.sizes(&looks, writes.as_deref())).await;
        result.map_err(|error| no_result(error, "read sizes of logs below", self.root.0.clone()))
    }

    async fn written(&self) -> Vec<String> {
        match &self.writes {
            Some(writes) => writes.next().await,
            None => std::future::pending().await,
        }
    }

    async fn move_aside(&self, log: &str, plan: PlanRotation) -> Result<Plan, FileError> {
        let path = PathBuf::from(log);
        self.in_dir(log, "move aside", move |dir| {
            let entries = dir.entries()?.into_iter();
            let names: Vec<_> = entries.filter_map(|(name, _)| name.into_string().ok()).collect();
            let plan = plan(&names);
            plan.remove.iter().try_for_each(|name| dir.unlink(component(dir.path(), name)?))?;
            rename(dir, file_name(&path)?, &plan.rename_to)?;
            Ok(plan)
        })
        .await
    }

    async fn move_back(&self, log: &str, name: &str) -> Result<(), FileError> {
        let (path, name) = (PathBuf::from(log), name.to_owned());
        self.in_dir(log, "give its name back to", move |dir| rename(dir, &name, file_name(&path)?)).await
    }

    async fn compress(&self, log: &str, name: &str) -> Result<(), FileError> {
        let (root, path, name) = (Arc::clone(&self.root), PathBuf::from(log), name.to_owned());
        let work = move || compress_gently(&root.dir_of(&path)?, &name);
        let result = self.compressions.run(log, work).await;
        result.unwrap_or_else(|error| Err(no_result(error, "compress an old file of", PathBuf::from(log))))
    }
}

/// Compresses on a thread of its own that gives way to all others of its priority: nobody waits for it, and a node that is busy
/// has better to do.
fn compress_gently(dir: &Dir, name: &str) -> Result<(), FileError> {
    let lowered = || {
        // A thread that may not lower itself does its work all the same.
        let _ = rustix::process::nice(LOWEST_PRIORITY);
        compress(dir, name)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("compress".to_owned());
        let thread = thread.spawn_scoped(scope, lowered).at("start a thread to compress", dir.path())?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The name of a log in its directory.
fn file_name(log: &Path) -> Result<&str, FileError> {
    log.file_name().and_then(|name| name.to_str()).ok_or_else(|| refused(log, "it names no file"))
}

/// Renames a file, but never to the name of another.
fn rename(dir: &Dir, from: &str, to: &str) -> Result<(), FileError> {
    let (from, to) = (component(dir.path(), from)?, component(dir.path(), to)?);
    match dir.stat_entry(to)? {
        None => dir.rename(from, to),
        Some(_) => Err(io::Error::from(ErrorKind::AlreadyExists)).at("rename to", &dir.path().join(to)),
    }
}

/// Replaces a file by its compressed form. What went wrong leaves the file as it was and no temporary file.
fn compress(dir: &Dir, name: &str) -> Result<(), FileError> {
    let name = component(dir.path(), name)?;
    let (temporary, compressed) = (format!("{name}.tmp"), format!("{name}.gz"));
    let Some(source) = dir.open_file(name, OFlags::RDONLY, 0)? else { return Ok(()) };
    dir.unlink(&temporary)?;
    let written =
        write_compressed(dir, source, &temporary).and_then(|()| dir.rename(&temporary, &compressed));
    match written {
        Ok(()) => dir.unlink(name),
        // Somebody removed it: the file was too much.
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => {
            dir.unlink(&temporary)?;
            Err(error)
        }
    }
}

fn write_compressed(dir: &Dir, mut source: File, temporary: &str) -> Result<(), FileError> {
    let path = dir.path().join(temporary);
    let mode = rustix::fs::fstat(&source).at("stat", &path)?.st_mode;
    let target = dir.create_new(temporary, Mode::from_raw_mode(mode).as_raw_mode())?;
    // Log text shrinks nearly as well at the fastest level, and a fast writer leaves no time for more.
    let mut encoder = GzEncoder::new(io::BufWriter::new(target), Compression::fast());
    io::copy(&mut io::BufReader::with_capacity(1 << 16, &mut source), &mut encoder)
        .at("compress to", &path)?;
    let buffered = encoder.finish().at("compress to", &path)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error).at("compress to", &path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn log_in(root: &Path) -> (PathBuf, String) {
        let dir = root.join("ns_pod_uid/main");
        fs::create_dir_all(&dir).expect("directory");
        let log = dir.join("0.log");
        fs::write(&log, "line\n").expect("log");
        (dir, log.to_str().expect("text").to_owned())
    }

    #[tokio::test]
    async fn files_of_logs_keep_the_contract() {
        let temp = tempfile::tempdir().expect("directory");
        let (_, log) = log_in(temp.path());
        ports::contract::container_log_files(&HostContainerLogFiles::new(temp.path()), &log).await;
    }

    #[tokio::test]
    async fn a_compressed_file_has_the_content_and_mode_of_the_old_one() {
        let temp = tempfile::tempdir().expect("directory");
        let (dir, log) = log_in(temp.path());
        let content: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
        fs::write(dir.join("0.log.1"), &content).expect("write");
        fs::write(dir.join("0.log.1.tmp"), "left over").expect("write");
        fs::set_permissions(dir.join("0.log.1"), fs::Permissions::from_mode(0o604)).expect("mode");
        HostContainerLogFiles::new(temp.path()).compress(&log, "0.log.1").await.expect("compress");
        let file = File::open(dir.join("0.log.1.gz")).expect("compressed");
        assert_eq!(file.metadata().expect("stat").permissions().mode() & 0o777, 0o604);
        let mut read = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut read).expect("gzip");
        assert_eq!(read, content);
        assert!(!dir.join("0.log.1").exists() && !dir.join("0.log.1.tmp").exists());
    }

    #[tokio::test]
    async fn no_link_leads_out_of_the_log_directory() {
        let temp = tempfile::tempdir().expect("directory");
        let outside = tempfile::tempdir().expect("directory");
        let (dir, log) = log_in(temp.path());
        let secret = outside.path().join("0.log");
        fs::write(&secret, "secret").expect("write");
        symlink(outside.path(), temp.path().join("away")).expect("link");
        symlink(&secret, dir.join("1.log")).expect("link");
        let files = HostContainerLogFiles::new(temp.path());
        let text = |path: PathBuf| path.to_str().expect("text").to_owned();
        let asked = [text(temp.path().join("away/0.log")), text(dir.join("1.log")), log.clone()];
        for tells_write in [false, true] {
            let looks = asked.clone().map(|log| LogLook { log, tells_write });
            let sizes = files.sizes(&looks).await.expect("sizes");
            assert!(sizes[0].is_err() && sizes[1].is_err(), "{sizes:?}");
            assert_eq!(sizes[2].as_ref().ok(), Some(&Some(5)), "one bad log is no trouble for others");
        }
        assert!(files.compress(&log, "1.log").await.is_err());
        assert_eq!(fs::read_to_string(&secret).expect("read"), "secret");
    }
}
