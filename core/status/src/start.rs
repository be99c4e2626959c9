//! How long the start of a pod takes, as upstream measures it (CONTRACT 5.15).
//!
//! ```text
//! first seen -> first work -> Running: pod_start
//! created    -> every container has started: total; less pulls and init containers: SLI
//! ```
//! A pod that an earlier life of the agent started is not measured: nobody saw its start.

use std::time::Duration;

use core_types::api::{ContainerStatus, Pod, PodStatus};
use core_types::{MonoTime, WallTime};

/// One pod on its way.
#[derive(Clone, Debug, Default)]
pub struct PodStart {
    first_seen: Option<MonoTime>,
    has_work: bool,
    pulls: Option<(WallTime, WallTime)>,
    is_started: bool,
}

/// What a new status ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartTimes {
    /// From the first sight of the pod to its phase Running.
    pub running: Option<Duration>,
    /// From its creation at the API server to the start of its last container.
    pub total: Option<Duration>,
    /// The same without pulls of images and init containers.
    pub sli: Option<Duration>,
}

/// Whether the API server made the pod, and so says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It did.
    AtTheServer,
    /// It is a static or local pod.
    Here,
}

impl PodStart {
    /// A source asks for the pod.
    pub fn seen(&mut self, now: MonoTime) {
        self.first_seen.get_or_insert(now);
    }

    /// Work on the pod begins; the time since it was seen, for the first time.
    pub fn works(&mut self, now: MonoTime) -> Option<Duration> {
        let is_first = !std::mem::replace(&mut self.has_work, true);
        Some(now.since(self.first_seen.filter(|_| is_first)?))
    }

    /// An image of it is being pulled, or was.
    pub fn pulls(&mut self, now: WallTime) {
        let begin = self.pulls.map_or(now, |(begin, _)| begin);
        self.pulls = Some((begin, now));
    }

    /// The status changed.
    pub fn step(
        &mut self,
        (pod, creation): (&Pod, Creation),
        (before, status): (Option<&PodStatus>, &PodStatus),
        (mono, wall): (MonoTime, WallTime),
    ) -> StartTimes {
        let mut times = StartTimes::default();
        let is_running = status.phase.as_deref() == Some("Running");
        let was_pending = before.is_some_and(|before| before.phase.as_deref() == Some("Pending"));
        if is_running && was_pending {
            times.running = self.first_seen.map(|seen| mono.since(seen));
        }
        let was_waiting = before.is_some_and(|before| !all_started(before));
        if !self.is_started && was_waiting && is_running && all_started(status) {
            self.is_started = true;
            let created = pod.metadata.creation_timestamp.as_ref().map(WallTime::from_api);
            let created = created.filter(|_| creation == Creation::AtTheServer);
            times.total = created.map(|created| wall.since(created));
            let pulls = self.pulls.map_or(Duration::ZERO, |(begin, end)| end.since(begin));
            let aside = pulls.saturating_add(init_time(status));
            times.sli = times.total.map(|total| total.saturating_sub(aside));
        }
        times
    }
}

/// Whether every container has been started.
fn all_started(status: &PodStatus) -> bool {
    let has_started = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    status.container_statuses.as_ref().is_some_and(|all| !all.is_empty() && all.iter().all(has_started))
}

/// Time that init containers took, which run one after another.
fn init_time(status: &PodStatus) -> Duration {
    let ends = status.init_container_statuses.iter().flatten();
    let ends = ends.filter_map(|container| container.state.as_ref()?.terminated.as_ref());
    let took = ends.filter_map(|end| {
        let (began, ended) = (end.started_at.as_ref()?, end.finished_at.as_ref()?);
        Some(WallTime::from_api(ended).since(WallTime::from_api(began)))
    });
    took.sum()
}

#[cfg(test)]
mod tests {
    use core_types::api::{ContainerState, ContainerStateRunning, ContainerStateTerminated, Time};

    use super::*;

    fn at(secs: i64) -> (MonoTime, WallTime) {
        let mono = MonoTime::from_secs(u64::try_from(secs).expect("positive"));
        (mono, WallTime::from_unix_secs(1_000_000 + secs))
    }

    fn time(secs: i64) -> Time {
        at(secs).1.to_api_secs()
    }

    fn status(phase: &str, running: &[bool]) -> PodStatus {
        let container = |is_running: &bool| ContainerStatus {
            state: is_running.then(|| ContainerState {
                running: Some(ContainerStateRunning::default()),
                ..ContainerState::default()
            }),
            ..ContainerStatus::default()
        };
        let init = ContainerStateTerminated {
            started_at: Some(time(4)),
            finished_at: Some(time(6)),
            ..ContainerStateTerminated::default()
        };
        PodStatus {
            phase: Some(phase.to_owned()),
            container_statuses: Some(running.iter().map(container).collect()),
            init_container_statuses: Some(vec![ContainerStatus {
                state: Some(ContainerState { terminated: Some(init), ..ContainerState::default() }),
                ..ContainerStatus::default()
            }]),
            ..PodStatus::default()
        }
    }

    #[test]
    fn a_start_is_measured_once_and_without_pulls_for_the_sli() {
        let mut pod = Pod::default();
        pod.metadata.creation_timestamp = Some(time(0));
        let mut start = PodStart::default();
        start.seen(at(1).0);
        assert_eq!(start.works(at(2).0), Some(Duration::from_secs(1)));
        assert_eq!(start.works(at(3).0), None);
        start.pulls(at(6).1);
        start.pulls(at(9).1);
        let steps = [
            status("Pending", &[false, false]),
            status("Running", &[true, false]),
            status("Running", &[true, true]),
        ];
        let of = (&pod, Creation::AtTheServer);
        let first = start.step(of, (Some(&steps[0]), &steps[1]), at(10));
        assert_eq!(first, StartTimes { running: Some(Duration::from_secs(9)), ..StartTimes::default() });
        let second = start.step(of, (Some(&steps[1]), &steps[2]), at(12));
        let (total, sli) = (Some(Duration::from_secs(12)), Some(Duration::from_secs(7)));
        assert_eq!(second, StartTimes { running: None, total, sli });
        assert_eq!(start.step(of, (Some(&steps[1]), &steps[2]), at(20)), StartTimes::default());
    }

    #[test]
    fn static_pods_and_pods_of_an_earlier_life_have_no_total() {
        let (pod, ready) = (Pod::default(), status("Running", &[true]));
        let mut start = PodStart::default();
        start.seen(at(1).0);
        assert_eq!(start.step((&pod, Creation::AtTheServer), (None, &ready), at(5)), StartTimes::default());
        let mut start = PodStart::default();
        start.seen(at(1).0);
        let times = start.step((&pod, Creation::Here), (Some(&status("Pending", &[false])), &ready), at(5));
        assert_eq!(times, StartTimes { running: Some(Duration::from_secs(4)), ..StartTimes::default() });
    }
}
