//! Resource use.

use core_types::WallTime;
use core_types::runtime::{
    ContainerStats, CpuUsage, FilesystemUsage, MemoryUsage, NetworkUsage, SandboxStats, SwapUsage,
};

use super::{required, required_text};
use crate::call::Malformed;
use crate::proto;

/// Reply of `ContainerStats`.
pub(crate) fn container_reply(reply: proto::ContainerStatsResponse) -> Result<ContainerStats, Malformed> {
    container(required(reply.stats, "stats")?)
}

/// Reply of `ListContainerStats`.
pub(crate) fn container_list(
    reply: proto::ListContainerStatsResponse,
) -> Result<Vec<ContainerStats>, Malformed> {
    Ok(containers(reply.stats))
}

/// Reply of `PodSandboxStats`.
pub(crate) fn sandbox_reply(reply: proto::PodSandboxStatsResponse) -> Result<SandboxStats, Malformed> {
    sandbox(required(reply.stats, "stats")?)
}

/// Reply of `ListPodSandboxStats`.
pub(crate) fn sandbox_list(
    reply: proto::ListPodSandboxStatsResponse,
) -> Result<Vec<SandboxStats>, Malformed> {
    Ok(reply.stats.into_iter().filter_map(|stats| sandbox(stats).ok()).collect())
}

fn containers(list: Vec<proto::ContainerStats>) -> Vec<ContainerStats> {
    list.into_iter().filter_map(|stats| container(stats).ok()).collect()
}

fn container(stats: proto::ContainerStats) -> Result<ContainerStats, Malformed> {
    let attributes = required(stats.attributes, "attributes")?;
    Ok(ContainerStats {
        id: required_text(attributes.id, "attributes.id")?.into(),
        name: attributes.metadata.map(|metadata| metadata.name).unwrap_or_default(),
        cpu: stats.cpu.map(cpu),
        memory: stats.memory.map(memory),
        swap: stats.swap.map(swap),
        writable_layer: stats.writable_layer.map(filesystem),
    })
}

fn sandbox(stats: proto::PodSandboxStats) -> Result<SandboxStats, Malformed> {
    let attributes = required(stats.attributes, "attributes")?;
    let linux = stats.linux.unwrap_or_default();
    Ok(SandboxStats {
        id: required_text(attributes.id, "attributes.id")?.into(),
        cpu: linux.cpu.map(cpu),
        memory: linux.memory.map(memory),
        interfaces: linux.network.map(interfaces).unwrap_or_default(),
        process_count: linux.process.and_then(|process| uint64(process.process_count)),
        containers: containers(linux.containers),
    })
}

fn uint64(value: Option<proto::UInt64Value>) -> Option<u64> {
    value.map(|value| value.value)
}

fn cpu(usage: proto::CpuUsage) -> CpuUsage {
    CpuUsage {
        timestamp: WallTime::from_unix_nanos(usage.timestamp),
        usage_core_nanos: uint64(usage.usage_core_nano_seconds),
        usage_nano_cores: uint64(usage.usage_nano_cores),
    }
}

fn memory(usage: proto::MemoryUsage) -> MemoryUsage {
    MemoryUsage {
        timestamp: WallTime::from_unix_nanos(usage.timestamp),
        working_set_bytes: uint64(usage.working_set_bytes),
        usage_bytes: uint64(usage.usage_bytes),
        rss_bytes: uint64(usage.rss_bytes),
        available_bytes: uint64(usage.available_bytes),
        page_faults: uint64(usage.page_faults),
        major_page_faults: uint64(usage.major_page_faults),
    }
}

fn swap(usage: proto::SwapUsage) -> SwapUsage {
    SwapUsage {
        timestamp: WallTime::from_unix_nanos(usage.timestamp),
        available_bytes: uint64(usage.swap_available_bytes),
        usage_bytes: uint64(usage.swap_usage_bytes),
    }
}

fn filesystem(usage: proto::FilesystemUsage) -> FilesystemUsage {
    FilesystemUsage {
        timestamp: WallTime::from_unix_nanos(usage.timestamp),
        mountpoint: usage.fs_id.map(|id| id.mountpoint).unwrap_or_default(),
        used_bytes: uint64(usage.used_bytes),
        inodes_used: uint64(usage.inodes_used),
    }
}

/// The default interface first; some runtimes repeat it in the list of all.
fn interfaces(network: proto::NetworkUsage) -> Vec<NetworkUsage> {
    let default_name = network.default_interface.as_ref().map(|default| default.name.clone());
    let others = network.interfaces.into_iter().filter(|other| Some(&other.name) != default_name.as_ref());
    network.default_interface.iter().cloned().chain(others).map(interface).collect()
}

fn interface(usage: proto::NetworkInterfaceUsage) -> NetworkUsage {
    NetworkUsage {
        name: usage.name,
        rx_bytes: uint64(usage.rx_bytes),
        rx_errors: uint64(usage.rx_errors),
        tx_bytes: uint64(usage.tx_bytes),
        tx_errors: uint64(usage.tx_errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str, rx: u64) -> proto::NetworkInterfaceUsage {
        let rx_bytes = Some(proto::UInt64Value { value: rx });
        proto::NetworkInterfaceUsage { name: name.to_owned(), rx_bytes, ..Default::default() }
    }

    #[test]
    fn default_interface_comes_first_and_once() {
        let network = proto::NetworkUsage {
            default_interface: Some(nic("eth0", 1)),
            interfaces: vec![nic("lo", 2), nic("eth0", 1)],
            ..Default::default()
        };
        let names: Vec<_> = interfaces(network).into_iter().map(|one| (one.name, one.rx_bytes)).collect();
        assert_eq!(names, [("eth0".to_owned(), Some(1)), ("lo".to_owned(), Some(2))]);
    }

    #[test]
    fn what_the_runtime_did_not_measure_stays_unknown() {
        let attributes = proto::ContainerAttributes { id: "c".to_owned(), ..Default::default() };
        let memory = proto::MemoryUsage {
            timestamp: 5,
            working_set_bytes: Some(proto::UInt64Value { value: 0 }),
            ..Default::default()
        };
        let stats = proto::ContainerStats {
            attributes: Some(attributes),
            memory: Some(memory),
            ..Default::default()
        };
        let read = container(stats).unwrap();
        assert_eq!(read.cpu, None);
        let memory = read.memory.unwrap();
        assert_eq!((memory.working_set_bytes, memory.rss_bytes), (Some(0), None));
        assert_eq!(memory.timestamp, WallTime::from_unix_nanos(5));
    }

    #[test]
    fn entries_without_an_id_are_left_out_of_lists() {
        let reply = proto::ListContainerStatsResponse { stats: vec![proto::ContainerStats::default()] };
        assert_eq!(container_list(reply), Ok(vec![]));
    }
}
