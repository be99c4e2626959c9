//! What a status shows of resources: those in force and those that were given, of containers and of the pod as a whole
//! (CONTRACT 3.25, 3.29).

use std::collections::BTreeMap;
use std::sync::Arc;

use core_cm::actual::{Known, resources_in_force};
use core_cm::resize::ResizeCondition;
use core_cm::{Overhead, ResourceList, pod_limits, pod_requests};
use core_types::ObservedContainer;
use core_types::api::{ContainerStatus, PodCondition, PodStatus, QuantityText, ResourceRequirements};
use core_types::runtime::ContainerState;

use crate::{StatusInput, WholeResources};

/// `resources` of a container's status. `given` are its resources in the pod.
pub(crate) fn of_container(
    input: &StatusInput<'_>,
    given: &ResourceRequirements,
    latest: &ObservedContainer,
    before: Option<&ContainerStatus>,
) -> ResourceRequirements {
    if latest.state() != ContainerState::Running {
        return given.clone();
    }
    let known = Known {
        reported: latest.status.resources.as_ref(),
        actuated: input.resources.actuated.and_then(|own| own.containers.get(latest.name())),
        before: before.and_then(|before| before.resources.as_ref()),
    };
    resources_in_force(given, known)
}

/// Sets `resources` and `allocatedResources` of the pod as a whole: its sums, with what is in force and as it was given.
pub(crate) fn set(input: &StatusInput<'_>, status: &mut PodStatus) {
    if input.resources.whole == WholeResources::Hidden {
        return;
    }
    let given = Arc::new(input.pod.clone());
    let in_force = input.resources.actuated.map_or_else(|| Arc::clone(&given), |own| own.on(&given));
    status.resources = Some(ResourceRequirements {
        requests: texts(pod_requests(&in_force, Overhead::Included)),
        limits: texts(pod_limits(&in_force, Overhead::Included)),
        ..ResourceRequirements::default()
    });
    status.allocated_resources = texts(pod_requests(&given, Overhead::Included));
}

/// An API list; `None` for an empty one, which the API leaves out.
fn texts(list: ResourceList) -> Option<BTreeMap<String, QuantityText>> {
    (!list.is_empty()).then(|| list.into_iter().map(|(name, amount)| (name, amount.into())).collect())
}

/// The conditions of the pod's resize.
pub(crate) fn conditions(input: &StatusInput<'_>) -> Vec<PodCondition> {
    let Some(known) = input.resources.conditions else { return Vec::new() };
    let named = [("PodResizePending", &known.pending), ("PodResizeInProgress", &known.in_progress)];
    named.into_iter().filter_map(|(name, known)| Some(condition(name, known.as_ref()?))).collect()
}

fn condition(name: &str, known: &ResizeCondition) -> PodCondition {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    PodCondition {
        type_: name.to_owned(),
        status: "True".to_owned(),
        reason: text(&known.reason),
        message: text(&known.message),
        observed_generation: known.generation,
        last_transition_time: Some(known.since.to_api()),
        last_probe_time: None,
    }
}
