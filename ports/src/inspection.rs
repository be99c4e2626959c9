//! Looking at what lies on the machine, and taking away what is nobody's.

use async_trait::async_trait;
use core_doctor::{Inventory, Remedy};

use crate::{CgroupError, FileError};

/// Why something could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum RemedyError {
    /// A file or mount.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The places of this machine cannot be used.
    #[error("{0}")]
    Places(String),
}

/// The machine of a node, for a doctor.
#[async_trait]
pub trait Inspection: Send + Sync {
    /// Looks at everything but the runtime and certificates, and changes nothing. What cannot be looked at is a blind spot.
    async fn look(&self) -> Inventory;
    /// Carries one remedy out. What is in use stays, and is an error; gone already is success.
    async fn carry_out(&self, remedy: &Remedy) -> Result<(), RemedyError>;
}
