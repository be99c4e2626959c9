//! Room for critical pods (CONTRACT 3.4): which pods of the node end so that one fits that must run.
//!
//! Of those that may be ended, first as few Guaranteed pods as possible, then as few Burstable ones, then as few BestEffort
//! ones; among equals those whose requests come closest to what is missing (upstream's `preemption`).

use core_cm::{Overhead, is_critical, pod_requests, qos_class};
use core_types::api::Pod;
use core_types::{PodExt, PodUid, QosClass};

use super::fit::Insufficient;

/// What is still missing of a resource. CPU is in thousandths of a core, everything else in its own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    resource: String,
    amount: i64,
}

fn priority(pod: &Pod) -> Option<i32> {
    pod.spec.as_ref()?.priority
}

fn may_end(preemptor: &Pod, other: &Pod) -> bool {
    let outranks = || priority(preemptor).zip(priority(other)).is_some_and(|(own, other)| own > other);
    (is_critical(preemptor) && !is_critical(other)) || outranks()
}

/// The pods to end so that what is short becomes free; an error when all together do not hold that much.
pub(super) fn victims(
    preemptor: &Pod,
    others: &[&Pod],
    short: &[Insufficient],
) -> Result<Vec<PodUid>, String> {
    let missing = |short: &Insufficient| Missing { resource: short.resource.clone(), amount: short.amount() };
    let missing: &[Missing] = &short.iter().map(missing).collect::<Vec<_>>();
    let of_class = |class: QosClass| -> Vec<&Pod> {
        let others = others.iter().copied().filter(|other| may_end(preemptor, other));
        others.filter(|other| qos_class(other) == class).collect()
    };
    let (best_effort, burstable, guaranteed) =
        (of_class(QosClass::BestEffort), of_class(QosClass::Burstable), of_class(QosClass::Guaranteed));
    let left = less(missing, best_effort.iter().chain(&burstable).chain(&guaranteed));
    if !left.is_empty() {
        return Err(none_found(&left));
    }
    let guaranteed = closest(guaranteed, less(missing, best_effort.iter().chain(&burstable)))?;
    let burstable = closest(burstable, less(missing, best_effort.iter().chain(&guaranteed)))?;
    let best_effort = closest(best_effort, less(missing, burstable.iter().chain(&guaranteed)))?;
    let all = best_effort.into_iter().chain(burstable).chain(guaranteed);
    Ok(all.map(PodExt::uid).collect())
}

/// Takes the pod that comes closest to what is missing, again and again.
fn closest(mut pods: Vec<&Pod>, mut missing: Vec<Missing>) -> Result<Vec<&Pod>, String> {
    let mut taken = Vec::new();
    while !missing.is_empty() {
        let best = (0..pods.len()).reduce(|best, next| {
            let (old, new) = (distance(&missing, pods[best]), distance(&missing, pods[next]));
            let is_better = new < old || (new == old && is_smaller(pods[next], pods[best]));
            if is_better { next } else { best }
        });
        let pod = pods.swap_remove(best.ok_or_else(|| none_found(&missing))?);
        missing = less(&missing, std::iter::once(&pod));
        taken.push(pod);
    }
    Ok(taken)
}

/// How far the pod's requests are from what is missing: each resource weighs the same.
fn distance(missing: &[Missing], pod: &Pod) -> f64 {
    let one = |missing: &Missing| {
        let left = missing.amount - request(pod, &missing.resource);
        if left > 0 { (left as f64 / missing.amount as f64).powi(2) } else { 0.0 }
    };
    missing.iter().map(one).sum()
}

/// What is still missing without these pods.
fn less<'a>(missing: &[Missing], pods: impl Iterator<Item = &'a &'a Pod> + Clone) -> Vec<Missing> {
    let left = missing.iter().map(|missing| {
        let freed: i64 = pods.clone().map(|pod| request(pod, &missing.resource)).sum();
        Missing { resource: missing.resource.clone(), amount: missing.amount - freed }
    });
    left.filter(|missing| missing.amount > 0).collect()
}

fn is_smaller(one: &Pod, other: &Pod) -> bool {
    let size = |pod: &Pod| (request(pod, "memory"), request(pod, "cpu"));
    size(one) <= size(other)
}

fn request(pod: &Pod, resource: &str) -> i64 {
    if resource == "pods" {
        return 1;
    }
    let value = pod_requests(pod, Overhead::Included).get(resource).copied().unwrap_or_default();
    if resource == "cpu" { value.milli_value() } else { value.value() }
}

fn none_found(missing: &[Missing]) -> String {
    let list: String = missing.iter().map(|m| format!("(res: {}, q: {}), ", m.resource, m.amount)).collect();
    format!(
        "preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{list}]"
    )
}
