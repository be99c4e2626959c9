//! The host's packet filter.

use async_trait::async_trait;
use core_node::packets::{Chain, Family, Wanted};

/// Why the packet filter cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {problem}")]
pub struct PacketFilterError {
    /// What was to be done, as one would type it.
    pub command: String,
    /// What went wrong.
    pub problem: String,
}

/// The host's packet filter.
#[async_trait]
pub trait PacketFilter: Send + Sync {
    /// The families that this host filters.
    async fn families(&self) -> Vec<Family>;

    /// Makes what is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    async fn ensure(&self, family: Family, wanted: &Wanted) -> Result<(), PacketFilterError>;

    /// Whether there is such a chain.
    ///
    /// # Errors
    /// When nobody can tell.
    async fn has_chain(&self, family: Family, chain: &Chain) -> Result<bool, PacketFilterError>;
}
