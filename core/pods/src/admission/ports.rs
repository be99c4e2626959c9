//! Host ports: two pods may not have the same one.

use std::collections::BTreeMap;

use core_types::PodExt;
use core_types::api::{ContainerPort, Pod, PodSpec};

const ANY_ADDRESS: &str = "0.0.0.0";

#[derive(Clone, Copy)]
struct HostPort<'a> {
    address: &'a str,
    protocol: &'a str,
    port: i32,
}

/// Host ports of the containers and sidecars of a pod.
fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort<'_>> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port: &ContainerPort| {
        Some(HostPort {
            address: non_empty(&port.host_ip).unwrap_or(ANY_ADDRESS),
            protocol: non_empty(&port.protocol).unwrap_or("TCP"),
            port: port.host_port.filter(|&number| number > 0)?,
        })
    })
}

fn non_empty(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A message when a host port of the pod is taken. An address takes the port from itself and from "any address".
pub(super) fn conflict(spec: &PodSpec, others: &[&Pod]) -> Option<String> {
    let mut taken: BTreeMap<(&str, i32), Vec<(&str, &Pod)>> = BTreeMap::new();
    for other in others {
        for port in other.spec.iter().flat_map(host_ports) {
            taken.entry((port.protocol, port.port)).or_default().push((port.address, other));
        }
    }
    host_ports(spec).find_map(|wanted| {
        let collides = |address: &str| [wanted.address, ANY_ADDRESS].contains(&address) || wanted.address == ANY_ADDRESS;
        let holders = taken.get(&(wanted.protocol, wanted.port))?;
        let (_, holder) = holders.iter().find(|(address, _)| collides(address))?;
        Some(format!(
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: {} {}:{} is taken by pod {}",
            wanted.protocol,
            wanted.address,
            wanted.port,
            holder.key(),
        ))
    })
}
