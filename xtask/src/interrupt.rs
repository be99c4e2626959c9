//! Ctrl-C and SIGTERM end a command that keeps something running, which then cleans up.

use std::sync::Arc;

use anyhow::Result;
use lab::wait;

/// From now on these signals end every wait of this process instead of the process itself.
pub(crate) fn by_signals() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&wait::interrupt()))?;
    }
    Ok(())
}
