//! Sums of requests and limits over a pod's containers.
//!
//! Regular containers and sidecars run together, so they add up; an ordinary init container runs alone with the
//! sidecars before it, so it only sets a floor. Pod-level resources replace the sum, `spec.overhead` comes on top
//! (CONTRACT 5.3, 3.23, 3.26).

use std::collections::BTreeMap;

use core_types::api::{Container, Pod, PodSpec, QuantityText, ResourceRequirements};
use core_types::{ContainerKind, PodExt, Quantity};

/// Amounts by resource name (`cpu`, `memory`, `hugepages-2Mi`, ...).
pub type ResourceList = BTreeMap<String, Quantity>;

/// Whether `spec.overhead` takes part in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overhead {
    /// As for the pod's cgroup and for admission.
    Included,
    /// As for the sandbox's `resources`.
    Excluded,
}

/// The amount of `name` in an API resource list; zero when it is missing. Quantities are checked before a pod comes in,
/// so an unreadable one counts as missing.
pub fn amount(list: &Option<BTreeMap<String, QuantityText>>, name: &str) -> Quantity {
    list.as_ref().and_then(|list| list.get(name)).and_then(|text| text.try_into().ok()).unwrap_or_default()
}

/// An API resource list as amounts.
pub fn resource_list(list: &Option<BTreeMap<String, QuantityText>>) -> ResourceList {
    let pairs = list.iter().flatten();
    pairs.filter_map(|(name, text)| Some((name.clone(), Quantity::try_from(text).ok()?))).collect()
}

/// Requests of the whole pod.
pub fn pod_requests(pod: &Pod, overhead: Overhead) -> ResourceList {
    let mut sum = container_requests(pod);
    let Some(spec) = pod.spec_ref() else { return sum };
    if let Some(resources) = pod_level_requests(spec) {
        replace_supported(&mut sum, &resource_list(&resources.requests));
    }
    if overhead == Overhead::Included {
        add(&mut sum, &resource_list(&spec.overhead));
    }
    sum
}

/// Limits of the whole pod. Overhead is added only where there is a limit.
pub fn pod_limits(pod: &Pod, overhead: Overhead) -> ResourceList {
    let mut sum = container_limits(pod);
    let Some(spec) = pod.spec_ref() else { return sum };
    if let Some(resources) = pod_level(spec) {
        replace_supported(&mut sum, &resource_list(&resources.limits));
    }
    if overhead == Overhead::Included {
        for (name, extra) in resource_list(&spec.overhead) {
            if let Some(limit) = sum.get_mut(&name).filter(|limit| !limit.is_zero()) {
                *limit += extra;
            }
        }
    }
    sum
}

/// Requests of the containers alone.
pub fn container_requests(pod: &Pod) -> ResourceList {
    aggregate(pod, |resources| &resources.requests)
}

/// Limits of the containers alone.
pub fn container_limits(pod: &Pod) -> ResourceList {
    aggregate(pod, |resources| &resources.limits)
}

/// `spec.resources` when it says something about a resource that pods can set as a whole.
pub fn pod_level(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let resources = spec.resources.as_ref()?;
    let names = resources.requests.iter().flatten().chain(resources.limits.iter().flatten());
    names.into_iter().any(|(name, _)| is_pod_level_resource(name)).then_some(resources)
}

/// `spec.resources` when it requests something that pods can request as a whole.
pub fn pod_level_requests(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let resources = spec.resources.as_ref()?;
    resources.requests.iter().flatten().any(|(name, _)| is_pod_level_resource(name)).then_some(resources)
}

/// Size in bytes of the pages of a `hugepages-<size>` resource; `None` for any other resource.
pub fn hugepage_bytes(resource: &str) -> Option<i64> {
    let size: Quantity = resource.strip_prefix("hugepages-")?.parse().ok()?;
    Some(size.value())
}

/// Init and regular containers of a pod.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn is_pod_level_resource(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

fn aggregate(
    pod: &Pod,
    part: fn(&ResourceRequirements) -> &Option<BTreeMap<String, QuantityText>>,
) -> ResourceList {
    let mut sum = ResourceList::new();
    let mut sidecars = ResourceList::new();
    let mut init_floor = ResourceList::new();
    for container in pod.container_refs() {
        let own = container.spec.resources.as_ref().map(|r| resource_list(part(r))).unwrap_or_default();
        match container.kind {
            ContainerKind::Regular => add(&mut sum, &own),
            ContainerKind::Sidecar => {
                add(&mut sum, &own);
                add(&mut sidecars, &own);
                raise(&mut init_floor, &sidecars);
            }
            ContainerKind::Init => {
                let mut with_sidecars = own;
                add(&mut with_sidecars, &sidecars);
                raise(&mut init_floor, &with_sidecars);
            }
            ContainerKind::Ephemeral => {}
        }
    }
    raise(&mut sum, &init_floor);
    sum
}

fn add(sum: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(floor: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        let entry = floor.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

fn replace_supported(sum: &mut ResourceList, by: &ResourceList) {
    for (name, amount) in by.iter().filter(|(name, _)| is_pod_level_resource(name)) {
        sum.insert(name.clone(), *amount);
    }
}
