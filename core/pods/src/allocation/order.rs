//! The order in which pending resizes are judged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core_cm::resize::ResizeConditions;
use core_cm::{Overhead, ResourceBook, pod_requests, qos_class};
use core_types::api::Pod;
use core_types::{PodUid, QosClass};

/// The pending pods that are still there: first those that ask for no more CPU or memory, then by priority, Guaranteed pods
/// before others, and those that wait longest.
pub(super) fn in_order(
    pending: &BTreeSet<PodUid>,
    pods: &BTreeMap<PodUid, Arc<Pod>>,
    book: &ResourceBook,
    conditions: &BTreeMap<PodUid, ResizeConditions>,
) -> Vec<Arc<Pod>> {
    let mut queue: Vec<(&PodUid, &Arc<Pod>)> =
        pending.iter().filter_map(|uid| pods.get_key_value(uid)).collect();
    queue.sort_by_cached_key(|(uid, pod)| {
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let since = conditions.get(*uid).and_then(|own| own.pending.as_ref()).map(|pending| pending.since);
        let is_guaranteed = qos_class(pod) == QosClass::Guaranteed;
        // One that does not wait yet comes after those that do.
        (asks_for_more(uid, pod, book), Reverse(priority), !is_guaranteed, since.is_none(), since)
    });
    queue.into_iter().map(|(_, pod)| Arc::clone(pod)).collect()
}

fn asks_for_more(uid: &PodUid, pod: &Arc<Pod>, book: &ResourceBook) -> bool {
    let Some(given) = book.get(uid) else { return false };
    let (old, new) =
        (pod_requests(&given.on(pod), Overhead::Included), pod_requests(pod, Overhead::Included));
    ["cpu", "memory"]
        .iter()
        .any(|name| new.get(*name).copied().unwrap_or_default() > old.get(*name).copied().unwrap_or_default())
}
