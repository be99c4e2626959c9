//! The kernel's word that memory runs short, so that nobody has to look all the time.

use async_trait::async_trait;

/// The alarm.
#[async_trait]
pub trait MemoryAlarm: Send + Sync {
    /// Waits until tasks of the machine stall for memory; for ever where the kernel cannot tell. May be dropped half-way.
    async fn rings(&self);
}
