//! Sealed files: AES-256-GCM with a key in a file of its own.
//!
//! ```text
//! "podwright-sealed-1\n" | 12 bytes, by chance at each write | encrypted content | 16 bytes that prove key, content and purpose
//! ```
//! Reads and writes one file in a directory, mode 0600, replaced as a whole. Guarantees: what was changed, cut, sealed with
//! another key or for another purpose is not opened. The key is 32 bytes; it is made at the first write when there is none, and
//! never shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use core_types::Secret;
use core_types::local::SEALED_BEGIN;
use ports::sealed::SealedError;
use ports::{FileError, SealedFile};

use crate::beneath::Dir;
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::error::{AtPath, no_result, refused};
use crate::replace::{Durability, replace_file};

/// Length of a key.
const KEY_BYTES: usize = 32;
/// Largest file: twice what an agent keeps at most.
const MAX_BYTES: usize = 64 << 20;
/// Others must not read a key.
const OTHERS: u32 = 0o007;

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealKey {
    /// Beside the file, under this name; it goes with the file.
    Beside(String),
    /// In a file that somebody else looks after. It is made when there is none, and stays when the file goes.
    At(PathBuf),
}

/// What a sealed file is.
#[derive(Clone, Debug)]
pub struct SealedPlace {
    /// Directory, which exists.
    pub dir: PathBuf,
    /// Name of the file.
    pub name: String,
    /// Key.
    pub key: SealKey,
    /// What it is for: a file that was sealed for something else is not opened.
    pub purpose: &'static str,
}

/// A sealed file of this machine.
#[derive(Debug)]
pub struct HostSealedFile {
    place: Arc<SealedPlace>,
    blocking: Blocking,
}

impl HostSealedFile {
    /// The file at this place.
    pub fn new(place: SealedPlace) -> Self {
        Self { place: Arc::new(place), blocking: Blocking::new(FILE_DEADLINE) }
    }

    async fn on_pool<T: Send + 'static, E: From<FileError> + Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&SealedPlace) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let place = Arc::clone(&self.place);
        let path = place.path();
        let result = self.blocking.run("sealed", move || work(&place)).await;
        result.unwrap_or_else(|error| Err(no_result(error, operation, path).into()))
    }
}

#[async_trait]
impl SealedFile for HostSealedFile {
    async fn load(&self) -> Result<Option<Secret<Vec<u8>>>, SealedError> {
        self.on_pool("read the sealed file", |place| {
            let Some(sealed) = Dir::open(&place.dir)?.read(&place.name, MAX_BYTES)? else { return Ok(None) };
            match place.key()? {
                Some(key) => Ok(Some(place.open(&key, sealed)?)),
                None => Err(place.not_opened(format!("its key {} is not there", place.key_path().display()))),
            }
        })
        .await
    }

    async fn store(&self, content: Secret<Vec<u8>>) -> Result<(), SealedError> {
        self.on_pool("write the sealed file", |place| {
            let key = match place.key()? {
                Some(key) => key,
                None => place.make_key()?,
            };
            let sealed = place.seal(&key, content)?;
            let dir = Dir::open(&place.dir)?;
            replace_file(&dir, &place.name, &sealed, Durability::OutlivesTheMachine)?;
            Ok(())
        })
        .await
    }

    async fn set_aside(&self) -> Result<PathBuf, FileError> {
        self.on_pool("set the sealed file aside", |place| {
            Dir::open(&place.dir)?.rename(&place.name, place.aside())?;
            Ok(place.dir.join(place.aside()))
        })
        .await
    }

    async fn remove(&self) -> Result<(), FileError> {
        self.on_pool("remove the sealed file", |place| {
            let dir = Dir::open(&place.dir)?;
            dir.unlink(&place.name)?;
            dir.unlink(place.aside())?;
            match &place.key {
                SealKey::Beside(name) => dir.unlink(name),
                SealKey::At(_) => Ok(()),
            }
        })
        .await
    }
}

impl SealedPlace {
    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn aside(&self) -> String {
        format!("{}.corrupt", self.name)
    }

    fn key_path(&self) -> PathBuf {
        match &self.key {
            SealKey::Beside(name) => self.dir.join(name),
            SealKey::At(path) => path.clone(),
        }
    }

    fn not_opened(&self, problem: impl Into<String>) -> SealedError {
        SealedError::NotOpened { path: self.path(), problem: problem.into() }
    }

    /// The directory of the key, and its name there.
    fn key_place(&self) -> Result<(Dir, String), FileError> {
        let path = self.key_path();
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(refused(&path, "it cannot be the name of a key's file"));
        };
        Ok((Dir::open(dir)?, name.to_owned()))
    }

    /// The key; `None` when there is none.
    fn key(&self) -> Result<Option<RandomizedNonceKey>, FileError> {
        let (dir, name) = self.key_place()?;
        let path = self.key_path();
        let Some(stat) = dir.stat_entry(&name)? else { return Ok(None) };
        if stat.st_mode & OTHERS != 0 {
            return Err(refused(&path, "others may use this key: take it from them (chmod 600)"));
        }
        let Some(bytes) = dir.read(&name, KEY_BYTES + 1)? else { return Ok(None) };
        Ok(Some(as_key(&path, &bytes)?))
    }

    fn make_key(&self) -> Result<RandomizedNonceKey, FileError> {
        let (dir, name) = self.key_place()?;
        let path = self.key_path();
        let mut bytes = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| no_crypto()).at("make the key", &path)?;
        replace_file(&dir, &name, &bytes, Durability::OutlivesTheMachine)?;
        as_key(&path, &bytes)
    }

    /// What is proved beside the content: form and purpose.
    fn proved(&self) -> Aad<Vec<u8>> {
        Aad::from([SEALED_BEGIN, self.purpose.as_bytes()].concat())
    }

    fn seal(&self, key: &RandomizedNonceKey, content: Secret<Vec<u8>>) -> Result<Vec<u8>, FileError> {
        let mut body = content.into_exposed();
        let nonce = key.seal_in_place_append_tag(self.proved(), &mut body);
        let nonce = nonce.map_err(|_| no_crypto()).at("seal", &self.path())?;
        Ok([SEALED_BEGIN, nonce.as_ref(), &body].concat())
    }

    fn open(&self, key: &RandomizedNonceKey, sealed: Vec<u8>) -> Result<Secret<Vec<u8>>, SealedError> {
        let parts = sealed.strip_prefix(SEALED_BEGIN).and_then(|rest| rest.split_first_chunk::<NONCE_LEN>());
        let Some((nonce, body)) = parts else {
            return Err(self.not_opened("it is no sealed file of this version"));
        };
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = match key.open_in_place(nonce, self.proved(), &mut body) {
            Ok(content) => content.len(),
            Err(_) => {
                return Err(
                    self.not_opened("it was changed, cut, or sealed with another key or for something else")
                );
            }
        };
        body.truncate(length);
        Ok(Secret::new(body))
    }
}

fn as_key(path: &Path, bytes: &[u8]) -> Result<RandomizedNonceKey, FileError> {
    RandomizedNonceKey::new(&AES_256_GCM, bytes)
        .map_err(|_| refused(path, format!("a key has {KEY_BYTES} bytes, and this file has not")))
}

fn no_crypto() -> std::io::Error {
    std::io::Error::other("the cryptographic library refuses")
}

#[cfg(test)]
mod tests;
