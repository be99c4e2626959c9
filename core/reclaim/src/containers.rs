//! Which dead containers and sandboxes go (CONTRACT 5.12): all of pods that are gone, then the oldest above the limit per
//! container name, then the oldest above the limit of the node.

use std::collections::BTreeMap;

use core_types::{ContainerId, PodUid, SandboxId, WallTime};

/// How many dead containers stay. The youngest stay, for `logs --previous` and `lastState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// `--maximum-dead-containers-per-container`; `None` (a negative flag) for no limit.
    pub per_container: Option<usize>,
    /// `--maximum-dead-containers`; `None` (a negative flag) for no limit.
    pub per_node: Option<usize>,
}

/// A container that does not run, older than the minimum age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadContainer {
    /// Its ID.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodUid,
    /// Its name in the pod.
    pub name: String,
    /// When it was created.
    pub created_at: WallTime,
    /// Whether its pod is gone, and with it all that was its.
    pub pod_is_gone: bool,
}

/// Containers to remove, the oldest of each name first.
pub fn removable_containers(dead: &[DeadContainer], policy: ContainerPolicy) -> Vec<ContainerId> {
    let mut units: BTreeMap<(&PodUid, &str), Vec<&DeadContainer>> = BTreeMap::new();
    let mut gone = Vec::new();
    for container in dead {
        match container.pod_is_gone {
            true => gone.push(container),
            false => units.entry((&container.pod, &container.name)).or_default().push(container),
        }
    }
    gone.sort_by_key(|container| container.created_at);
    for unit in units.values_mut() {
        unit.sort_by_key(|container| container.created_at);
    }
    if let Some(most) = policy.per_container {
        shorten(&mut units, most, &mut gone);
    }
    let count = |units: &BTreeMap<_, Vec<&DeadContainer>>| units.values().map(Vec::len).sum::<usize>();
    if let Some(most) = policy.per_node
        && count(&units) > most
    {
        // An equal share for each name, but one at least; then the oldest of all.
        let share = most.checked_div(units.len()).unwrap_or(0).max(1);
        shorten(&mut units, share, &mut gone);
        let excess = count(&units).saturating_sub(most);
        let mut rest: Vec<_> = units.into_values().flatten().collect();
        rest.sort_by_key(|container| container.created_at);
        gone.extend(rest.into_iter().take(excess));
    }
    gone.into_iter().map(|container| container.id.clone()).collect()
}

/// Moves all but the `most` youngest of each unit to `gone`.
fn shorten<'a>(
    units: &mut BTreeMap<(&PodUid, &str), Vec<&'a DeadContainer>>,
    most: usize,
    gone: &mut Vec<&'a DeadContainer>,
) {
    for unit in units.values_mut() {
        let excess = unit.len().saturating_sub(most);
        gone.extend(unit.drain(..excess));
    }
}

/// A sandbox of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldSandbox {
    /// Its ID.
    pub id: SandboxId,
    /// Its pod.
    pub pod: PodUid,
    /// When it was created.
    pub created_at: WallTime,
    /// Whether it is ready, or has containers.
    pub is_active: bool,
    /// Whether its pod is gone.
    pub pod_is_gone: bool,
}

/// Sandboxes to remove: those that are not active, but not the youngest of a pod that is still there.
pub fn removable_sandboxes(sandboxes: &[OldSandbox]) -> Vec<SandboxId> {
    let mut youngest: BTreeMap<&PodUid, WallTime> = BTreeMap::new();
    for sandbox in sandboxes.iter().filter(|sandbox| !sandbox.pod_is_gone) {
        let newest = youngest.entry(&sandbox.pod).or_default();
        *newest = sandbox.created_at.max(*newest);
    }
    let mut removable: Vec<_> = sandboxes
        .iter()
        .filter(|sandbox| !sandbox.is_active && youngest.get(&sandbox.pod) != Some(&sandbox.created_at))
        .collect();
    removable.sort_by_key(|sandbox| sandbox.created_at);
    removable.into_iter().map(|sandbox| sandbox.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(pod: &str, name: &str, age: i64, gone: bool) -> DeadContainer {
        DeadContainer {
            id: ContainerId::from(format!("{pod}/{name}/{age}").as_str()),
            pod: PodUid::from(pod),
            name: name.to_owned(),
            created_at: WallTime::from_unix_nanos(1000 - age),
            pod_is_gone: gone,
        }
    }

    fn removed(dead: &[DeadContainer], per_container: Option<usize>, per_node: Option<usize>) -> Vec<String> {
        let policy = ContainerPolicy { per_container, per_node };
        removable_containers(dead, policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_oldest_of_each_name_go_and_all_of_pods_that_are_gone() {
        let all = [
            dead("a", "main", 3, false),
            dead("a", "main", 1, false),
            dead("a", "main", 2, false),
            dead("a", "side", 9, false),
            dead("b", "main", 5, true),
            dead("b", "main", 6, true),
        ];
        assert_eq!(removed(&all, None, None), ["b/main/6", "b/main/5"]);
        assert_eq!(removed(&all, Some(1), None), ["b/main/6", "b/main/5", "a/main/3", "a/main/2"]);
        assert_eq!(removed(&all[..4], Some(0), None), ["a/main/3", "a/main/2", "a/main/1", "a/side/9"]);
    }

    #[test]
    fn a_limit_of_the_node_is_shared_and_then_taken_from_the_oldest() {
        let all = [
            dead("a", "main", 1, false),
            dead("a", "main", 2, false),
            dead("a", "main", 3, false),
            dead("b", "main", 7, false),
            dead("c", "main", 8, false),
        ];
        assert_eq!(removed(&all, None, Some(5)), [""; 0]);
        assert_eq!(removed(&all, None, Some(3)), ["a/main/3", "a/main/2"]);
        assert_eq!(removed(&all, None, Some(2)), ["a/main/3", "a/main/2", "c/main/8"]);
        assert_eq!(removed(&[], None, Some(0)), [""; 0]);
    }

    #[test]
    fn the_youngest_sandbox_of_a_living_pod_stays() {
        let sandbox = |id: &str, pod: &str, age: i64, is_active: bool, pod_is_gone: bool| OldSandbox {
            id: SandboxId::from(id),
            pod: PodUid::from(pod),
            created_at: WallTime::from_unix_nanos(1000 - age),
            is_active,
            pod_is_gone,
        };
        let all = [
            sandbox("old", "a", 3, false, false),
            sandbox("young", "a", 1, false, false),
            sandbox("gone", "b", 1, false, true),
            sandbox("busy", "b", 2, true, true),
        ];
        let removable: Vec<_> = removable_sandboxes(&all).iter().map(ToString::to_string).collect();
        assert_eq!(removable, ["old", "gone"]);
    }
}
