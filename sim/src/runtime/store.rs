//! What the fake runtime holds, and the rules by which it changes. Pure data under the runtime's lock.

use std::collections::{BTreeMap, BTreeSet};

use core_types::runtime::{
    ContainerConfig, ContainerState, ContainerStats, ContainerStatus, ContainerSummary, Image,
    LinuxResources, MemoryUsage, ProcessFacts, SandboxConfig, SandboxState, SandboxStatus, SandboxSummary,
};
use core_types::{ContainerId, PodUid, SandboxId, WallTime};
use ports::runtime::{RuntimeError, RuntimeResult};

use crate::host::FAKE_USAGE_BYTES;

/// One sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// How it was asked for.
    pub config: SandboxConfig,
    /// State.
    pub state: SandboxState,
    /// Creation time.
    pub created_at: WallTime,
    /// Pod IP.
    pub ip: String,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its sandbox.
    pub sandbox_id: SandboxId,
    /// How it was asked for.
    pub config: ContainerConfig,
    /// State.
    pub state: ContainerState,
    /// Creation time.
    pub created_at: WallTime,
    /// Start time.
    pub started_at: WallTime,
    /// End time.
    pub finished_at: WallTime,
    /// Exit code.
    pub exit_code: i32,
}

/// Everything the runtime holds.
#[derive(Debug, Default)]
pub struct Store {
    /// Sandboxes.
    pub sandboxes: BTreeMap<SandboxId, Sandbox>,
    /// Containers.
    pub containers: BTreeMap<ContainerId, Container>,
    /// Present images by reference.
    pub images: BTreeMap<String, Image>,
    /// Images that the registry does not have.
    pub missing_images: BTreeSet<String>,
    /// Commands that were executed in containers, oldest first: container name and command line.
    pub executed: Vec<String>,
    /// Calls by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Rules of the outside world that the agent broke.
    pub violations: Vec<String>,
    next_id: u64,
}

fn not_found(call: &'static str, id: &impl ToString) -> RuntimeError {
    RuntimeError::NotFound { call, message: id.to_string() }
}

fn failed(call: &'static str, message: impl Into<String>) -> RuntimeError {
    RuntimeError::Failed { call, code: "Unknown".into(), message: message.into() }
}

impl Store {
    /// Calls made so far.
    pub fn call_count(&self) -> u64 {
        self.calls.values().sum()
    }

    pub(super) fn count_call(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
    }

    fn fresh_id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        format!("{kind}{:06}", self.next_id)
    }

    /// UID of the pod that owns a sandbox.
    pub fn uid_of_sandbox(&self, id: &SandboxId) -> Option<PodUid> {
        self.sandboxes.get(id)?.config.uid.clone()
    }

    /// UID of the pod that owns a container.
    pub fn uid_of(&self, id: &ContainerId) -> Option<PodUid> {
        self.uid_of_sandbox(&self.containers.get(id)?.sandbox_id)
    }

    /// Path of a container's log, as its status tells it.
    pub fn log_path(&self, id: &ContainerId) -> Option<String> {
        let container = self.containers.get(id)?;
        let sandbox = self.sandboxes.get(&container.sandbox_id)?;
        Some(format!("{}/{}", sandbox.config.log_directory, container.config.log_path))
    }

    pub(super) fn log_of_running(&self, id: &ContainerId) -> RuntimeResult<String> {
        const CALL: &str = "ReopenContainerLog";
        let container = self.containers.get(id).ok_or_else(|| not_found(CALL, id))?;
        match (container.state, self.log_path(id)) {
            (ContainerState::Running, Some(log)) => Ok(log),
            _ => Err(failed(CALL, "container is not running")),
        }
    }

    pub(super) fn run_sandbox(&mut self, config: &SandboxConfig, now: WallTime) -> RuntimeResult<SandboxId> {
        const CALL: &str = "RunPodSandbox";
        let same = |other: &Sandbox| {
            (&other.config.name, &other.config.namespace, &other.config.uid, other.config.attempt)
                == (&config.name, &config.namespace, &config.uid, config.attempt)
        };
        if let Some((id, _)) = self.sandboxes.iter().find(|(_, sandbox)| same(sandbox)) {
            return Err(failed(CALL, format!("failed to reserve sandbox name: name is reserved for {id:?}")));
        }
        if config.uid.as_ref().is_none_or(|uid| uid.as_str().is_empty()) {
            return Err(failed(CALL, "sandbox has no pod UID"));
        }
        let id = SandboxId::from(self.fresh_id("s"));
        let ip = format!("10.1.{}.{}", self.next_id / 250 % 250, self.next_id % 250 + 1);
        let sandbox = Sandbox { config: config.clone(), state: SandboxState::Ready, created_at: now, ip };
        self.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    pub(super) fn stop_sandbox(&mut self, id: &SandboxId, now: WallTime) -> Vec<ContainerId> {
        let Some(sandbox) = self.sandboxes.get_mut(id) else { return Vec::new() };
        sandbox.state = SandboxState::NotReady;
        let running: Vec<ContainerId> = self
            .containers
            .iter()
            .filter(|(_, c)| c.sandbox_id == *id && c.state == ContainerState::Running)
            .map(|(id, _)| id.clone())
            .collect();
        for container in &running {
            self.exit(container, 137, now);
        }
        running
    }

    pub(super) fn remove_sandbox(&mut self, id: &SandboxId, now: WallTime) {
        self.stop_sandbox(id, now);
        self.sandboxes.remove(id);
        self.containers.retain(|_, container| container.sandbox_id != *id);
    }

    pub(super) fn create_container(
        &mut self,
        sandbox_id: &SandboxId,
        config: &ContainerConfig,
        now: WallTime,
    ) -> RuntimeResult<ContainerId> {
        const CALL: &str = "CreateContainer";
        let sandbox = self.sandboxes.get(sandbox_id).ok_or_else(|| not_found(CALL, sandbox_id))?;
        if sandbox.state != SandboxState::Ready {
            return Err(failed(CALL, format!("sandbox {sandbox_id} is not ready")));
        }
        if !self
            .images
            .values()
            .any(|image| image.id == config.image.image || image.repo_tags.contains(&config.image.image))
        {
            return Err(not_found(CALL, &config.image.image));
        }
        let twin = |other: &Container| {
            other.sandbox_id == *sandbox_id
                && other.config.name == config.name
                && other.config.attempt == config.attempt
        };
        if let Some((id, _)) = self.containers.iter().find(|(_, container)| twin(container)) {
            return Err(failed(
                CALL,
                format!("failed to reserve container name: name is reserved for {id:?}"),
            ));
        }
        let id = ContainerId::from(self.fresh_id("c"));
        let container = Container {
            sandbox_id: sandbox_id.clone(),
            config: config.clone(),
            state: ContainerState::Created,
            created_at: now,
            started_at: WallTime::default(),
            finished_at: WallTime::default(),
            exit_code: 0,
        };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    pub(super) fn start_container(&mut self, id: &ContainerId, now: WallTime) -> RuntimeResult<()> {
        const CALL: &str = "StartContainer";
        let container = self.containers.get(id).ok_or_else(|| not_found(CALL, id))?;
        if container.state != ContainerState::Created {
            return Err(failed(CALL, format!("container {id} is not in created state")));
        }
        let sandbox = self.sandboxes.get(&container.sandbox_id).ok_or_else(|| not_found(CALL, id))?;
        if sandbox.state != SandboxState::Ready {
            return Err(failed(CALL, "sandbox is not running"));
        }
        self.check_start(id);
        self.check_order(id);
        if let Some(container) = self.containers.get_mut(id) {
            container.state = ContainerState::Running;
            container.started_at = now;
        }
        Ok(())
    }

    pub(super) fn exec(&mut self, id: &ContainerId, command: &[String]) -> RuntimeResult<()> {
        const CALL: &str = "ExecSync";
        let container = self.containers.get(id).ok_or_else(|| not_found(CALL, id))?;
        if container.state != ContainerState::Running {
            return Err(failed(CALL, format!("container {id} is not running")));
        }
        let line = format!("{}: {}", container.config.name, command.join(" "));
        self.executed.push(line);
        Ok(())
    }

    /// The rules that hold outside: never two of one container, never two pods of one name.
    fn check_start(&mut self, id: &ContainerId) {
        let Some(starting) = self.containers.get(id) else { return };
        let Some(pod) = self.sandboxes.get(&starting.sandbox_id) else { return };
        let mut violations = Vec::new();
        for (other_id, other) in self.containers.iter().filter(|(_, c)| c.state == ContainerState::Running) {
            let Some(other_pod) = self.sandboxes.get(&other.sandbox_id) else { continue };
            let same_name = (&other_pod.config.namespace, &other_pod.config.name)
                == (&pod.config.namespace, &pod.config.name);
            if same_name && other_pod.config.uid != pod.config.uid {
                let (name, uid, other) = (&pod.config.name, &pod.config.uid, &other_pod.config.uid);
                violations.push(format!(
                    "PW-5: {id} of {name} ({uid:?}) starts while {other_id} of {other:?} runs"
                ));
            }
            if other_pod.config.uid == pod.config.uid && other.config.name == starting.config.name {
                violations.push(format!("container {} runs twice: {other_id} and {id}", other.config.name));
            }
        }
        self.violations.extend(violations);
    }

    /// The agent unmounts the volumes of a pod: nothing of it may run then.
    pub fn note_unmount(&mut self, uid: &PodUid) {
        let mut running = self.containers.iter().filter(|(_, c)| c.state == ContainerState::Running);
        if let Some((id, _)) = running.find(|(id, _)| self.uid_of(id).as_ref() == Some(uid)) {
            let violation = format!("VM-1: volumes of {uid} are unmounted while {id} runs");
            self.violations.push(violation);
        }
    }

    /// Ends a container. Gives the pod's UID if it was running.
    pub fn exit(&mut self, id: &ContainerId, exit_code: i32, now: WallTime) -> Option<PodUid> {
        let container = self.containers.get_mut(id).filter(|c| c.state == ContainerState::Running)?;
        container.state = ContainerState::Exited;
        container.finished_at = now;
        container.exit_code = exit_code;
        self.uid_of(id)
    }

    pub(super) fn sandbox_summary(&self, id: &SandboxId, sandbox: &Sandbox) -> SandboxSummary {
        SandboxSummary {
            id: id.clone(),
            name: sandbox.config.name.clone(),
            namespace: sandbox.config.namespace.clone(),
            uid: sandbox.config.uid.clone().unwrap_or_else(|| PodUid::from("")),
            attempt: sandbox.config.attempt,
            state: sandbox.state,
            created_at: sandbox.created_at,
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: String::new(),
        }
    }

    pub(super) fn sandbox_status(&self, id: &SandboxId) -> RuntimeResult<SandboxStatus> {
        let sandbox = self.sandboxes.get(id).ok_or_else(|| not_found("PodSandboxStatus", id))?;
        let ips = match sandbox.state {
            SandboxState::Ready => vec![sandbox.ip.clone()],
            SandboxState::NotReady => Vec::new(),
        };
        Ok(SandboxStatus { summary: self.sandbox_summary(id, sandbox), ips, host_network: false })
    }

    pub(super) fn container_summary(&self, id: &ContainerId, container: &Container) -> ContainerSummary {
        ContainerSummary {
            id: id.clone(),
            sandbox_id: container.sandbox_id.clone(),
            name: container.config.name.clone(),
            attempt: container.config.attempt,
            state: container.state,
            image: container.config.image.image.clone(),
            image_ref: container.config.image.image.clone(),
            created_at: container.created_at,
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
        }
    }

    pub(super) fn update_resources(
        &mut self,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> RuntimeResult<()> {
        const CALL: &str = "UpdateContainerResources";
        let container = self.containers.get_mut(id).ok_or_else(|| not_found(CALL, id))?;
        if container.state != ContainerState::Running {
            return Err(failed(CALL, "container is not running"));
        }
        container.config.resources = resources.clone();
        Ok(())
    }

    pub(super) fn container_stats(&self, id: &ContainerId) -> RuntimeResult<ContainerStats> {
        let container = self.containers.get(id).ok_or_else(|| not_found("ContainerStats", id))?;
        let usage_bytes = Some(FAKE_USAGE_BYTES);
        Ok(ContainerStats {
            id: id.clone(),
            name: container.config.name.clone(),
            memory: Some(MemoryUsage { usage_bytes, ..MemoryUsage::default() }),
            cpu: None,
            swap: None,
            writable_layer: None,
        })
    }

    pub(super) fn container_status(&self, id: &ContainerId) -> RuntimeResult<ContainerStatus> {
        let container = self.containers.get(id).ok_or_else(|| not_found("ContainerStatus", id))?;
        let reason = match (container.state, container.exit_code) {
            (ContainerState::Exited, 0) => "Completed",
            (ContainerState::Exited, _) => "Error",
            _ => "",
        };
        Ok(ContainerStatus {
            id: id.clone(),
            name: container.config.name.clone(),
            attempt: container.config.attempt,
            state: container.state,
            created_at: container.created_at,
            started_at: container.started_at,
            finished_at: container.finished_at,
            exit_code: container.exit_code,
            image: container.config.image.user_specified_image.clone(),
            image_ref: container.config.image.image.clone(),
            image_id: container.config.image.image.clone(),
            reason: reason.into(),
            message: String::new(),
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            mounts: container.config.mounts.clone(),
            log_path: self.log_path(id).unwrap_or_default(),
            resources: Some(container.config.resources.clone()),
            process: ProcessFacts { user: None, stop_signal: container.config.stop_signal.clone() },
        })
    }
}
