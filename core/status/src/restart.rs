//! Whether a container that does not run will be started again, and whether all of the pod are being restarted
//! (CONTRACT 3.12), as far as statuses depend on it.

use core_runtime::restart::{all_restart, restarts_after};
use core_types::PodExt;
use core_types::api::{Container, PodStatus};
use core_types::runtime::ContainerState;
use core_types::view::Lifecycle;

use crate::StatusInput;

/// True when the executor will start the container (again), so that its status is Waiting when it says why it has not.
/// `spec` is `None` for an ephemeral container.
pub(crate) fn will_start(input: &StatusInput<'_>, name: &str, spec: Option<&Container>) -> bool {
    if input.pod.metadata.deletion_timestamp.is_some() || input.lifecycle >= Lifecycle::Terminating {
        return false;
    }
    let Some(latest) = input.observed.and_then(|observed| observed.latest(name)) else { return true };
    match latest.state() {
        ContainerState::Running => false,
        ContainerState::Created | ContainerState::Unknown => true,
        ContainerState::Exited => match spec {
            Some(spec) => restarts_after(input.pod, spec, latest.status.exit_code, input.rules()),
            None => false,
        },
    }
}

/// Whether all containers of a pod are being restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllContainers {
    /// They are: from the end that asked for it until the first start after it.
    Restarting,
    /// They are not.
    Settled,
}

/// Reads it from the picture and, once the container that asked is gone, from the last status.
pub(crate) fn all_containers(input: &StatusInput<'_>, old: &PodStatus) -> AllContainers {
    let was_restarting = old
        .conditions
        .iter()
        .flatten()
        .any(|known| known.type_ == "AllContainersRestarting" && known.status == "True");
    let asked = input.observed.is_some_and(|observed| all_restart(input.pod, observed, input.rules()));
    if was_restarting || asked { AllContainers::Restarting } else { AllContainers::Settled }
}

/// True when the runtime holds no container of the pod's two lists any more.
pub(crate) fn is_cleaned_up(input: &StatusInput<'_>) -> bool {
    let latest = |name: &str| input.observed.and_then(|observed| observed.latest(name));
    input.pod.container_refs().iter().all(|container| latest(&container.spec.name).is_none())
}
