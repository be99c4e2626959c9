//! The journal of events: two files of lines in a directory of their own (`podwright/events` below the root directory).
//!
//! Appends only, and never waits for a disk: what the kernel has taken survives the agent. A write that fails is taken back.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ports::{EventJournal, FileError};
use rustix::fs::OFlags;

use crate::beneath::Dir;
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result, refused};

/// The file that is written.
const CURRENT: &str = "journal";
/// The file before it.
const OLDER: &str = "journal.old";
/// Largest file that is read: twice what one may grow to.
const MAX_BYTES: usize = 16 << 20;

/// The journal in one directory.
#[derive(Debug)]
pub struct HostEventJournal {
    dir: PathBuf,
    blocking: Arc<Blocking>,
}

impl HostEventJournal {
    /// A journal in `dir`, which exists.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), blocking: Arc::new(Blocking::new(FILE_DEADLINE)) }
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Dir) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let dir = self.dir.clone();
        let result = self.blocking.run("journal", move || work(&Dir::open(&dir)?)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, self.dir.clone())))
    }
}

#[async_trait]
impl EventJournal for HostEventJournal {
    async fn load(&self) -> Result<Vec<Bytes>, FileError> {
        self.on_pool("read the journal of events in", |dir| {
            let mut files = Vec::new();
            for name in [OLDER, CURRENT] {
                match dir.read(name, MAX_BYTES + 1)? {
                    Some(content) if content.len() > MAX_BYTES => {
                        return Err(refused(
                            &dir.path().join(name),
                            format!("it is larger than {MAX_BYTES} bytes"),
                        ));
                    }
                    content => files.extend(content.map(Bytes::from)),
                }
            }
            Ok(files)
        })
        .await
    }

    async fn append(&self, lines: &[u8]) -> Result<u64, FileError> {
        let lines = lines.to_vec();
        self.on_pool("append to the journal of events in", move |dir| append(dir, &lines)).await
    }

    async fn begin_anew(&self, lines: &[u8]) -> Result<(), FileError> {
        let lines = lines.to_vec();
        self.on_pool("begin a new journal of events in", move |dir| {
            if dir.stat_entry(CURRENT)?.is_some() {
                dir.rename(CURRENT, OLDER)?;
            }
            append(dir, &lines).map(drop)
        })
        .await
    }

    async fn keep_broken(&self) -> Result<PathBuf, FileError> {
        self.on_pool("keep the broken journal of events in", |dir| {
            for name in [OLDER, CURRENT] {
                let Some(content) = dir.read(name, MAX_BYTES)? else { continue };
                let copy = format!("{name}.corrupt");
                dir.unlink(&copy)?;
                dir.create_new(&copy, 0o600)?.write_all(&content).at("write", &dir.path().join(&copy))?;
            }
            Ok(dir.path().join(format!("{CURRENT}.corrupt")))
        })
        .await
    }
}

/// Appends all of it or nothing.
fn append(dir: &Dir, lines: &[u8]) -> Result<u64, FileError> {
    let path = dir.path().join(CURRENT);
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let mut file: File = dir
        .open_file(CURRENT, flags, 0o600)?
        .ok_or_else(|| refused(&path, "it went away while it was opened"))?;
    let before = file.metadata().at("stat", &path)?.len();
    if let Err(error) = file.write_all(lines) {
        file.set_len(before).at("take back a part of a line of", &path)?;
        return Err(error).at("append to", &path);
    }
    Ok(before + lines.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_journal_keeps_the_contract_and_is_private() {
        let temp = tempfile::tempdir().unwrap();
        ports::contract::event_journal(&HostEventJournal::new(temp.path())).await;
        let mut left: Vec<_> = std::fs::read_dir(temp.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                entry.file_name().into_string().unwrap()
            })
            .collect();
        left.sort();
        assert_eq!(left, ["journal", "journal.corrupt", "journal.old", "journal.old.corrupt"]);
    }

    #[tokio::test]
    async fn a_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let other = temp.path().join("other");
        std::fs::write(&other, "mine\n").unwrap();
        std::os::unix::fs::symlink(&other, temp.path().join(CURRENT)).unwrap();
        assert!(HostEventJournal::new(temp.path()).append(b"x\n").await.is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine\n");
    }
}
