//! Courtesy: events of what is normal give way to the start of pods.
//!
//! Each event costs the node and the API server about as much as a status does, and a status is waited for. So good news waits while pods
//! are brought up, but not for ever; bad news never does.

use std::time::Duration;

use core_types::MonoTime;

/// The longest that good news gives way.
const LONGEST: Duration = Duration::from_secs(10);

/// For how long the good news that waits gives way.
#[derive(Debug, Default)]
pub struct Courtesy {
    until: Option<MonoTime>,
}

impl Courtesy {
    /// Good news begins to wait.
    pub fn wait(&mut self, now: MonoTime) {
        self.until.get_or_insert(now + LONGEST);
    }

    /// Until when what waits gives way; `None` when nothing waits.
    pub fn until(&self) -> Option<MonoTime> {
        self.until
    }

    /// Whether what waits is to be told now, and so waits no more.
    pub fn ends(&mut self, now: MonoTime, is_quiet: bool) -> bool {
        let ends = self.until.is_some_and(|until| is_quiet || until <= now);
        if ends {
            self.until = None;
        }
        ends
    }
}
