//! From readings to the answer.

use std::collections::BTreeMap;

use core_types::{PodUid, WallTime};

use super::{
    ContainerStats, CpuStats, FsStats, InterfaceStats, IoStats, MemoryStats, NetworkStats, NodeStats,
    PodReference, PodStats, ProcessStats, PsiData, PsiStats, RlimitStats, RuntimeStats, Summary, SwapStats,
    VolumeStats,
};
use crate::filesystem::{DiskUse, FilesystemSample};
use crate::readings::{LayersReading, Measured, NO_LIMIT_BYTES, PodStorage, RuntimeFilesystem};
use crate::readings::{StorageReading, UsageReading};
use crate::sample::{InterfaceSample, PressureLine, PressureSample};
use crate::subjects::{SystemContainer, Whose};

/// The interface whose counters stand for the whole.
const DEFAULT_INTERFACE: &str = "eth0";

/// What no reading tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryFacts {
    /// Name of the node.
    pub node_name: String,
    /// When the machine was booted; unset when that cannot be told.
    pub booted_at: WallTime,
    /// When the agent started.
    pub started_at: WallTime,
}

/// Processor, memory and swap alone, which costs no look at a disk.
pub fn cpu_and_memory(facts: &SummaryFacts, usage: &UsageReading) -> Summary {
    let machine = usage.of(&Whose::Machine);
    let mut node = node(facts, usage);
    node.start_time = machine.map(|machine| machine.sample.created_at).unwrap_or_default();
    (node.network, node.io, node.rlimit) = (None, None, None);
    let mut pods = pods(usage);
    let containers = pods.iter_mut().flat_map(|(_, pod)| &mut pod.containers);
    containers.chain(&mut node.system_containers).for_each(|container| container.io = None);
    for pod in pods.values_mut() {
        (pod.network, pod.io, pod.process_stats) = (None, None, None);
    }
    Summary { node, pods: pods.into_values().collect() }
}

/// Everything.
pub fn whole(
    facts: &SummaryFacts,
    usage: &UsageReading,
    storage: &StorageReading,
    layers: &LayersReading,
) -> Summary {
    let mut node = node(facts, usage);
    node.fs = storage.node.as_ref().map(|fs| {
        let inodes = fs.inodes.saturating_sub(fs.inodes_free);
        of(Some(fs), fs.taken_at, Some(DiskUse { bytes: fs.used_bytes, inodes }))
    });
    let runtime = |fs: &RuntimeFilesystem| of(fs.filesystem.as_ref(), fs.taken_at, Some(fs.used));
    node.runtime = storage.images.as_ref().map(|images| RuntimeStats {
        image_fs: Some(runtime(images)),
        container_fs: storage.containers.as_ref().map(runtime),
    });
    let mut pods = pods(usage);
    for (uid, pod) in &mut pods {
        let Some(stored) = storage.pods.get(uid) else { continue };
        let place = Place { node: storage.node.as_ref(), layers };
        place.fill(pod, stored);
    }
    Summary { node, pods: pods.into_values().collect() }
}

fn node(facts: &SummaryFacts, usage: &UsageReading) -> NodeStats {
    let machine = usage.of(&Whose::Machine);
    let mut memory = machine.and_then(memory);
    if let Some(memory) = &mut memory {
        memory.available_bytes = usage.node_available_bytes();
    }
    NodeStats {
        node_name: facts.node_name.clone(),
        system_containers: system_containers(facts, usage),
        start_time: facts.booted_at,
        cpu: machine.and_then(cpu),
        memory,
        io: machine.and_then(io),
        network: machine.and_then(network),
        fs: None,
        runtime: None,
        rlimit: usage.tasks.map(|tasks| RlimitStats {
            time: tasks.taken_at,
            maxpid: tasks.max,
            curproc: tasks.current,
        }),
        swap: machine.and_then(swap),
    }
}

fn system_containers(facts: &SummaryFacts, usage: &UsageReading) -> Vec<ContainerStats> {
    let all = [
        ("kubelet", Whose::Daemons(SystemContainer::Kubelet)),
        ("runtime", Whose::Daemons(SystemContainer::Runtime)),
        ("misc", Whose::Daemons(SystemContainer::Misc)),
        ("pods", Whose::AllPods),
    ];
    let found = all.into_iter().filter_map(|(name, whose)| {
        let mut stats = container(name, usage.of(&whose)?);
        if whose == Whose::Daemons(SystemContainer::Kubelet) {
            stats.start_time = facts.started_at;
        }
        Some(stats)
    });
    found.collect()
}

/// Pods of which a container runs.
fn pods(usage: &UsageReading) -> BTreeMap<PodUid, PodStats> {
    let mut found: BTreeMap<PodUid, PodStats> = BTreeMap::new();
    for measured in &usage.measured {
        let (Whose::Pod(uid) | Whose::Sandbox(uid) | Whose::Container(uid)) = &measured.subject.whose else {
            continue;
        };
        let pod = found.entry(uid.clone()).or_insert_with(|| empty(uid, measured));
        match &measured.subject.whose {
            Whose::Pod(_) => {
                (pod.cpu, pod.memory) = (cpu(measured), memory(measured));
                (pod.swap, pod.io) = (swap(measured), io(measured));
            }
            Whose::Sandbox(_) => {
                pod.start_time = measured.subject.created_at;
                pod.network = network(measured);
            }
            _ => pod.containers.push(container(&measured.subject.labels.container, measured)),
        }
    }
    for (uid, pod) in &mut found {
        let count = usage.processes(uid);
        pod.process_stats = count.map(|process_count| ProcessStats { process_count });
    }
    found.retain(|_, pod| !pod.containers.is_empty());
    found
}

fn empty(uid: &PodUid, measured: &Measured) -> PodStats {
    let labels = &measured.subject.labels;
    PodStats {
        pod_ref: PodReference {
            name: labels.pod.clone(),
            namespace: labels.namespace.clone(),
            uid: uid.to_string(),
        },
        start_time: WallTime::default(),
        containers: Vec::new(),
        cpu: None,
        memory: None,
        io: None,
        network: None,
        volumes: Vec::new(),
        ephemeral_storage: None,
        process_stats: None,
        swap: None,
    }
}

fn container(name: &str, measured: &Measured) -> ContainerStats {
    let made = [measured.subject.created_at, measured.sample.created_at];
    ContainerStats {
        name: name.to_owned(),
        start_time: made.into_iter().find(|time| !time.is_unset()).unwrap_or_default(),
        cpu: cpu(measured),
        memory: memory(measured),
        io: io(measured),
        rootfs: None,
        logs: None,
        swap: swap(measured),
    }
}

fn cpu(measured: &Measured) -> Option<CpuStats> {
    let sample = measured.sample.cpu?;
    Some(CpuStats {
        time: measured.sample.taken_at,
        usage_nano_cores: measured.cpu_nano_cores,
        usage_core_nano_seconds: sample.usage_nanos,
        psi: measured.sample.pressure.cpu.map(psi),
    })
}

fn memory(measured: &Measured) -> Option<MemoryStats> {
    let sample = measured.sample.memory?;
    Some(MemoryStats {
        time: measured.sample.taken_at,
        available_bytes: measured.memory_available_bytes(),
        usage_bytes: sample.usage_bytes,
        working_set_bytes: sample.working_set_bytes(),
        rss_bytes: sample.rss_bytes,
        page_faults: sample.page_faults,
        major_page_faults: sample.major_page_faults,
        psi: measured.sample.pressure.memory.map(psi),
    })
}

fn swap(measured: &Measured) -> Option<SwapStats> {
    let sample = measured.sample.memory?;
    let limit = measured.sample.spec.memory.map(|spec| spec.swap_limit_bytes);
    let limit = limit.filter(|limit| *limit <= NO_LIMIT_BYTES);
    Some(SwapStats {
        time: measured.sample.taken_at,
        swap_available_bytes: limit.map(|limit| limit.saturating_sub(sample.swap_bytes)),
        swap_usage_bytes: sample.swap_bytes,
    })
}

fn io(measured: &Measured) -> Option<IoStats> {
    let psi = psi(measured.sample.pressure.io?);
    Some(IoStats { time: measured.sample.taken_at, psi })
}

fn psi(sample: PressureSample) -> PsiStats {
    let data = |line: PressureLine| PsiData {
        total: line.total_micros,
        avg10: line.avg10,
        avg60: line.avg60,
        avg300: line.avg300,
    };
    PsiStats { full: data(sample.full), some: data(sample.some) }
}

fn network(measured: &Measured) -> Option<NetworkStats> {
    let interfaces: Vec<_> = measured.sample.interfaces.iter().map(interface).collect();
    if interfaces.is_empty() {
        return None;
    }
    let default = interfaces.iter().find(|interface| interface.name == DEFAULT_INTERFACE);
    Some(NetworkStats {
        time: measured.sample.taken_at,
        default_interface: default.cloned().unwrap_or_default(),
        interfaces,
    })
}

fn interface(sample: &InterfaceSample) -> InterfaceStats {
    InterfaceStats {
        name: sample.name.clone(),
        rx_bytes: Some(sample.rx_bytes),
        rx_errors: Some(sample.rx_errors),
        tx_bytes: Some(sample.tx_bytes),
        tx_errors: Some(sample.tx_errors),
    }
}

/// What is used, on a file system.
fn of(filesystem: Option<&FilesystemSample>, time: WallTime, used: Option<DiskUse>) -> FsStats {
    FsStats {
        time,
        available_bytes: filesystem.map(|fs| fs.available_bytes),
        capacity_bytes: filesystem.map(|fs| fs.capacity_bytes),
        used_bytes: used.map(|used| used.bytes),
        inodes_free: filesystem.map(|fs| fs.inodes_free),
        inodes: filesystem.map(|fs| fs.inodes),
        inodes_used: used.map(|used| used.inodes),
    }
}

/// Where the storage of pods lies.
struct Place<'a> {
    node: Option<&'a FilesystemSample>,
    layers: &'a LayersReading,
}

impl Place<'_> {
    fn fill(&self, pod: &mut PodStats, stored: &PodStorage) {
        for container in &mut pod.containers {
            container.rootfs = stored.layers.get(&container.name).map(|layer| FsStats {
                used_bytes: layer.bytes,
                inodes_used: layer.inodes,
                ..of(self.layers.filesystems.get(&layer.mountpoint), layer.taken_at, None)
            });
            container.logs = stored.files.as_ref().map(|files| {
                let used = files.container_logs.get(&container.name).copied();
                of(self.node, files.taken_at, used)
            });
        }
        pod.volumes = stored
            .volumes
            .iter()
            .map(|(name, volume)| VolumeStats {
                fs: of(Some(&volume.filesystem), volume.taken_at, Some(volume.used)),
                name: name.clone(),
            })
            .collect();
        let times = stored.volumes.values().map(|volume| volume.taken_at);
        let times = times.chain(stored.layers.values().map(|layer| layer.taken_at));
        let newest = times.chain(stored.files.as_ref().map(|files| files.taken_at)).max();
        let time = newest.or(self.node.map(|node| node.taken_at)).unwrap_or_default();
        pod.ephemeral_storage = Some(of(self.node, time, Some(stored.ephemeral())));
    }
}

#[cfg(test)]
pub(crate) mod tests;
