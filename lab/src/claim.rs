//! A number and a folder of one's own on this machine, and sweeping up after who did not do it himself.
//!
//! Whoever holds the lock on `<name>.lock` owns the folder `<name>` beside it; the kernel drops the lock with the owner, so an
//! unlocked folder is left over from a killed run and is swept away.
//!
//! Guarantees: a folder that is in use is never swept; a claim that is dropped leaves nothing behind, or says what.

use std::{
    fs::{self, File, TryLockError},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::sweep;

/// A short path: sockets below it must fit into 107 bytes.
const BASE: &str = "/var/tmp/podwright-lab";

/// How many of a kind may live at once. An instance takes a /22 from 10.88.0.0 on.
const NUMBERS: Range<u8> = 0..100;

/// What is claimed.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What stands before the number in the folder's name.
    prefix: &'static str,
    /// Stops and removes everything that belongs to the number and the folder.
    sweep: fn(u8, &Path) -> Result<()>,
}

/// Private container runtimes.
pub(crate) const INSTANCES: Kind = Kind { prefix: "", sweep: sweep::instance };

/// Control planes of a cluster.
pub(crate) const CONTROL_PLANES: Kind =
    Kind { prefix: "cluster-", sweep: |_number, dir| sweep::programs_and_files(dir) };

impl Kind {
    fn name(&self, number: u8) -> String {
        format!("{}{number}", self.prefix)
    }

    fn dir(&self, number: u8) -> PathBuf {
        Path::new(BASE).join(self.name(number))
    }

    fn try_lock(&self, number: u8) -> Result<Option<File>> {
        let path = Path::new(BASE).join(format!("{}.lock", self.name(number)));
        let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }
}

/// A number with its folder, held by a lock.
#[derive(Debug)]
pub(crate) struct Claim {
    kind: &'static Kind,
    number: u8,
    dir: PathBuf,
    held: Option<File>,
}

impl Claim {
    /// Takes the first number that nobody holds and that `is_free` lets pass, and makes its folder.
    pub(crate) fn take(kind: &'static Kind, is_free: impl Fn(u8) -> Result<bool>) -> Result<Self> {
        fs::create_dir_all(BASE).with_context(|| format!("cannot make {BASE}"))?;
        for number in NUMBERS {
            if !is_free(number)? {
                continue;
            }
            if let Some(held) = kind.try_lock(number)? {
                // From here on, dropping the claim sweeps.
                let claim = Self { kind, number, dir: kind.dir(number), held: Some(held) };
                fs::create_dir(&claim.dir).with_context(|| format!("cannot make {}", claim.dir.display()))?;
                return Ok(claim);
            }
        }
        bail!("all {} of {} are in use", NUMBERS.len(), Path::new(BASE).join(kind.prefix).display())
    }

    /// The number.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sweeps and gives the number back.
    pub(crate) fn release(&mut self) -> Result<()> {
        if self.held.is_some() {
            (self.kind.sweep)(self.number, &self.dir)?;
            self.held = None;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("cannot clean up {}: {error:#}", self.dir.display());
        }
    }
}

/// Removes what killed runs left behind; what is in use stays. Returns the folders removed.
pub fn sweep_stale() -> Result<Vec<PathBuf>> {
    let mut swept = Vec::new();
    for kind in [&INSTANCES, &CONTROL_PLANES] {
        for number in NUMBERS {
            let dir = kind.dir(number);
            if !dir.exists() {
                continue;
            }
            if let Some(_held) = kind.try_lock(number)? {
                (kind.sweep)(number, &dir).with_context(|| format!("leftovers in {}", dir.display()))?;
                swept.push(dir);
            }
        }
    }
    Ok(swept)
}
