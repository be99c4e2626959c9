//! Intents and records of pulls below the root directory: `image_manager/{pulling,pulled}`, 0700, files 0600
//! (CONTRACT 3.16, 7.3).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use core_images::book::MAX_RECORDS;
use core_images::records::{FILE_PREFIX, MAX_RECORD_BYTES};
use ports::pull_records::{PullContent, PullFile, PullFileKind};
use ports::{FileError, PullRecords};

use crate::beneath::{Dir, component};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::no_result;
use crate::replace::{Durability, replace_file};

/// Most entries of a directory that are looked at: the records that are kept, and as many other files again.
const MAX_ENTRIES: usize = 2 * MAX_RECORDS;

/// End of the names of files that upstream's kubelet has not finished writing.
const UNFINISHED: &str = ".tmp";

/// Beginning of the names of files that were set aside; upstream's kubelet does not read them.
const ASIDE_PREFIX: &str = "corrupt-";

/// The files of one root directory.
#[derive(Debug)]
pub struct HostPullRecords {
    root: PathBuf,
    blocking: Arc<Blocking>,
}

impl HostPullRecords {
    /// The files below `root`, which exists. Directories are made when they are needed.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), blocking: Arc::new(Blocking::new(FILE_DEADLINE)) }
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        operation: &'static str,
        kind: PullFileKind,
        work: impl FnOnce(&Dir) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (root, path) = (self.root.clone(), self.root.join(relative(kind)));
        let open = move || work(&Dir::open(&root)?.make_dir(relative(kind), 0o700)?);
        let result = self.blocking.run(relative(kind), open).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, path)))
    }

    fn named<'a>(&self, kind: PullFileKind, name: &'a str) -> Result<&'a str, FileError> {
        component(&self.root.join(relative(kind)), name)
    }
}

fn relative(kind: PullFileKind) -> &'static str {
    match kind {
        PullFileKind::Intent => "image_manager/pulling",
        PullFileKind::Record => "image_manager/pulled",
    }
}

#[async_trait]
impl PullRecords for HostPullRecords {
    async fn list(&self, kind: PullFileKind) -> Result<Vec<PullFile>, FileError> {
        self.on_pool("list the files of pulls", kind, |dir| {
            let mut files = Vec::new();
            for (name, _) in dir.some_entries(MAX_ENTRIES)? {
                let Some(name) = name.to_str().filter(|name| !name.ends_with(UNFINISHED)) else { continue };
                if let Some(aside) = name.strip_prefix(ASIDE_PREFIX) {
                    files.push(PullFile { name: aside.to_owned(), content: PullContent::SetAside });
                } else if name.starts_with(FILE_PREFIX)
                    && let Some(content) = dir.read(name, MAX_RECORD_BYTES)?
                {
                    let content = PullContent::Bytes(Bytes::from(content));
                    files.push(PullFile { name: name.to_owned(), content });
                }
            }
            Ok(files)
        })
        .await
    }

    async fn store(&self, kind: PullFileKind, name: &str, content: &[u8]) -> Result<(), FileError> {
        let (name, content) = (self.named(kind, name)?.to_owned(), content.to_vec());
        self.on_pool("write a file of a pull", kind, move |dir| {
            replace_file(dir, &name, &content, Durability::OutlivesTheProcess)
        })
        .await
    }

    async fn remove(&self, kind: PullFileKind, name: &str) -> Result<(), FileError> {
        let name = self.named(kind, name)?.to_owned();
        self.on_pool("remove a file of a pull", kind, move |dir| dir.unlink(&name)).await
    }

    async fn set_aside(&self, kind: PullFileKind, name: &str) -> Result<PathBuf, FileError> {
        let name = self.named(kind, name)?.to_owned();
        self.on_pool("set a file of a pull aside", kind, move |dir| {
            let aside = format!("{ASIDE_PREFIX}{name}");
            dir.rename(&name, &aside)?;
            Ok(dir.path().join(aside))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_contract_holds_and_everything_is_private() {
        let temp = tempfile::tempdir().unwrap();
        ports::contract::pull_records(&HostPullRecords::new(temp.path())).await;
        let mode = |path: &str| fs::metadata(temp.path().join(path)).unwrap().permissions().mode() & 0o777;
        for dir in ["image_manager", "image_manager/pulling", "image_manager/pulled"] {
            assert_eq!(mode(dir), 0o700, "{dir}");
        }
        assert_eq!(mode("image_manager/pulled/sha256-a"), 0o600);
    }

    #[tokio::test]
    async fn what_others_left_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let files = HostPullRecords::new(temp.path());
        files.store(PullFileKind::Record, "sha256-a", b"x").await.unwrap();
        let dir = temp.path().join("image_manager/pulled");
        for name in ["sha256-b.tmp", "note.txt"] {
            fs::write(dir.join(name), "y").unwrap();
        }
        let found = files.list(PullFileKind::Record).await.unwrap();
        let names: Vec<_> = found.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["sha256-a"]);
    }
}
