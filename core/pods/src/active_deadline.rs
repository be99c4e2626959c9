//! `spec.activeDeadlineSeconds`: until when a pod may be active on the node (CONTRACT 3.15).

use std::time::Duration;

use core_types::api::{Pod, PodStatus};
use core_types::{MonoTime, PodExt, WallTime};

/// Event reason and `status.reason` of a pod that was active for too long.
pub const REASON: &str = "DeadlineExceeded";
/// Event message and `status.message` of such a pod.
pub const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// When a pod's time is over.
///
/// It is counted from `status.startTime`, which is wall time, once; from then on it stands on the monotonic clock, so that
/// a step of the wall clock neither ends a pod early nor lets it run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveDeadline {
    /// `activeDeadlineSeconds` that it was made from.
    secs: i64,
    at: MonoTime,
}

impl ActiveDeadline {
    /// The deadline of a pod; `known` is the one found before. `None` for a pod without one, and before it has started.
    pub fn of(
        pod: &Pod,
        status: &PodStatus,
        known: Option<Self>,
        (mono, wall): (MonoTime, WallTime),
    ) -> Option<Self> {
        let secs = pod.spec_ref()?.active_deadline_seconds?;
        if let Some(known) = known.filter(|known| known.secs == secs) {
            return Some(known);
        }
        let started_at = WallTime::from_api(status.start_time.as_ref()?);
        let allowed = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
        Some(Self { secs, at: mono + allowed.saturating_sub(wall.since(started_at)) })
    }

    /// When the pod must end.
    pub fn at(self) -> MonoTime {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(secs: Option<i64>) -> Pod {
        let mut pod = Pod::default();
        pod.spec.get_or_insert_default().active_deadline_seconds = secs;
        pod
    }

    fn started(secs: i64) -> PodStatus {
        PodStatus { start_time: Some(WallTime::from_unix_secs(secs).to_api()), ..PodStatus::default() }
    }

    #[test]
    fn a_deadline_is_counted_from_the_start_once() {
        let now = (MonoTime::from_secs(1000), WallTime::from_unix_secs(500));
        let of = |secs, status: &PodStatus, known| ActiveDeadline::of(&pod(secs), status, known, now);
        assert_eq!(of(None, &started(500), None), None);
        assert_eq!(of(Some(10), &PodStatus::default(), None), None);
        for (secs, began, at) in [(10, 500, 1010), (10, 495, 1005), (10, 100, 1000), (10, 600, 1010)] {
            let deadline = of(Some(secs), &started(began), None).unwrap();
            assert_eq!(deadline.at(), MonoTime::from_secs(at), "{secs} s from {began}");
        }
        let known = of(Some(10), &started(500), None);
        let stepped = (MonoTime::from_secs(1003), WallTime::from_unix_secs(90_000));
        assert_eq!(ActiveDeadline::of(&pod(Some(10)), &started(500), known, stepped), known);
        let shorter = of(Some(5), &started(500), known).unwrap();
        assert_eq!(shorter.at(), MonoTime::from_secs(1005));
    }
}
