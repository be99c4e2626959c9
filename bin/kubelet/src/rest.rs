//! The process at rest: when nothing has changed on the node for a while, memory that the last work left behind is given back.
//!
//! Reads: the node's view, now and then while it changes. At rest it waits for one change and holds no timer.

use std::sync::Arc;
use std::time::Duration;

use ports::Control;

/// How long nothing has changed when the node is taken to rest.
const REST: Duration = Duration::from_secs(10);

/// Gives memory back at the beginning of each rest, for ever.
pub(crate) async fn give_memory_back(control: &dyn Control) {
    loop {
        let seen = control.view();
        tokio::time::sleep(REST).await;
        if !Arc::ptr_eq(&seen, &control.view()) {
            continue;
        }
        if let Err(error) = io_host::memory::give_back() {
            tracing::debug!(%error, "the program's own code stays mapped");
        }
        control.changed().await;
    }
}
