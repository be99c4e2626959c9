//! Host ports: two pods may not have the same one.

use core_types::PodExt;
use core_types::api::{ContainerPort, Pod, PodSpec};

const ANY_ADDRESS: &str = "0.0.0.0";

#[derive(Clone, Copy, PartialEq, Eq)]
struct HostPort<'a> {
    address: &'a str,
    protocol: &'a str,
    port: i32,
}

impl HostPort<'_> {
    fn collides_with(&self, other: &HostPort<'_>) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ANY_ADDRESS || other.address == ANY_ADDRESS)
    }
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

/// A message when a host port of the pod is taken.
pub(super) fn conflict(spec: &PodSpec, others: &[&Pod]) -> Option<String> {
    host_ports(spec).find_map(|wanted| {
        let holds = |other: &&&Pod| {
            other.spec.as_ref().is_some_and(|spec| host_ports(spec).any(|port| port.collides_with(&wanted)))
        };
        let holder = others.iter().find(holds)?;
        Some(format!(
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: {} {}:{} is taken by pod {}",
            wanted.protocol,
            wanted.address,
            wanted.port,
            holder.key(),
        ))
    })
}
