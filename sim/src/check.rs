//! What must hold of a simulated node, seen from outside: in the runtime, in the directories, in the published view.

use std::collections::{BTreeMap, BTreeSet};

use core_types::keys::CONFIG_SEEN_ANNOTATION;
use core_types::runtime::ContainerState;
use core_types::view::{Lifecycle, NodeView, PodView};
use core_types::{ContainerId, ContainerKind, PodExt, PodUid};
use ports::Cgroups;

use crate::runtime::FakeRuntime;
use crate::scenario::Program;
use crate::world::World;

/// The rules that the runtime watches itself: nothing runs twice, no two pods of one name.
pub fn rules(runtime: &FakeRuntime) -> Result<(), String> {
    match runtime.store().violations.first() {
        Some(violation) => Err(violation.clone()),
        None => Ok(()),
    }
}

/// Follows the published view over time.
#[derive(Debug, Default)]
pub struct Watcher {
    seen: BTreeMap<PodUid, Incarnation>,
    /// Names whose manifest was deleted: such a pod may come back under its UID and start at zero.
    deleted: BTreeSet<String>,
}

/// What was seen of a pod since it was first wanted.
#[derive(Debug, Default)]
struct Incarnation {
    /// When the agent first saw it; empty after a restart of the agent, which forgets it.
    first_seen: String,
    phase: String,
    restarts: BTreeMap<String, i32>,
    /// Containers that the agent has not shown since it was restarted: while nothing of them is there to count on, it
    /// does not know their counts.
    forgotten: BTreeSet<String>,
    /// Containers that the runtime held when the pod was first seen stopping.
    when_stopping: Option<BTreeSet<ContainerId>>,
}

impl Watcher {
    /// The agent forgets when it first saw a pod; counts and terminal phases it must not forget.
    pub fn agent_restarted(&mut self) {
        for incarnation in self.seen.values_mut() {
            incarnation.first_seen.clear();
            incarnation.forgotten = incarnation.restarts.keys().cloned().collect();
        }
    }

    /// A manifest was deleted.
    pub fn deleted(&mut self, name: &str) {
        self.deleted.insert(name.to_owned());
    }

    /// Compares the view with everything seen before.
    pub fn look(&mut self, view: &NodeView, runtime: &FakeRuntime) -> Result<(), String> {
        // A status without conditions is not the agent's: it has not looked at the runtime yet.
        for (uid, pod) in view.pods.iter().filter(|(_, pod)| pod.status.conditions.is_some()) {
            let key = pod.pod.key();
            let first_seen = pod.pod.annotation(CONFIG_SEEN_ANNOTATION).unwrap_or_default();
            let before = self.seen.entry(uid.clone()).or_default();
            let may_restart = before.first_seen.is_empty()
                && self.deleted.iter().any(|name| key.name.starts_with(name.as_str()));
            if may_restart || (!before.first_seen.is_empty() && before.first_seen != first_seen) {
                *before = Incarnation::default();
            }
            first_seen.clone_into(&mut before.first_seen);
            before.compare(&key.to_string(), pod)?;
            before.check_starts(pod, &containers_of(runtime, uid))?;
        }
        self.seen.retain(|uid, _| view.pods.contains_key(uid));
        Ok(())
    }
}

fn containers_of(runtime: &FakeRuntime, uid: &PodUid) -> BTreeSet<ContainerId> {
    let store = runtime.store();
    let of_pod = store.containers.keys().filter(|id| store.uid_of(id).as_ref() == Some(uid));
    of_pod.cloned().collect()
}

impl Incarnation {
    /// PW-3: a pod that stops gets no new container.
    fn check_starts(&mut self, pod: &PodView, now: &BTreeSet<ContainerId>) -> Result<(), String> {
        if pod.lifecycle < Lifecycle::Terminating {
            self.when_stopping = None;
            return Ok(());
        }
        let before = self.when_stopping.get_or_insert_with(|| now.clone());
        match now.difference(before).next() {
            Some(id) => {
                Err(format!("PW-3: {id} of {} was made while the pod was {:?}", pod.pod.key(), pod.lifecycle))
            }
            None => Ok(()),
        }
    }

    fn compare(&mut self, key: &str, pod: &PodView) -> Result<(), String> {
        let phase = pod.status.phase.clone().unwrap_or_default();
        if matches!(self.phase.as_str(), "Succeeded" | "Failed") && phase != self.phase {
            return Err(format!("ST-1: phase of {key} went from {} to {phase}", self.phase));
        }
        self.phase = phase;
        let init = pod.status.init_container_statuses.iter().flatten();
        for status in init.chain(pod.status.container_statuses.iter().flatten()) {
            if status.container_id.is_some() {
                self.forgotten.remove(&status.name);
            } else if self.forgotten.contains(&status.name) {
                continue;
            }
            let before = self.restarts.entry(status.name.clone()).or_default();
            if status.restart_count < *before {
                let (name, count) = (&status.name, status.restart_count);
                return Err(format!("ST-2: restartCount of {key}/{name} fell from {before} to {count}"));
            }
            *before = status.restart_count;
        }
        Ok(())
    }
}

/// Every wanted pod is as its program says, and nothing else is left anywhere.
pub fn converged(world: &World, expected: &BTreeMap<String, Program>) -> Result<(), String> {
    let view = world.view();
    let mut uids = BTreeSet::new();
    for (name, program) in expected {
        let found = view.pods.iter().find(|(_, pod)| *pod.pod.key().name == **name);
        let Some((uid, pod)) = found else { return Err(format!("pod {name} is not there")) };
        uids.insert(uid.clone());
        let phase = pod.status.phase.as_deref().unwrap_or_default();
        let running = running(world, uid);
        let containers = pod.pod.container_refs().iter().filter(|c| c.kind != ContainerKind::Init).count();
        let right = match program {
            Program::Escorted | Program::Anew => phase == "Running" && running == containers,
            Program::Serve | Program::Stubborn => phase == "Running" && running == containers,
            Program::Complete => phase == "Succeeded" && running == 0,
            Program::Fail => phase == "Failed" && running == 0,
            Program::CrashLoop => running <= containers && matches!(phase, "Running" | "Pending"),
        };
        if !right {
            let status = serde_json::to_string(&pod.status).unwrap_or_default();
            return Err(format!(
                "pod {name} ({program:?}) is {phase} with {running} running containers, {:?}, problem {:?}, doing {:?}: {status}",
                pod.lifecycle, pod.problem, pod.activity
            ));
        }
    }
    logs(world)?;
    nothing_else(world, &view, &uids)
}

/// Each running container writes into its log, which has no more files than it may have, and is not far beyond its cap.
fn logs(world: &World) -> Result<(), String> {
    let store = world.runtime.store();
    let Some(policy) = world.log_policy() else { return Ok(()) };
    for (id, _) in store.containers.iter().filter(|(_, c)| c.state == ContainerState::Running) {
        let Some(log) = store.log_path(id) else { continue };
        let files = world.log_files.of_log(&log);
        let current = files.get(&log).copied().unwrap_or_default();
        if !world.log_files.is_written(&log) {
            return Err(format!("container {id} does not write into {log}, but beside it: {files:?}"));
        }
        if files.len() > policy.max_files || current > policy.max_size_bytes / 10 * 11 {
            return Err(format!("the log of {id} is beyond its cap: {files:?}"));
        }
    }
    Ok(())
}

fn running(world: &World, uid: &PodUid) -> usize {
    let store = world.runtime.store();
    let of_pod = store
        .containers
        .iter()
        .filter(|(id, c)| c.state == ContainerState::Running && store.uid_of(id).as_ref() == Some(uid));
    of_pod.count()
}

fn nothing_else(world: &World, view: &NodeView, uids: &BTreeSet<PodUid>) -> Result<(), String> {
    if let Some((uid, pod)) = view.pods.iter().find(|(uid, _)| !uids.contains(*uid)) {
        return Err(format!("pod {} ({uid}) should be gone but is {:?}", pod.pod.key(), pod.lifecycle));
    }
    let in_runtime: Vec<PodUid> =
        world.runtime.store().sandboxes.values().filter_map(|sandbox| sandbox.config.uid.clone()).collect();
    if let Some(uid) = in_runtime.iter().find(|uid| !uids.contains(*uid)) {
        return Err(format!("the runtime still holds a sandbox of {uid}"));
    }
    if let Some(uid) = world.files.pods().iter().find(|uid| !uids.contains(*uid)) {
        return Err(format!("VM-2: files of {uid} are left behind"));
    }
    let cgroups = futures_executor(world.cgroups.list_pods()).map_err(|error| error.to_string())?;
    match cgroups.iter().find(|(uid, _)| !uids.contains(uid)) {
        Some((uid, _)) => Err(format!("the cgroup of {uid} is left behind")),
        None => Ok(()),
    }
}

/// The fakes' futures never wait.
fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// What may not change when only the agent is restarted (SP-2).
#[derive(Debug, PartialEq, Eq)]
pub struct Steady {
    running: BTreeSet<String>,
    conditions: BTreeMap<String, Vec<(String, String)>>,
}

impl Steady {
    /// Takes a picture.
    pub fn of(world: &World) -> Self {
        let store = world.runtime.store();
        let is_looping = |args: &[String]| matches!(args, [word, code, _] if word == "exit" && code != "0");
        let running = store
            .containers
            .iter()
            .filter(|(_, c)| c.state == ContainerState::Running && !is_looping(&c.config.args))
            .map(|(id, _)| id.to_string())
            .collect();
        let mut conditions = BTreeMap::new();
        for pod in world.view().pods.values() {
            let loops = pod
                .pod
                .container_refs()
                .iter()
                .any(|c| is_looping(c.spec.args.as_deref().unwrap_or_default()));
            if !loops {
                let of_pod =
                    pod.status.conditions.iter().flatten().map(|c| (c.type_.clone(), c.status.clone()));
                conditions.insert(pod.pod.key().to_string(), of_pod.collect());
            }
        }
        Self { running, conditions }
    }

    /// Fails when anything differs.
    pub fn same_as(&self, before: &Self) -> Result<(), String> {
        match self == before {
            true => Ok(()),
            false => {
                Err(format!("SP-2: the restart of the agent changed something: {before:?} became {self:?}"))
            }
        }
    }
}

/// No call but what one slow relist needs.
pub fn silent(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> Result<(), String> {
    for (call, count) in after {
        let made = count - before.get(call).copied().unwrap_or(0);
        let allowed = u64::from(matches!(*call, "ListContainers" | "ListPodSandbox" | "Status"));
        if made > allowed {
            return Err(format!("a node at rest made {made} calls of {call}"));
        }
    }
    Ok(())
}
