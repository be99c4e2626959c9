//! Whether a container that does not run will be started again (CONTRACT 3.12), as far as its status depends on it.

use core_runtime::restart::restarts_after;
use core_types::api::Container;
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
            Some(spec) => restarts_after(input.pod, spec, latest.status.exit_code),
            None => false,
        },
    }
}
