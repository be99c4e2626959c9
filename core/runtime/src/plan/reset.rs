//! A restart of all containers of the pod (CONTRACT 3.12): everything of them goes, the sandbox stays, and the next plan
//! starts the pod from its beginning, init containers included.
//!
//! The containers whose ends asked for it go last: while one of them is there, a restart that was cut short goes on.
//! Ephemeral containers are left alone.

use core_types::runtime::ContainerState;
use core_types::{ContainerKind, ContainerRef, ObservedContainer};

use super::{Action, Draft, terminate};
use crate::restart::ends_all;

pub(super) fn all(draft: &mut Draft<'_>) {
    draft.sandbox_actions = terminate::stop_for_restart(draft.input.pod, draft.input.observed);
    let (regular, init): (Vec<_>, Vec<_>) =
        draft.containers.iter().partition(|container| container.kind == ContainerKind::Regular);
    let observed = draft.input.observed;
    let instances = |list: &[ContainerRef<'_>], wanted: Part| -> Vec<Action> {
        let of_one = |container: &ContainerRef<'_>| {
            let instances = observed.instances(&container.spec.name);
            let wanted = instances.filter(move |instance| part_of(container, instance) == wanted);
            let removals = wanted.map(|instance| Action::RemoveContainer(instance.id().clone()));
            removals.collect::<Vec<_>>()
        };
        list.iter().flat_map(of_one).collect()
    };
    for (list, part) in
        [(&regular, Part::Follows), (&init, Part::Follows), (&regular, Part::Asked), (&init, Part::Asked)]
    {
        draft.sandbox_actions.extend(instances(list, part));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its end asked for the restart.
    Asked,
    /// It is restarted with the others.
    Follows,
}

fn part_of(container: &ContainerRef<'_>, instance: &ObservedContainer) -> Part {
    let asked =
        instance.state() == ContainerState::Exited && ends_all(container.spec, instance.status.exit_code);
    if asked { Part::Asked } else { Part::Follows }
}
