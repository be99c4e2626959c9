//! Checkpoints: files of the root directory that are replaced as a whole (CONTRACT 7.3, 7.4).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ports::{Checkpoints, FileError};

use crate::beneath::{Dir, component};
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{no_result, refused};
use crate::replace::{Durability, replace_file};

/// Largest checkpoint: a thousand pods with ten containers each need less than 4 MiB.
const MAX_BYTES: usize = 64 << 20;

/// Checkpoints of one root directory.
#[derive(Debug)]
pub struct HostCheckpoints {
    root: PathBuf,
    blocking: Arc<Blocking>,
}

impl HostCheckpoints {
    /// Checkpoints in `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), blocking: Arc::new(Blocking::new(FILE_DEADLINE)) }
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &str,
        work: impl FnOnce(&Path, &str) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (root, name) = (self.root.clone(), component(&self.root, name)?.to_owned());
        let path = self.root.join(&name);
        let result = self.blocking.run(operation, move || work(&root, &name)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, path)))
    }
}

#[async_trait]
impl Checkpoints for HostCheckpoints {
    async fn load(&self, name: &str) -> Result<Option<Bytes>, FileError> {
        self.on_pool("read the checkpoint", name, |root, name| {
            match Dir::open(root)?.read(name, MAX_BYTES + 1)? {
                Some(content) if content.len() > MAX_BYTES => {
                    Err(refused(&root.join(name), format!("it is larger than {MAX_BYTES} bytes")))
                }
                content => Ok(content.map(Bytes::from)),
            }
        })
        .await
    }

    async fn store(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let content = content.to_vec();
        self.on_pool("write the checkpoint", name, move |root, name| {
            replace_file(&Dir::open(root)?, name, &content, Durability::OutlivesTheMachine)
        })
        .await
    }

    async fn set_aside(&self, name: &str) -> Result<PathBuf, FileError> {
        self.on_pool("set the checkpoint aside", name, |root, name| {
            let aside = format!("{name}.corrupt");
            Dir::open(root)?.rename(name, &aside)?;
            Ok(root.join(aside))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_contract_holds() {
        let temp = tempfile::tempdir().unwrap();
        ports::contract::checkpoints(&HostCheckpoints::new(temp.path())).await;
        let mut left: Vec<_> =
            std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["some_state", "some_state.corrupt"], "no temporary file stays");
    }

    #[tokio::test]
    async fn a_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("state")).unwrap();
        assert!(HostCheckpoints::new(temp.path()).load("state").await.is_err());
    }
}
