//! Courtesy: events of what is normal give way to the start of pods.
//!
//! Each event costs the node and the API server about as much as a status does, and a status is waited for. So good news waits while pods
//! are brought up, but not for ever; bad news never does, and takes along what waits before it.

use std::time::Duration;

use core_types::{EventRecord, EventType, MonoTime};

/// The longest that an event gives way.
const LONGEST: Duration = Duration::from_secs(10);

/// For how long what waits gives way.
#[derive(Debug, Default)]
pub struct Courtesy {
    until: Option<MonoTime>,
}

impl Courtesy {
    /// Notes an event that begins to wait.
    pub fn offer(&mut self, now: MonoTime, event: &EventRecord) {
        match event.event_type {
            EventType::Normal => self.until.get_or_insert(now + LONGEST),
            EventType::Warning => self.until.insert(now),
        };
    }

    /// Whether events may be told although pods are brought up.
    pub fn is_over(&self, now: MonoTime) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Until when what waits gives way; `None` when nothing does.
    pub fn until(&self) -> Option<MonoTime> {
        self.until
    }

    /// Everything that may be told was told.
    pub fn end(&mut self) {
        self.until = None;
    }
}
