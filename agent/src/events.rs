//! The events of each pod, bounded and counted: what `kubectl describe` and `podwright why` show below a pod.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use core_types::{EventType, PodEvent, PodUid, WallTime};

/// Events kept per pod: enough for the story of one start and one failure, small enough for a thousand pods.
const KEPT_PER_POD: usize = 25;

/// What happened, as the one who saw it says it.
#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) event_type: EventType,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: String,
    /// `fieldPath` of the container; empty for the pod.
    pub(crate) field_path: String,
}

impl Happening {
    pub(crate) fn normal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            event_type: EventType::Normal,
            reason: reason.into(),
            message: message.into(),
            field_path: String::new(),
        }
    }

    pub(crate) fn warning(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Warning, ..Self::normal(reason, message) }
    }

    pub(crate) fn of(mut self, field_path: impl Into<String>) -> Self {
        self.field_path = field_path.into();
        self
    }
}

/// The latest events of one pod.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    events: VecDeque<PodEvent>,
}

impl EventLog {
    /// Adds an event, or counts it onto the equal one that is still kept.
    pub(crate) fn record(&mut self, uid: &PodUid, happening: Happening, now: WallTime) {
        let Happening { event_type, reason, message, field_path } = happening;
        tracing::info!(pod_uid = %uid, %reason, field_path, "{message}");
        let twin = self
            .events
            .iter()
            .position(|e| e.reason == reason && e.message == message && e.field_path == field_path);
        let mut event = twin.and_then(|at| self.events.remove(at)).unwrap_or_else(|| PodEvent {
            pod_uid: uid.clone(),
            field_path,
            event_type,
            reason: reason.into_owned(),
            message,
            first_seen: now,
            last_seen: now,
            count: 0,
        });
        event.last_seen = now;
        event.count += 1;
        if self.events.len() == KEPT_PER_POD {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// All kept events, least recent first.
    pub(crate) fn snapshot(&self) -> Arc<[PodEvent]> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_are_counted_and_the_log_is_bounded() {
        let mut log = EventLog::default();
        let uid = PodUid::from("u");
        for i in 0..3 {
            log.record(&uid, Happening::warning("BackOff", "again"), WallTime::from_unix_secs(i));
        }
        let events = log.snapshot();
        assert_eq!((events.len(), events[0].count, events[0].first_seen.unix_secs()), (1, 3, 0));
        for i in 0..100 {
            log.record(&uid, Happening::normal("Pulled", format!("{i}")), WallTime::from_unix_secs(i));
        }
        assert_eq!(log.snapshot().len(), KEPT_PER_POD);
    }
}
