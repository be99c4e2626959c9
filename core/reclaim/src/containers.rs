//! Which dead containers and sandboxes go (CONTRACT 5.12): all of pods that are gone, then the oldest above the limit per
//! container name, then the oldest above the limit of the node. A sandbox goes when nothing is left in it and a newer one
//! stands for its pod.
//!
//! Reads pictures of pods; whose pod is gone the caller says. Age is counted from creation, as upstream does. The order of
//! the instances of one container is the picture's own, which a step of the wall clock cannot turn around. A container that
//! was created and not started is dead only when there is a newer one; one in an unknown state may run and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core_types::runtime::ContainerState;
use core_types::{ContainerId, ObservedContainer, ObservedPod, PodUid, SandboxId, WallTime};

/// How many dead containers stay. The youngest stay, for `logs --previous` and `lastState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// `--minimum-container-ttl-duration`: younger containers stay.
    pub min_age: Duration,
    /// `--maximum-dead-containers-per-container`; `None` (a negative flag) for no limit.
    pub per_container: Option<usize>,
    /// `--maximum-dead-containers`; `None` (a negative flag) for no limit.
    pub per_node: Option<usize>,
}

/// Whether the containers of a pod are still needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFate {
    /// Its youngest dead containers tell how it fares.
    Stays,
    /// Nothing of it is needed.
    Gone,
}

/// A dead container that goes.
#[derive(Clone, Debug, PartialEq)]
pub struct RemovableContainer<'a> {
    /// Its pod.
    pub pod: &'a ObservedPod,
    /// The container.
    pub container: &'a ObservedContainer,
    /// Restart counts of the instances of its name that stay, with their logs.
    pub kept: Vec<u32>,
}

/// What goes, in this order, and when there will be more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection<'a> {
    /// Containers, the oldest of each name first.
    pub containers: Vec<RemovableContainer<'a>>,
    /// Sandboxes in which nothing is left then, each with its pod.
    pub sandboxes: Vec<(&'a ObservedPod, SandboxId)>,
    /// When the next container is old enough; `None` when none waits for that.
    pub next_at: Option<WallTime>,
}

impl Collection<'_> {
    /// True when nothing goes now.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.sandboxes.is_empty()
    }
}

/// What of the dead containers and sandboxes of these pods goes at `now`.
pub fn collect<'a>(
    pods: &[(&'a ObservedPod, PodFate)],
    policy: ContainerPolicy,
    now: WallTime,
) -> Collection<'a> {
    let mut dead = Vec::new();
    let mut next_at: Option<WallTime> = None;
    for (pod, fate) in pods {
        for (container, age_rank) in dead_containers(pod) {
            let old_enough_at = container.status.created_at + policy.min_age;
            if old_enough_at > now {
                next_at = Some(next_at.map_or(old_enough_at, |known| known.min(old_enough_at)));
                continue;
            }
            dead.push(DeadContainer { pod, container, age_rank, fate: *fate });
        }
    }
    let removed = removable(dead, policy);
    let gone: BTreeSet<&ContainerId> = removed.iter().map(|dead| dead.container.id()).collect();
    let sandboxes = pods.iter().flat_map(|(pod, fate)| {
        empty_sandboxes(pod, *fate, &gone).map(move |id| (*pod, id.clone())).collect::<Vec<_>>()
    });
    let kept = |dead: &DeadContainer<'a>| {
        let instances = dead.pod.instances(dead.container.name());
        instances.filter(|other| !gone.contains(other.id())).map(ObservedContainer::restart_count).collect()
    };
    Collection {
        sandboxes: sandboxes.collect(),
        containers: removed
            .iter()
            .map(|dead| RemovableContainer { pod: dead.pod, container: dead.container, kept: kept(dead) })
            .collect(),
        next_at,
    }
}

/// A container that does not run, older than the minimum age.
#[derive(Clone, Copy, Debug)]
struct DeadContainer<'a> {
    pod: &'a ObservedPod,
    container: &'a ObservedContainer,
    /// How many instances of its name are newer.
    age_rank: usize,
    fate: PodFate,
}

fn dead_containers(pod: &ObservedPod) -> impl Iterator<Item = (&ObservedContainer, usize)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    pod.containers.iter().filter_map(move |container| {
        let count = seen.entry(container.name()).or_default();
        let age_rank = *count;
        *count += 1;
        let is_dead = match container.state() {
            ContainerState::Exited => true,
            ContainerState::Created => age_rank > 0,
            ContainerState::Running | ContainerState::Unknown => false,
        };
        is_dead.then_some((container, age_rank))
    })
}

fn removable(dead: Vec<DeadContainer<'_>>, policy: ContainerPolicy) -> Vec<DeadContainer<'_>> {
    let mut units: BTreeMap<(&PodUid, &str), Vec<DeadContainer<'_>>> = BTreeMap::new();
    let mut gone = Vec::new();
    for one in dead {
        match one.fate {
            PodFate::Gone => gone.push(one),
            PodFate::Stays => units.entry((&one.pod.uid, one.container.name())).or_default().push(one),
        }
    }
    gone.sort_by_key(|one| one.container.status.created_at);
    for unit in units.values_mut() {
        unit.sort_by_key(|one| std::cmp::Reverse(one.age_rank));
    }
    if let Some(most) = policy.per_container {
        shorten(&mut units, most, &mut gone);
    }
    let count = |units: &BTreeMap<_, Vec<DeadContainer<'_>>>| units.values().map(Vec::len).sum::<usize>();
    if let Some(most) = policy.per_node
        && count(&units) > most
    {
        // An equal share for each name, but one at least; then the oldest of all.
        let share = most.checked_div(units.len()).unwrap_or(0).max(1);
        shorten(&mut units, share, &mut gone);
        let excess = count(&units).saturating_sub(most);
        let mut rest: Vec<_> = units.into_values().flatten().collect();
        rest.sort_by_key(|one| one.container.status.created_at);
        gone.extend(rest.into_iter().take(excess));
    }
    gone
}

/// Moves all but the `most` youngest of each unit to `gone`.
fn shorten<'a>(
    units: &mut BTreeMap<(&PodUid, &str), Vec<DeadContainer<'a>>>,
    most: usize,
    gone: &mut Vec<DeadContainer<'a>>,
) {
    for unit in units.values_mut() {
        let excess = unit.len().saturating_sub(most);
        gone.extend(unit.drain(..excess));
    }
}

/// Sandboxes that are not ready and hold nothing but what goes. The newest of a pod that stays is kept.
fn empty_sandboxes<'a>(
    pod: &'a ObservedPod,
    fate: PodFate,
    gone: &BTreeSet<&ContainerId>,
) -> impl Iterator<Item = &'a SandboxId> {
    let kept = match fate {
        PodFate::Stays => 1,
        PodFate::Gone => 0,
    };
    pod.sandboxes.iter().skip(kept).filter(|sandbox| !sandbox.is_ready()).map(|sandbox| sandbox.id()).filter(
        |id| {
            let mut inside = pod.containers.iter().filter(|container| container.sandbox_id == **id);
            inside.all(|container| gone.contains(container.id()))
        },
    )
}

#[cfg(test)]
mod tests {
    use core_types::runtime::{ContainerStatus, ProcessFacts, SandboxState, SandboxStatus, SandboxSummary};
    use core_types::{MonoTime, ObservedSandbox, PodKey};

    use super::*;

    /// `main-2:dead@30` is the instance with restart count 2, created at second 30.
    fn instance(text: &str) -> ObservedContainer {
        let (who, when) = text.split_once('@').expect("a time");
        let (instance, state) = who.split_once(':').expect("a state");
        let (name, attempt) = instance.split_once('-').expect("an attempt");
        let state = match state {
            "dead" => ContainerState::Exited,
            "made" => ContainerState::Created,
            "lost" => ContainerState::Unknown,
            _ => ContainerState::Running,
        };
        let status = ContainerStatus {
            id: ContainerId::from(instance),
            name: name.to_owned(),
            attempt: attempt.parse().expect("a number"),
            state,
            created_at: WallTime::from_unix_secs(when.parse().expect("seconds")),
            started_at: WallTime::default(),
            finished_at: WallTime::default(),
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_ref: String::new(),
            image_id: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            mounts: Vec::new(),
            log_path: String::new(),
            resources: None,
            process: ProcessFacts::default(),
        };
        ObservedContainer { sandbox_id: SandboxId::from("new"), status, termination_message: String::new() }
    }

    fn sandbox(id: &str, state: SandboxState) -> ObservedSandbox {
        let summary = SandboxSummary {
            id: SandboxId::from(id),
            name: String::new(),
            namespace: String::new(),
            uid: PodUid::from(""),
            attempt: 0,
            state,
            created_at: WallTime::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        };
        ObservedSandbox(SandboxStatus { summary, ips: Vec::new(), host_network: false })
    }

    /// A pod with a ready sandbox and these containers, newest first.
    fn pod(uid: &str, containers: &[&str]) -> ObservedPod {
        let mut pod = ObservedPod::empty(PodUid::from(uid), PodKey::new("default", uid), MonoTime::ZERO);
        pod.sandboxes = vec![sandbox("new", SandboxState::Ready)];
        pod.containers = containers.iter().map(|text| instance(text)).collect();
        pod
    }

    fn removed(
        pods: &[(&ObservedPod, PodFate)],
        per_container: Option<usize>,
        per_node: Option<usize>,
    ) -> Vec<String> {
        let policy = ContainerPolicy { min_age: Duration::ZERO, per_container, per_node };
        let collection = collect(pods, policy, WallTime::from_unix_secs(1000));
        collection.containers.iter().map(|one| format!("{}/{}", one.pod.uid, one.container.id())).collect()
    }

    #[test]
    fn the_oldest_of_each_name_go_and_all_of_pods_that_are_gone() {
        let a =
            pod("a", &["main-3:run@9", "main-2:dead@7", "main-1:dead@8", "main-0:dead@5", "side-0:dead@1"]);
        let b = pod("b", &["main-1:dead@6", "main-0:dead@4", "side-0:run@2"]);
        let all = [(&a, PodFate::Stays), (&b, PodFate::Gone)];
        assert_eq!(removed(&all, None, None), ["b/main-0", "b/main-1"]);
        // The clock was set back between the second and the third instance.
        assert_eq!(removed(&all, Some(1), None), ["b/main-0", "b/main-1", "a/main-0", "a/main-1"]);
        assert_eq!(removed(&all[..1], Some(0), None), ["a/main-0", "a/main-1", "a/main-2", "a/side-0"]);
    }

    #[test]
    fn a_limit_of_the_node_is_shared_and_then_taken_from_the_oldest() {
        let a = pod("a", &["main-2:dead@9", "main-1:dead@8", "main-0:dead@7"]);
        let (b, c) = (pod("b", &["main-0:dead@3"]), pod("c", &["main-0:dead@2"]));
        let all = [(&a, PodFate::Stays), (&b, PodFate::Stays), (&c, PodFate::Stays)];
        assert_eq!(removed(&all, None, Some(5)), [""; 0]);
        assert_eq!(removed(&all, None, Some(3)), ["a/main-0", "a/main-1"]);
        assert_eq!(removed(&all, None, Some(2)), ["a/main-0", "a/main-1", "c/main-0"]);
        assert_eq!(removed(&[], None, Some(0)), [""; 0]);
    }

    #[test]
    fn what_may_run_or_is_being_started_stays() {
        let a = pod("a", &["main-1:made@9", "main-0:lost@7"]);
        assert_eq!(removed(&[(&a, PodFate::Stays)], Some(0), Some(0)), [""; 0]);
        let left = pod("a", &["main-2:run@10", "main-1:made@9", "main-0:dead@7"]);
        assert_eq!(removed(&[(&left, PodFate::Stays)], Some(1), None), ["a/main-0"]);
        assert_eq!(removed(&[(&left, PodFate::Stays)], Some(0), None), ["a/main-0", "a/main-1"]);
    }

    #[test]
    fn the_young_wait_and_the_logs_of_those_that_stay_are_named() {
        let a = pod("a", &["main-3:run@99", "main-2:dead@95", "main-1:dead@50", "main-0:dead@40"]);
        let policy =
            ContainerPolicy { min_age: Duration::from_secs(20), per_container: Some(1), per_node: None };
        let collection = collect(&[(&a, PodFate::Stays)], policy, WallTime::from_unix_secs(100));
        assert_eq!(collection.containers[0].kept, [3, 2, 1]);
        assert_eq!(collection.containers.len(), 1);
        assert_eq!(collection.next_at, Some(WallTime::from_unix_secs(115)));
    }

    #[test]
    fn the_newest_sandbox_of_a_pod_that_stays_is_kept_and_one_with_containers_too() {
        let mut a = pod("a", &["main-1:run@3", "main-0:dead@1"]);
        a.containers[1].sandbox_id = SandboxId::from("old");
        a.sandboxes.push(sandbox("empty", SandboxState::NotReady));
        a.sandboxes.push(sandbox("old", SandboxState::NotReady));
        let sandboxes = |pod: &ObservedPod, fate, per_container| {
            let policy = ContainerPolicy { min_age: Duration::ZERO, per_container, per_node: None };
            let collection = collect(&[(pod, fate)], policy, WallTime::from_unix_secs(1000));
            collection.sandboxes.iter().map(|(_, id)| id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(sandboxes(&a, PodFate::Stays, Some(1)), ["empty"]);
        assert_eq!(sandboxes(&a, PodFate::Stays, Some(0)), ["empty", "old"]);
        let mut gone = pod("b", &["main-0:dead@1"]);
        gone.sandboxes = vec![sandbox("new", SandboxState::NotReady)];
        assert_eq!(sandboxes(&gone, PodFate::Stays, Some(0)), [""; 0]);
        assert_eq!(sandboxes(&gone, PodFate::Gone, None), ["new"]);
    }
}
