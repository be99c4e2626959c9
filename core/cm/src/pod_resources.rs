//! Requests and limits of one pod as they are remembered: those it was given (allocated), and those that are in force
//! (actuated), CONTRACT 3.25.
//!
//! The spec of a pod says what is wanted. A pod is run by what it was given; [`PodResources::on`] puts that into its spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::{Container, Pod, PodSpec, QuantityText, ResourceRequirements};
use core_types::{PodExt, Quantity};

use crate::resources::{amount, resource_list};

/// Requests and limits of a pod's containers, and of the pod as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodResources {
    /// By the name of an init or regular container.
    pub containers: BTreeMap<String, ResourceRequirements>,
    /// `spec.resources`.
    pub whole: Option<ResourceRequirements>,
}

/// The resources of a container that can change while it runs. Zero means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// CPU request in thousandths of a core.
    pub cpu_request_milli: i64,
    /// CPU limit in thousandths of a core.
    pub cpu_limit_milli: i64,
    /// Memory request in bytes.
    pub memory_request_bytes: i64,
    /// Memory limit in bytes.
    pub memory_limit_bytes: i64,
}

impl PodResources {
    /// What the spec of a pod says.
    pub fn of(pod: &Pod) -> Self {
        let containers = pod.container_refs();
        let of = |container: &Container| container.resources.clone().unwrap_or_default();
        Self {
            containers: containers.iter().map(|c| (c.spec.name.clone(), of(c.spec))).collect(),
            whole: pod.spec_ref().and_then(|spec| spec.resources.clone()),
        }
    }

    /// The pod with these resources instead of its own. The same pod when they do not differ.
    pub fn on(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if !self.differ_from(pod) {
            return Arc::clone(pod);
        }
        let mut changed = Pod::clone(pod);
        if let Some(spec) = &mut changed.spec {
            spec.resources.clone_from(&self.whole);
            for container in containers_mut(spec) {
                if let Some(own) = self.containers.get(&container.name) {
                    container.resources = Some(own.clone());
                }
            }
        }
        Arc::new(changed)
    }

    /// Whether the spec of a pod says something else.
    pub fn differ_from(&self, pod: &Pod) -> bool {
        let none = ResourceRequirements::default();
        let whole = pod.spec_ref().and_then(|spec| spec.resources.as_ref());
        let same_whole = match (&self.whole, whole) {
            (None, None) => true,
            (Some(own), Some(other)) => same(own, other),
            (Some(only), None) | (None, Some(only)) => same(only, &none),
        };
        let differs = |container: &Container| {
            let own = self.containers.get(&container.name);
            own.is_some_and(|own| !same(own, container.resources.as_ref().unwrap_or(&none)))
        };
        !same_whole || pod.container_refs().iter().any(|container| differs(container.spec))
    }

    /// Sizes of a container in force; all zero for one that is not known.
    pub fn sizes(&self, container: &str) -> Sizes {
        let none = ResourceRequirements::default();
        sizes(self.whole.as_ref(), self.containers.get(container).unwrap_or(&none))
    }
}

/// Init and regular containers of a spec, to be changed.
fn containers_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

/// Whether two texts of resources mean the same amounts.
fn same(a: &ResourceRequirements, b: &ResourceRequirements) -> bool {
    resource_list(&a.requests) == resource_list(&b.requests)
        && resource_list(&a.limits) == resource_list(&b.limits)
        && a.claims.iter().flatten().eq(b.claims.iter().flatten())
}

/// What a container of a pod should have: a limit of the pod as a whole holds for containers without one.
pub fn desired_sizes(pod: &Pod, container: &Container) -> Sizes {
    let none = ResourceRequirements::default();
    let whole = pod.spec_ref().and_then(|spec| spec.resources.as_ref());
    sizes(whole, container.resources.as_ref().unwrap_or(&none))
}

fn sizes(whole: Option<&ResourceRequirements>, own: &ResourceRequirements) -> Sizes {
    let limit = |name: &str| match amount(&own.limits, name) {
        own if own.is_zero() => whole.map_or(own, |whole| amount(&whole.limits, name)),
        own => own,
    };
    Sizes {
        cpu_request_milli: amount(&own.requests, "cpu").milli_value(),
        cpu_limit_milli: limit("cpu").milli_value(),
        memory_request_bytes: amount(&own.requests, "memory").value(),
        memory_limit_bytes: limit("memory").value(),
    }
}

/// The container with these sizes instead of its own. What it neither has nor gets stays out of its lists.
pub(crate) fn with_sizes(container: &Container, sizes: Sizes) -> Container {
    let mut container = container.clone();
    let own = container.resources.get_or_insert_default();
    for (list, cpu_milli, memory_bytes) in [
        (&mut own.requests, sizes.cpu_request_milli, sizes.memory_request_bytes),
        (&mut own.limits, sizes.cpu_limit_milli, sizes.memory_limit_bytes),
    ] {
        put(list, "cpu", Quantity::from_milli(cpu_milli));
        put(list, "memory", Quantity::from_bytes(memory_bytes));
    }
    container
}

fn put(list: &mut Option<BTreeMap<String, QuantityText>>, name: &str, value: Quantity) {
    let is_there = list.as_ref().is_some_and(|list| list.contains_key(name));
    if is_there || !value.is_zero() {
        list.get_or_insert_default().insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::pod;

    #[test]
    fn the_given_resources_replace_those_of_the_spec() {
        let old = Arc::new(pod(&[r#"{"requests":{"cpu":"100m"}}"#], &[], "{}"));
        let new = Arc::new(pod(&[r#"{"requests":{"cpu":"0.2"}}"#], &[], "{}"));
        let given = PodResources::of(&old);
        assert!(given.differ_from(&new) && !given.differ_from(&old));
        assert_eq!(given.on(&new).spec, old.spec);
        assert!(Arc::ptr_eq(&given.on(&old), &old));
        let same = Arc::new(pod(&[r#"{"requests":{"cpu":"0.1"},"limits":{}}"#], &[], "{}"));
        assert!(!given.differ_from(&same), "amounts count, not how they are written");
    }

    #[test]
    fn limits_of_the_whole_reach_containers_without_one() {
        let pod = pod(
            &[r#"{"requests":{"memory":"1Mi"},"limits":{"cpu":"250m"}}"#],
            &[],
            r#"{"resources":{"limits":{"cpu":"1","memory":"8Mi"}}}"#,
        );
        let want = Sizes {
            cpu_limit_milli: 250,
            memory_request_bytes: 1 << 20,
            memory_limit_bytes: 8 << 20,
            ..Sizes::default()
        };
        assert_eq!(PodResources::of(&pod).sizes("c0"), want);
        assert_eq!(desired_sizes(&pod, &pod.spec.as_ref().unwrap().containers[0]), want);
        assert_eq!(PodResources::default().sizes("c0"), Sizes::default());
    }
}
