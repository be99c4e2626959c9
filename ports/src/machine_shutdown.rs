//! The word that the machine goes down, and the say in when it does.

use std::time::Duration;

use async_trait::async_trait;
use core_types::Shutdown;

/// Why nobody tells, or the machine does not wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}: {problem}")]
pub struct ShutdownError {
    /// What was to be done.
    pub doing: String,
    /// What went wrong.
    pub problem: String,
}

/// What a shutdown waits for: that this is dropped. It outlives the [`ShutdownWatch`] that it came from.
pub struct Hold {
    _inner: Box<dyn Send>,
}

impl Hold {
    /// Something that lets the shutdown go on when it is dropped.
    pub fn new(inner: impl Send + 'static) -> Self {
        Self { _inner: Box::new(inner) }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

/// How long the machine waits.
#[derive(Debug)]
pub struct Held {
    /// What it waits for.
    pub hold: Hold,
    /// At most this long.
    pub granted: Duration,
    /// Why it is less than what was asked for; `None` where it is not.
    pub shortened_by: Option<ShutdownError>,
}

/// What knows that the machine goes down.
#[async_trait]
pub trait MachineShutdown: Send + Sync {
    /// Begins to listen.
    ///
    /// # Errors
    /// When nobody is there who knows.
    async fn listen(&self) -> Result<Box<dyn ShutdownWatch>, ShutdownError>;
}

/// An open ear.
#[async_trait]
pub trait ShutdownWatch: Send {
    /// How things are, or were when it was opened.
    fn state(&self) -> Shutdown;

    /// How things are when that is told next. May be dropped half-way.
    ///
    /// # Errors
    /// When nothing can be heard any more.
    async fn next(&mut self) -> Result<Shutdown, ShutdownError>;

    /// Has a coming shutdown wait, for `period` if that can be had.
    ///
    /// # Errors
    /// When it will not wait at all.
    async fn hold(&mut self, period: Duration) -> Result<Held, ShutdownError>;
}
