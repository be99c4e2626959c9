//! Gives back what a stopped pod holds, and in the end removes every trace of it (CONTRACT 3.7, 3.8).

use core_cm::cgroup::CgroupPath;
use core_types::QosClass;

use super::Executor;
use super::context::{Op, StepError, StepResult};

impl Executor {
    /// Releases volumes, cgroup and user namespace of a pod of which nothing runs. Containers, logs and directory stay.
    pub(super) async fn release(&self, op: &Op) -> StepResult<()> {
        op.notes.doing("", "releasing volumes and cgroup").await;
        self.outside
            .files
            .tear_down_volumes(&op.uid)
            .await
            .map_err(|error| StepError::failed("FailedUnmount", error))?;
        self.destroy_cgroup(op).await?;
        self.size_classes(op).await.map_err(|error| StepError::failed("FailedRemove", error))?;
        self.release_user_namespace(op).await
    }

    /// Removes logs, sandboxes, containers, cgroup and directory.
    ///
    /// In this order, because an agent that is killed in the middle has to find what is left: logs by the name that the
    /// runtime's labels keep, everything else by the directory.
    pub(super) async fn erase(&self, op: &Op) -> StepResult<()> {
        op.notes.doing("", "removing containers and directories").await;
        let files = &self.outside.files;
        files
            .remove_pod_logs(&op.key, &op.uid)
            .await
            .map_err(|error| StepError::failed("FailedRemove", error))?;
        for sandbox in &op.observed.sandboxes {
            self.outside
                .runtime
                .remove_sandbox(sandbox.id())
                .await
                .map_err(|error| StepError::failed("FailedRemove", error))?;
        }
        // Containers go with their sandbox; these lost theirs.
        for container in &op.observed.containers {
            self.outside
                .runtime
                .remove_container(container.id())
                .await
                .map_err(|error| StepError::failed("FailedRemove", error))?;
        }
        self.destroy_cgroup(op).await?;
        files.remove_pod_dir(&op.uid).await.map_err(|error| StepError::failed("FailedRemove", error))
    }

    /// Removes the pod's cgroup wherever it stands: the class of a pod that only the runtime knew is not known.
    async fn destroy_cgroup(&self, op: &Op) -> StepResult<()> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        for class in QosClass::ALL {
            let path = CgroupPath::pod(class, &op.uid);
            cgroups.destroy(&path).await.map_err(|error| StepError::failed("FailedRemove", error))?;
        }
        Ok(())
    }
}
