//! Manifest files: a directory of them, or a single file (CONTRACT 3.1).
//!
//! Reading is bounded in size and number and never blocks on what is not a regular file. One bad file is reported in its
//! place and does not hide the others. Symlinks are followed, because configuration tools lay files out with them.
//! Watching is in [`watch`].

mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ports::sources::FileHints;
use ports::{FileError, ManifestFile, ManifestFiles};
use rustix::fs::{Mode, OFlags};

use crate::beneath::{Dir, component, fd_path, read_at_most};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result, refused};
use crate::replace::{Durability, replace_file};

/// Largest manifest, upstream's bound.
const MAX_FILE_BYTES: usize = 10 << 20;

/// Bound of all manifests together: they are in memory at once. Some hundred pods need less than 4 MiB.
const MAX_TOTAL_BYTES: usize = 64 << 20;

/// Most entries of the directory that are looked at; more than a node can run pods.
const MAX_FILES: usize = 4096;

/// Manifests below one path of this node.
#[derive(Debug)]
pub struct HostManifestFiles {
    path: PathBuf,
    blocking: Arc<Blocking>,
}

impl HostManifestFiles {
    /// Manifests at `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), blocking: Arc::new(Blocking::new(FILE_DEADLINE)) }
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Path) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let path = self.path.clone();
        let result = self.blocking.run(operation, move || work(&path)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, self.path.clone())))
    }
}

#[async_trait]
impl ManifestFiles for HostManifestFiles {
    async fn read_all(&self) -> Result<Vec<ManifestFile>, FileError> {
        self.on_pool("read manifests", read_all).await
    }

    async fn watch(&self) -> Result<FileHints, FileError> {
        watch::watch(self.path.clone(), Arc::clone(&self.blocking)).await
    }

    async fn write(&self, file_name: &str, content: &[u8]) -> Result<(), FileError> {
        let (name, content) = (file_name.to_owned(), content.to_vec());
        self.on_pool("write a manifest", move |path| write(path, &name, &content)).await
    }

    async fn remove(&self, file_name: &str) -> Result<(), FileError> {
        let name = file_name.to_owned();
        self.on_pool("remove a manifest", move |path| remove(path, &name)).await
    }
}

fn read_all(path: &Path) -> Result<Vec<ManifestFile>, FileError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("stat", path),
    };
    if metadata.is_file() {
        let content = read_manifest(path);
        return Ok(content
            .map(|content| ManifestFile { path: path.to_path_buf(), content })
            .into_iter()
            .collect());
    }
    if !metadata.is_dir() {
        return Err(refused(path, "it is neither a directory nor a file"));
    }
    let mut room = MAX_TOTAL_BYTES;
    let mut found = Vec::new();
    for name in names(path)? {
        let file = path.join(name);
        let Some(mut content) = read_manifest(&file) else { continue };
        if let Ok(bytes) = &content {
            match room.checked_sub(bytes.len()) {
                Some(left) => room = left,
                None => {
                    content = Err(format!(
                        "the manifests before it have {MAX_TOTAL_BYTES} bytes together, no more are read"
                    ));
                }
            }
        }
        found.push(ManifestFile { path: file, content });
    }
    Ok(found)
}

/// Names of the entries in byte order, without those that begin with a dot.
fn names(path: &Path) -> Result<Vec<OsString>, FileError> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in std::fs::read_dir(path).at("list", path)? {
        let name = entry.at("list", path)?.file_name();
        if !crate::beneath::starts_with(&name, ".") {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            return Err(refused(
                path,
                format!("it has more than {MAX_FILES} entries; put only pod manifests there"),
            ));
        }
    }
    names.sort();
    Ok(names)
}

/// Content of a file, or why it cannot be had; `None` for a directory and for a file that is gone meanwhile.
fn read_manifest(path: &Path) -> Option<Result<bytes::Bytes, String>> {
    match open_regular(path) {
        Ok(Some(file)) => Some(read_bounded(file)),
        Ok(None) => None,
        Err(problem) => Some(Err(problem)),
    }
}

fn read_bounded(file: File) -> Result<bytes::Bytes, String> {
    let content = read_at_most(file, MAX_FILE_BYTES + 1).map_err(|error| format!("read: {error}"))?;
    if content.len() > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes, the most that is read of a manifest"));
    }
    Ok(content.into())
}

/// Looks at the file through a handle that does not open it, so that no pipe or device is touched.
fn open_regular(path: &Path) -> Result<Option<File>, String> {
    let handle = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(handle) => File::from(handle),
        Err(rustix::io::Errno::NOENT) if std::fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(rustix::io::Errno::NOENT) => {
            return Err("it is a symlink to a file that does not exist".to_owned());
        }
        Err(error) => return Err(format!("open: {error}")),
    };
    let metadata = handle.metadata().map_err(|error| format!("stat: {error}"))?;
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        return Ok(None);
    }
    if !file_type.is_file() {
        let kind = if file_type.is_fifo() {
            "a named pipe"
        } else if file_type.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(format!("it is {kind}; a manifest must be a regular file"));
    }
    if metadata.len() > u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX) {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes, the most that is read of a manifest"));
    }
    File::open(fd_path(&handle)).map(Some).map_err(|error| format!("open: {error}"))
}

/// A name that `read_all` will show again.
fn visible<'a>(path: &Path, name: &'a str) -> Result<&'a str, FileError> {
    if name.starts_with('.') {
        return Err(refused(
            path,
            format!("{name:?} begins with a dot; such files are not read as manifests"),
        ));
    }
    component(path, name)
}

fn write(path: &Path, name: &str, content: &[u8]) -> Result<(), FileError> {
    let name = visible(path, name)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("create directory", path)?;
    replace_file(&Dir::open(path)?, name, content, Durability::OutlivesTheMachine)
}

fn remove(path: &Path, name: &str) -> Result<(), FileError> {
    let name = visible(path, name)?;
    match Dir::open(path) {
        Ok(dir) => {
            dir.unlink(name)?;
            rustix::fs::fsync(dir.fd()).at("write", path)
        }
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
