//! Rotation of container logs (CONTRACT 3.28): [`plan`] says what one rotation does to the files of a log, [`Growth`] says
//! when a log must be looked at again so that it is caught at its cap.
//!
//! Reads names, sizes and times, all arguments; writes nothing. Three things differ from upstream, so that the cap holds
//! under a fast writer: the log is moved aside before old files are compressed, not after; a log is looked at when it is
//! expected to be full, not only on a ticker; and two rotations within a second get different names.

mod growth;
mod rotation;

use std::time::Duration;

pub use growth::Growth;
pub use rotation::{Plan, is_rotated_name, plan};

/// The rules for every container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// `containerLogMaxSize`: a log of this many bytes is rotated.
    pub max_size_bytes: u64,
    /// `containerLogMaxFiles`: files of one log at most, the current one among them; at least 2.
    pub max_files: usize,
    /// `containerLogMonitorInterval`: longest time between two looks at a log.
    pub interval: Duration,
}
