//! The rows of a listing sorted by pod, which of their statuses must be asked, and the picture made from the answers.

use std::collections::{BTreeMap, BTreeSet};

use core_types::runtime::{
    ContainerState, ContainerStatus, ContainerSummary, SandboxState, SandboxStatus, SandboxSummary,
};
use core_types::{
    ContainerId, MonoTime, ObservedContainer, ObservedPod, ObservedSandbox, PodKey, PodUid, SandboxId, keys,
};

use crate::{InspectedPod, PodToInspect, Scope};

/// Rows of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) sandboxes: Vec<SandboxSummary>,
    pub(crate) containers: Vec<ContainerSummary>,
}

/// Whether a status that has been read may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Where the state in the list is the state in the status.
    Unchanged,
    /// Only of what has ended.
    EndedOnly,
}

/// A pod with its answers outstanding.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    key: PodKey,
    pub(crate) observed_at: MonoTime,
    pub(crate) reuse: Reuse,
    rows: Rows,
    reused_sandboxes: Vec<SandboxStatus>,
    reused_containers: Vec<ObservedContainer>,
}

/// Sorts rows by pod. Rows of no pod (containers that no kubelet made), and rows outside the scope that a runtime gives
/// although they were filtered out, are left aside.
pub(crate) fn by_pod(
    scope: &Scope,
    sandboxes: Vec<SandboxSummary>,
    containers: Vec<ContainerSummary>,
) -> BTreeMap<PodUid, Rows> {
    let wanted = |uid: &PodUid| match scope {
        Scope::All => !uid.as_str().is_empty(),
        Scope::One(one) => uid == one,
    };
    let mut pods: BTreeMap<PodUid, Rows> = BTreeMap::new();
    for sandbox in sandboxes {
        if wanted(&sandbox.uid) {
            pods.entry(sandbox.uid.clone()).or_default().sandboxes.push(sandbox);
        }
    }
    for container in containers {
        let Some(uid) = container.labels.get(keys::POD_UID_LABEL).map(|uid| PodUid::from(uid.as_str()))
        else {
            continue;
        };
        if wanted(&uid) {
            pods.entry(uid).or_default().containers.push(container);
        }
    }
    pods
}

impl Rows {
    /// Namespace and name: of the sandbox, else from a container's labels.
    pub(crate) fn key(&self) -> PodKey {
        if let Some(sandbox) = self.sandboxes.first() {
            return PodKey::new(sandbox.namespace.as_str(), sandbox.name.as_str());
        }
        let label = |key| {
            self.containers
                .first()
                .and_then(|row| row.labels.get(key))
                .map(String::as_str)
                .unwrap_or_default()
        };
        PodKey::new(label(keys::POD_NAMESPACE_LABEL), label(keys::POD_NAME_LABEL))
    }

    /// True when the picture shows the same sandboxes and containers in the same states.
    pub(crate) fn shows_the_same_as(&self, observed: &ObservedPod) -> bool {
        let sandboxes: BTreeMap<&SandboxId, SandboxState> =
            self.sandboxes.iter().map(|row| (&row.id, row.state)).collect();
        let containers: BTreeMap<&ContainerId, ContainerState> =
            self.containers.iter().map(|row| (&row.id, row.state)).collect();
        sandboxes == observed.sandboxes.iter().map(|s| (s.id(), s.0.summary.state)).collect()
            && containers == observed.containers.iter().map(|c| (c.id(), c.state())).collect()
    }
}

impl Rows {
    /// True when the picture shows something that the rows lack, or in a later state: nothing comes back to an earlier one.
    pub(crate) fn is_behind(&self, observed: &ObservedPod) -> bool {
        let sandboxes = observed.sandboxes.iter().any(|known| {
            let row = self.sandboxes.iter().find(|row| row.id == *known.id());
            row.is_none_or(|row| row.state == SandboxState::Ready && !known.is_ready())
        });
        let containers = observed.containers.iter().any(|known| {
            let row = self.containers.iter().find(|row| row.id == *known.id());
            row.is_none_or(|row| comes_before(row.state, known.state()))
        });
        sandboxes || containers
    }
}

/// True when a container is in the first state before it is in the second.
fn comes_before(first: ContainerState, second: ContainerState) -> bool {
    use ContainerState::{Created, Exited, Running};
    matches!((first, second), (Created, Running | Exited) | (Running, Exited))
}

impl Pending {
    /// Namespace and name of the pod.
    pub(crate) fn key(&self) -> &PodKey {
        &self.key
    }

    /// Sorts the rows of a pod that changed into statuses to ask (the second value) and statuses to use again.
    pub(crate) fn new(
        uid: &PodUid,
        rows: Rows,
        old: Option<&ObservedPod>,
        reuse: Reuse,
        observed_at: MonoTime,
    ) -> (Self, PodToInspect) {
        let mut pending = Self {
            key: rows.key(),
            observed_at,
            reuse,
            rows: rows.clone(),
            reused_sandboxes: Vec::new(),
            reused_containers: Vec::new(),
        };
        let mut ask = PodToInspect {
            uid: uid.clone(),
            key: pending.key.clone(),
            observed_at,
            sandboxes: Vec::new(),
            containers: Vec::new(),
        };
        for row in rows.sandboxes {
            let known = old.and_then(|old| old.sandboxes.iter().find(|known| *known.id() == row.id));
            match known.filter(|known| sandbox_reusable(&row, &known.0, reuse)) {
                Some(known) => pending.reused_sandboxes.push(known.0.clone()),
                None => ask.sandboxes.push(row),
            }
        }
        for row in rows.containers {
            let known = old.and_then(|old| old.containers.iter().find(|known| *known.id() == row.id));
            match known.filter(|known| container_reusable(&row, &known.status, reuse)) {
                Some(known) => pending.reused_containers.push(known.clone()),
                None => ask.containers.push(row),
            }
        }
        (pending, ask)
    }

    /// The picture: each row with the answer for it or the status used again. A row with neither is gone by now.
    pub(crate) fn finish(
        self,
        uid: PodUid,
        inspected: InspectedPod,
        old: Option<&ObservedPod>,
    ) -> ObservedPod {
        let listed_sandboxes: BTreeSet<&SandboxId> = self.rows.sandboxes.iter().map(|row| &row.id).collect();
        let listed_containers: BTreeMap<&ContainerId, &SandboxId> =
            self.rows.containers.iter().map(|row| (&row.id, &row.sandbox_id)).collect();

        let mut sandboxes: Vec<ObservedSandbox> = inspected
            .sandboxes
            .into_iter()
            .chain(self.reused_sandboxes)
            .filter(|status| listed_sandboxes.contains(&status.summary.id))
            .map(ObservedSandbox)
            .collect();
        sandboxes.sort_by(|a, b| sandbox_age(a).cmp(&sandbox_age(b)).reverse());
        sandboxes.dedup_by(|a, b| a.id() == b.id());

        let fresh = inspected.containers.into_iter().filter_map(|answer| {
            let sandbox_id = (*listed_containers.get(&answer.status.id)?).clone();
            Some(ObservedContainer {
                sandbox_id,
                status: answer.status,
                termination_message: answer.termination_message,
            })
        });
        let mut containers: Vec<ObservedContainer> = fresh.chain(self.reused_containers).collect();
        containers.sort_by(|a, b| container_age(a).cmp(&container_age(b)).reverse());
        containers.dedup_by(|a, b| a.id() == b.id());

        let ips = ips(&sandboxes, old);
        ObservedPod { uid, key: self.key, sandboxes, containers, ips, observed_at: self.observed_at }
    }
}

/// IPs of the newest sandbox while it is ready. When no sandbox is, the last known ones stay: the API shows the address
/// of a pod that has ended (CONTRACT 4.1).
fn ips(sandboxes: &[ObservedSandbox], old: Option<&ObservedPod>) -> Vec<String> {
    let current = sandboxes.first().filter(|newest| newest.is_ready()).map(|newest| newest.0.ips.clone());
    match current {
        Some(ips) if !ips.is_empty() => ips,
        _ if sandboxes.iter().any(ObservedSandbox::is_ready) => Vec::new(),
        _ => old.map(|old| old.ips.clone()).unwrap_or_default(),
    }
}

fn sandbox_reusable(row: &SandboxSummary, known: &SandboxStatus, reuse: Reuse) -> bool {
    if known.summary.state != row.state {
        return false;
    }
    match row.state {
        SandboxState::NotReady => true,
        // A ready sandbox without an address may still get one.
        SandboxState::Ready => reuse == Reuse::Unchanged && (known.host_network || !known.ips.is_empty()),
    }
}

fn container_reusable(row: &ContainerSummary, known: &ContainerStatus, reuse: Reuse) -> bool {
    known.state == row.state
        && match row.state {
            ContainerState::Exited => true,
            ContainerState::Created | ContainerState::Running => reuse == Reuse::Unchanged,
            ContainerState::Unknown => false,
        }
}

fn sandbox_age(sandbox: &ObservedSandbox) -> (u32, core_types::WallTime, &SandboxId) {
    (sandbox.0.summary.attempt, sandbox.0.summary.created_at, sandbox.id())
}

fn container_age(container: &ObservedContainer) -> (u32, core_types::WallTime, &ContainerId) {
    (container.restart_count(), container.status.created_at, container.id())
}
