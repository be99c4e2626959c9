//! In which order pods go (CONTRACT 5.10): those that use more than they asked for before the others, then the lower
//! priority, then the larger use above the request. Critical pods do not stand in the order at all (EV-1).

use std::cmp::Ordering;
use std::sync::Arc;

use core_cm::{Overhead, pod_requests};
use core_types::api::{Pod, Volume};
use core_types::{PodExt, PodKey, Quantity};

use crate::signal::{Resource, Signal};
use crate::threshold::FsLayout;
use crate::usage::{DiskUse, PodUse, bytes, signed};

/// A pod that may have to go. Only pods that run something can give something back.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The pod, with the resources it was given.
    pub pod: Arc<Pod>,
    /// What it uses; `None` when it could not be measured.
    pub usage: Option<PodUse>,
}

impl Candidate {
    /// Whether it never goes.
    pub fn is_critical(&self) -> bool {
        core_cm::is_critical(&self.pod)
    }
}

/// A place in the order, with the figures that gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the candidate.
    pub index: usize,
    /// Whether it uses more than it asked for; never for process IDs. `None` when it could not be measured.
    pub exceeds_request: Option<bool>,
    /// Its priority.
    pub priority: i32,
    /// Its use of the resource; `None` when it could not be measured.
    pub used: Option<Quantity>,
    /// What it asked for.
    pub requested: Quantity,
}

/// Candidates in the order in which they go when `signal` is short, the first to go first. Pods that could not be
/// measured go before those that could; ties are in the order of the pods' names.
pub fn rank(candidates: &[Candidate], signal: Signal, layout: FsLayout) -> Vec<Ranked> {
    let mut order: Vec<(PodKey, Ranked)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| !candidate.is_critical())
        .map(|(index, candidate)| (candidate.pod.key(), place(index, candidate, signal, layout)))
        .collect();
    order.sort_by(|(a_key, a), (b_key, b)| first_to_go(a, b).then_with(|| a_key.cmp(b_key)));
    order.into_iter().map(|(_, ranked)| ranked).collect()
}

fn first_to_go(a: &Ranked, b: &Ranked) -> Ordering {
    let above = |ranked: &Ranked| ranked.used.map(|used| used - ranked.requested);
    let unmeasured_first = b.used.is_none().cmp(&a.used.is_none());
    unmeasured_first
        .then_with(|| b.exceeds_request.cmp(&a.exceeds_request))
        .then_with(|| a.priority.cmp(&b.priority))
        .then_with(|| above(b).cmp(&above(a)))
}

fn place(index: usize, candidate: &Candidate, signal: Signal, layout: FsLayout) -> Ranked {
    let spec = candidate.pod.spec_ref();
    let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
    let request =
        |name: &str| pod_requests(&candidate.pod, Overhead::Included).get(name).copied().unwrap_or_default();
    let usage = candidate.usage.as_ref();
    let (used, requested, threshold) = match signal.resource() {
        Resource::Memory => {
            let used = usage.map(|usage| bytes(usage.working_set_bytes.unwrap_or(0)));
            (used, request("memory"), request("memory"))
        }
        Resource::Pids => {
            let used = usage.map(|usage| Quantity::from_value(signed(usage.processes.unwrap_or(0))));
            return Ranked {
                index,
                exceeds_request: used.map(|_| false),
                priority,
                used,
                requested: Quantity::ZERO,
            };
        }
        Resource::EphemeralStorage => {
            let used =
                usage.map(|usage| bytes(disk_use(&candidate.pod, usage, signal, layout).bytes.unwrap_or(0)));
            (used, request("ephemeral-storage"), request("ephemeral-storage"))
        }
        // Nobody asks for inodes, so every use exceeds. Upstream then orders by inodes less the requested *bytes* of
        // local storage: a pod that asked for storage goes after one that did not.
        Resource::Inodes => {
            let inodes = |usage| signed(disk_use(&candidate.pod, usage, signal, layout).inodes.unwrap_or(0));
            let used = usage.map(|usage| Quantity::from_value(inodes(usage)));
            (used, request("ephemeral-storage"), Quantity::ZERO)
        }
    };
    let exceeds_request = used.map(|used| used > threshold);
    Ranked { index, exceeds_request, priority, used, requested }
}

/// The parts of a pod's local storage that lie on the file system of `signal`.
fn disk_use(pod: &Pod, usage: &PodUse, signal: Signal, layout: FsLayout) -> DiskUse {
    use Signal::{ImageFsAvailable, ImageFsInodesFree, NodeFsAvailable, NodeFsInodesFree};
    let of_node = matches!(signal, NodeFsAvailable | NodeFsInodesFree);
    let of_images = matches!(signal, ImageFsAvailable | ImageFsInodesFree);
    let (layers, logs_and_volumes) = match layout {
        FsLayout::Single => (true, true),
        FsLayout::SeparateImages => (!of_node, of_node),
        FsLayout::SplitImages => (!of_images, !of_images),
    };
    let mut sum = DiskUse { bytes: Some(0), inodes: Some(0) };
    for container in &usage.containers {
        if layers {
            add(&mut sum, container.rootfs);
        }
        if logs_and_volumes {
            add(&mut sum, container.logs);
        }
    }
    if logs_and_volumes {
        let volumes = pod.spec_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        for volume in volumes.filter(|volume| is_local(volume)) {
            add(&mut sum, usage.volumes.get(&volume.name).copied().unwrap_or_default());
        }
    }
    sum
}

/// Volumes that count as local storage of the node: hostPath, and what is made for the pod (`emptyDir` off memory,
/// `configMap`, `downwardAPI`; upstream counts no others).
fn is_local(volume: &Volume) -> bool {
    let empty_dir_on_disk = volume.empty_dir.as_ref().is_some_and(|source| {
        let medium = source.medium.as_deref().unwrap_or_default();
        medium != "Memory" && !medium.starts_with("HugePages")
    });
    volume.host_path.is_some()
        || empty_dir_on_disk
        || volume.config_map.is_some()
        || volume.downward_api.is_some()
        || volume.git_repo.is_some()
}

fn add(sum: &mut DiskUse, part: DiskUse) {
    let plus = |a: Option<u64>, b: Option<u64>| Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0)));
    *sum = DiskUse { bytes: plus(sum.bytes, part.bytes), inodes: plus(sum.inodes, part.inodes) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Use, candidate, pod};

    fn order(candidates: &[Candidate], signal: Signal, layout: FsLayout) -> Vec<String> {
        let ranked = rank(candidates, signal, layout);
        ranked.iter().map(|ranked| candidates[ranked.index].pod.key().name.to_string()).collect()
    }

    #[test]
    fn memory_goes_by_request_priority_and_use() {
        let pods = [
            candidate(pod("asked-a-lot", 0, &[("memory", "1Gi")]), Use::memory(900)),
            candidate(pod("over-a-little", 0, &[("memory", "100Mi")]), Use::memory(150)),
            candidate(pod("over-a-lot", 0, &[("memory", "100Mi")]), Use::memory(400)),
            candidate(pod("over-but-important", 10, &[]), Use::memory(5000)),
            candidate(pod("critical", 2_000_000_000, &[]), Use::memory(9000)),
            candidate(pod("unmeasured", 5, &[]), None),
        ];
        let expected = ["unmeasured", "over-a-lot", "over-a-little", "over-but-important", "asked-a-lot"];
        assert_eq!(order(&pods, Signal::MemoryAvailable, FsLayout::Single), expected);
    }

    #[test]
    fn process_ids_go_by_priority_and_number() {
        let pods = [
            candidate(pod("few", 0, &[]), Use::processes(3)),
            candidate(pod("many", 0, &[]), Use::processes(300)),
            candidate(pod("important", 1, &[]), Use::processes(3000)),
        ];
        assert_eq!(order(&pods, Signal::PidAvailable, FsLayout::Single), ["many", "few", "important"]);
    }

    #[test]
    fn disks_count_what_lies_on_them() {
        let layers = candidate(pod("layers", 0, &[]), Use::disk(800, 10, 0));
        let logs = candidate(pod("logs", 0, &[]), Use::disk(10, 500, 0));
        let volume = candidate(pod("volume", 0, &[]), Use::disk(10, 0, 600));
        let pods = [layers, logs, volume];
        let by = |signal, layout| order(&pods, signal, layout);
        assert_eq!(by(Signal::NodeFsAvailable, FsLayout::Single), ["layers", "volume", "logs"]);
        assert_eq!(by(Signal::NodeFsAvailable, FsLayout::SeparateImages), ["volume", "logs", "layers"]);
        assert_eq!(by(Signal::ImageFsAvailable, FsLayout::SeparateImages), ["layers", "logs", "volume"]);
        assert_eq!(by(Signal::ContainerFsAvailable, FsLayout::SplitImages), ["layers", "volume", "logs"]);
        let ranked = rank(&pods, Signal::ImageFsAvailable, FsLayout::SplitImages);
        assert!(ranked.iter().all(|ranked| ranked.used == Some(Quantity::ZERO)), "{ranked:?}");
    }

    proptest! {
        /// Whatever pods there are: no critical one is picked, every other one stands in the order once, and none that
        /// keeps to its request goes before one that does not.
        #[test]
        fn critical_pods_are_never_picked(
            pods in prop::collection::vec((0i32..3, 0u64..2000, 0u32..2000), 0..20),
        ) {
            let candidates: Vec<_> = pods.iter().enumerate().map(|(i, (rank, used, asked))| {
                let priority = if *rank == 2 { 2_000_000_000 } else { *rank };
                let asked = format!("{asked}Mi");
                candidate(pod(&format!("pod-{i}"), priority, &[("memory", &asked)]), Use::memory(*used))
            }).collect();
            let ranked = rank(&candidates, Signal::MemoryAvailable, FsLayout::Single);
            prop_assert_eq!(ranked.len(), pods.iter().filter(|(rank, ..)| *rank != 2).count());
            prop_assert!(ranked.iter().all(|ranked| !candidates[ranked.index].is_critical()));
            let exceeding: Vec<_> = ranked.iter().map(|ranked| ranked.exceeds_request).collect();
            prop_assert!(exceeding.is_sorted_by(|a, b| a >= b), "{:?}", exceeding);
        }
    }
}
