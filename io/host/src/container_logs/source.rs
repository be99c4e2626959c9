//! One file of a log and how far it was read. Blocking calls run on tokio's pool, and nothing is kept between two reads.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::tail;

/// Bytes read at a time: a few hundred lines, so that a chunk is worth its write.
const READ_BYTES: usize = 64 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<File>,
    offset: u64,
}

impl Source {
    /// Opens a file at its beginning.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let file = blocking(move || File::open(path)).await?;
        Ok(Self { file: Arc::new(file), offset: 0 })
    }

    /// Goes to the beginning of the last lines.
    pub(super) async fn go_to_tail(&mut self, lines: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.offset = blocking(move || tail::start(&file, lines)).await?;
        Ok(())
    }

    /// The next bytes; none at the end.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let read = blocking(move || {
            let mut bytes = vec![0; READ_BYTES];
            let count = file.read_at(&mut bytes, offset)?;
            bytes.truncate(count);
            bytes.shrink_to_fit();
            Ok(bytes)
        })
        .await?;
        self.offset += read.len() as u64;
        Ok(read)
    }

    /// What the file system says of the file.
    pub(super) async fn metadata(&self) -> io::Result<Metadata> {
        let file = Arc::clone(&self.file);
        blocking(move || file.metadata()).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}
