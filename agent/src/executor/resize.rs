//! Carries out the resize of a pod that runs (CONTRACT 3.25): checks, then step by step; the first that fails ends it until
//! the next sync.

use core_cm::cgroup::CgroupPath;
use core_cm::resize::{MemoryCheck, MemoryUser, ResizeNeeds, ResizeStep, judge_memory, resize_plan};
use core_cm::{PodResources, sandbox_overhead};
use core_types::api::{Container, Pod};
use core_types::runtime::LinuxResources;
use ports::RuntimeError;

use super::Executor;
use super::context::{Op, StepError, StepResult};

impl Executor {
    /// Brings sizes of containers and of the pod to what the pod was given.
    pub(super) async fn resize(&self, op: &mut Op, pod: &Pod, needs: &ResizeNeeds) -> StepResult<()> {
        op.check_cancelled()?;
        op.notes.doing("", "resizing the pod").await;
        let begun_at = op.now().mono;
        let result = self.carry_out_resize(op, pod, needs).await;
        let millis = u64::try_from(op.now().mono.since(begun_at).as_millis()).unwrap_or(u64::MAX);
        op.notes.resized(result.clone(), millis).await;
        result.map_err(|message| StepError::failed("ResizeError", message))
    }

    async fn carry_out_resize(&self, op: &mut Op, pod: &Pod, needs: &ResizeNeeds) -> Result<(), String> {
        let node = &self.settings.node_facts;
        let path = CgroupPath::pod(core_cm::qos_class(pod), &op.uid);
        let current = match &self.cgroups {
            Some(cgroups) => {
                let limits = cgroups.limits(&path).await;
                Some(limits.map_err(|error| format!("unable to get pod cgroup config: {error}"))?)
            }
            None => None,
        };
        let plan = resize_plan(pod, needs, current.as_ref(), node);
        let mut checked = Vec::new();
        for check in plan.checks {
            let usage = self.memory_usage(&path, &check).await;
            checked.push((check, usage));
        }
        judge_memory(&checked)?;
        for step in plan.steps {
            match step {
                ResizeStep::Pod { values, resources } => {
                    self.tell_runtime(op, pod, &resources).await?;
                    if let Some(cgroups) = &self.cgroups {
                        cgroups.ensure(&path, &values).await.map_err(|error| error.to_string())?;
                    }
                }
                ResizeStep::Container { id, name, resources, actuated } => {
                    let updated = self.outside.runtime.update_container_resources(&id, &resources).await;
                    updated.map_err(|error| format!("container {name:?}: {error}"))?;
                    op.actuated.containers.insert(name, actuated);
                    op.notes.actuated(&op.actuated).await;
                }
            }
        }
        if let Some(cgroups) = &self.cgroups {
            // The limits are in force by now; this brings what goes with them, such as protection.
            let values = core_cm::pod_values(pod, node);
            cgroups.ensure(&path, &values).await.map_err(|error| error.to_string())?;
        }
        op.put_in_force(PodResources::of(pod)).await;
        Ok(())
    }

    /// Memory in use, in bytes; `None` when nobody can say.
    async fn memory_usage(&self, pod: &CgroupPath, check: &MemoryCheck) -> Option<u64> {
        match &check.of {
            MemoryUser::Pod => self.cgroups.as_ref()?.memory_usage_bytes(pod).await.ok(),
            MemoryUser::Container { id, .. } => {
                self.outside.runtime.container_stats(id).await.ok()?.memory?.usage_bytes
            }
        }
    }

    /// Tells the runtime of the pod's resources, before its cgroup changes. Runtimes that do not take the call do without.
    async fn tell_runtime(&self, op: &Op, pod: &Pod, resources: &LinuxResources) -> Result<(), String> {
        let Some(sandbox) = op.observed.latest_sandbox() else { return Ok(()) };
        let overhead = sandbox_overhead(pod, &self.settings.node_facts);
        let runtime = &self.outside.runtime;
        match runtime.update_sandbox_resources(sandbox.id(), Some(&overhead), Some(resources)).await {
            Ok(()) | Err(RuntimeError::Unimplemented { .. }) => Ok(()),
            // containerd 2.2 says so in words only.
            Err(RuntimeError::Failed { message, .. }) if message.contains("not implemented") => Ok(()),
            Err(error) => Err(format!(
                "failed to notify runtime for UpdatePodSandboxResources; resize rejected: {error}"
            )),
        }
    }
}

impl Op {
    /// Notes what is in force now.
    pub(super) async fn put_in_force(&mut self, resources: PodResources) {
        if self.actuated != resources {
            self.actuated = resources;
            self.notes.actuated(&self.actuated).await;
        }
    }

    /// A container is made with what its pod was given.
    pub(super) async fn put_container_in_force(&mut self, container: &Container) {
        let own = container.resources.clone().unwrap_or_default();
        if self.actuated.containers.get(&container.name) != Some(&own) {
            self.actuated.containers.insert(container.name.clone(), own);
            self.notes.actuated(&self.actuated).await;
        }
    }
}
