//! Files of the node beneath one directory: `ports::NodeFiles` (CONTRACT 2.5, 2.8).
//!
//! Every path is opened beneath a directory handle. Links are followed as long as they stay beneath; pipes, sockets and
//! devices are not opened at all. Reads, lists, writes nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use core_types::WallTime;
use ports::FileError;
use ports::node_files::{Bytes, NodeFile, NodeFiles};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;

use crate::beneath::{Dir, Links, open_beneath};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result, refused};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Entries of a directory that are listed: a list that nobody would read to its end is not made.
const MAX_ENTRIES: usize = 10_000;

/// The files beneath a directory.
#[derive(Debug)]
pub struct HostNodeFiles {
    root: PathBuf,
    pool: Blocking,
}

impl HostNodeFiles {
    /// Those beneath `root`, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), pool: Blocking::new(FILE_DEADLINE) }
    }
}

/// What was opened, before its content is made a stream.
enum Opened {
    Directory(Vec<String>),
    File(File, u64, WallTime),
}

#[async_trait]
impl NodeFiles for HostNodeFiles {
    async fn open(&self, path: &str) -> Result<Option<NodeFile>, FileError> {
        let (root, relative) = (self.root.clone(), PathBuf::from(path));
        let shown = root.join(&relative);
        // One key for all: a file system that hangs holds these readers up, and nobody else.
        let opened = self.pool.run("node files", move || open(&root, &relative)).await;
        let opened = opened.map_err(|error| no_result(error, "open", shown))??;
        Ok(opened.map(|opened| match opened {
            Opened::Directory(names) => NodeFile::Directory(names),
            Opened::File(file, size_bytes, modified) => {
                let content = content(tokio::fs::File::from_std(file), size_bytes);
                NodeFile::File { size_bytes, modified, content }
            }
        }))
    }
}

fn open(root: &Path, relative: &Path) -> Result<Option<Opened>, FileError> {
    let path = root.join(relative);
    let directory = match Dir::open(root) {
        Ok(directory) => directory,
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let fd = match open_beneath(directory.fd(), relative, flags, Mode::empty(), Links::Beneath) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::XDEV) => return Err(refused(&path, "path escapes from parent")),
        Err(error) => return Err(error).at("open", &path),
    };
    let file = File::from(fd);
    let facts = file.metadata().at("stat", &path)?;
    if facts.is_dir() {
        return names(&file, &path).map(|names| Some(Opened::Directory(names)));
    }
    if !facts.is_file() {
        return Err(refused(&path, "it is neither a file nor a directory"));
    }
    let modified = facts.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    Ok(Some(Opened::File(file, facts.len(), WallTime::from_unix_nanos(modified))))
}

fn names(directory: &File, path: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).at("list", path)? {
        let entry = entry.at("list", path)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let slash = if entry.file_type() == FileType::Directory { "/" } else { "" };
        names.push(format!("{}{slash}", OsStr::from_bytes(name).to_string_lossy()));
        if names.len() >= MAX_ENTRIES {
            break;
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The file's bytes up to the size that was told: a file that grows meanwhile is read no further.
fn content(file: tokio::fs::File, size_bytes: u64) -> Bytes {
    Box::pin(futures_util::stream::unfold(file.take(size_bytes), |mut file| async {
        let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
        match file.read_buf(&mut buffer).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(buffer.freeze()), file)),
            Err(error) => Some((Err(error), file)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use futures_util::StreamExt;

    use super::*;

    async fn read(files: &HostNodeFiles, path: &str) -> String {
        let Ok(Some(NodeFile::File { content, .. })) = files.open(path).await else {
            panic!("{path} is a file")
        };
        let parts: Vec<_> = content.map(|part| part.expect("read").to_vec()).collect().await;
        String::from_utf8(parts.concat()).expect("text")
    }

    #[tokio::test]
    async fn files_and_directories_beneath_are_opened_and_nothing_else() {
        let folder = tempfile::tempdir().expect("directory");
        let (root, outside) = (folder.path().join("log"), folder.path().join("secret"));
        std::fs::create_dir_all(root.join("pods")).expect("directory");
        std::fs::write(&outside, "secret").expect("write");
        std::fs::write(root.join("a.log"), "x".repeat(200_000)).expect("write");
        symlink("a.log", root.join("inside")).expect("link");
        symlink(&outside, root.join("absolute")).expect("link");
        symlink("../secret", root.join("climbing")).expect("link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .expect("pipe");
        let files = HostNodeFiles::new(&root);
        let Ok(Some(NodeFile::Directory(names))) = files.open("").await else { panic!("a directory") };
        assert_eq!(names, ["a.log", "absolute", "climbing", "inside", "pipe", "pods/"]);
        assert_eq!(read(&files, "a.log").await.len(), 200_000);
        assert_eq!(read(&files, "inside").await.len(), 200_000);
        for bad in ["absolute", "climbing", "../secret", "/etc/passwd", "pods/../../secret", "pipe"] {
            assert!(files.open(bad).await.is_err(), "{bad}");
        }
        for missing in ["none", "a.log/x", "pods/none"] {
            assert!(matches!(files.open(missing).await, Ok(None)), "{missing}");
        }
        assert!(matches!(HostNodeFiles::new("/no/such/place").open("").await, Ok(None)));
    }
}
