//! Addresses of the pod and of its node in the status.

use core::net::IpAddr;

use core_types::PodExt;
use core_types::api::{HostIP, PodIP, PodStatus};
use core_types::view::Lifecycle;

use crate::{StatusInput, phase};

/// Sets hostIP(s) and podIP(s) (CONTRACT 3.29). A pod that is over keeps the addresses it had.
pub(crate) fn set(input: &StatusInput<'_>, old: &PodStatus, status: &mut PodStatus) {
    let node: Vec<IpAddr> = input.node.node_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let mut pod =
        by_family(&node, input.observed.map(|observed| observed.ips.as_slice()).unwrap_or_default());
    let is_over = input.lifecycle >= Lifecycle::Terminating || phase::is_terminal(status);
    if pod.is_empty() && is_over {
        pod = old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    if input.pod.is_host_network() {
        inherit_node_ips(&node, &mut pod);
    }
    if !node.is_empty() {
        status.host_ip = node.first().map(IpAddr::to_string);
        status.host_ips = Some(node.iter().take(2).map(|ip| HostIP { ip: ip.to_string() }).collect());
    }
    if !pod.is_empty() {
        status.pod_ip = pod.first().cloned();
        status.pod_ips = Some(pod.into_iter().map(|ip| PodIP { ip }).collect());
    }
}

/// At most one address of each family, that of the node's primary family first.
fn by_family(node: &[IpAddr], ips: &[String]) -> Vec<String> {
    let prefers_v6 = node.first().is_some_and(IpAddr::is_ipv6);
    let parsed: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let first_of = |v6: bool| parsed.iter().find(|ip| ip.is_ipv6() == v6).map(IpAddr::to_string);
    first_of(prefers_v6).into_iter().chain(first_of(!prefers_v6)).collect()
}

/// A pod in the host's network has the node's addresses.
fn inherit_node_ips(node: &[IpAddr], pod: &mut Vec<String>) {
    if pod.is_empty() {
        pod.extend(node.first().map(IpAddr::to_string));
    }
    let is_v6 = |ip: &String| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    if let ([only], Some(second)) = (pod.as_slice(), node.get(1))
        && is_v6(only) != second.is_ipv6()
    {
        pod.push(second.to_string());
    }
}
