//! The process at rest: when nothing has changed on the node for a while, memory that the last work left behind is given back.
//!
//! Reads: that the node's view changes. At rest it waits for one change and holds no timer.

use std::time::Duration;

use ports::Control;

/// How long nothing has changed when the node is taken to rest.
const REST: Duration = Duration::from_secs(10);

/// Gives memory back at the beginning of each rest, for ever.
pub(crate) async fn give_memory_back(control: &dyn Control) {
    loop {
        while tokio::time::timeout(REST, control.changed()).await.is_ok() {
            // An agent that stops tells of changes without a pause.
            tokio::task::yield_now().await;
        }
        if let Err(error) = io_host::memory::give_back() {
            tracing::debug!(%error, "the program's own code stays mapped");
        }
        control.changed().await;
    }
}
