//! Under which addresses the node is known (CONTRACT 4.7).
//!
//! ```text
//! --node-ip > the host name if it is an address > DNS of the node's name > the interface of the default route
//! ```
//! With an external cloud provider, what its controller wrote stands, and until then `--node-ip` or only the host name does.

use core::net::IpAddr;

use k8s_openapi::api::core::v1::NodeAddress;

use crate::settings::{CloudProvider, NodeSettings};

/// What the host's network says. Read anew for each report, since addresses come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Addresses of the interfaces.
    pub interfaces: Vec<IpAddr>,
    /// What DNS gives for the node's name, in its order.
    pub resolved: Vec<IpAddr>,
    /// Address of the interface of the default route, of each family that has one.
    pub default_route: Vec<IpAddr>,
}

/// Why the node has no usable address. The Node object keeps those it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An address of `--node-ip` cannot be used.
    #[error("--node-ip {ip}: {problem}; the Node object keeps its addresses until that is put right")]
    Unusable {
        /// The address.
        ip: IpAddr,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No rule gives one.
    #[error(
        "no address of node {name} is known: DNS gives none for its name, and no interface has a default route; set --node-ip"
    )]
    None {
        /// Name of the node.
        name: String,
    },
}

/// Why an address cannot be a node's.
fn problem(ip: IpAddr, network: &NetworkFacts) -> Option<&'static str> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        ip if ip.is_loopback() => Some("a node's address can't be a loopback address"),
        ip if ip.is_multicast() => Some("a node's address can't be a multicast address"),
        _ if link_local => Some("a node's address can't be a link-local address"),
        ip if ip.is_unspecified() => Some("a node's address can't be all zeros"),
        ip if !network.interfaces.contains(&ip) => Some("no network interface of this host has it"),
        _ => None,
    }
}

/// The node's own addresses, the primary one first: one, or one of each family.
///
/// # Errors
/// When what is configured cannot be used, or nothing gives an address.
pub fn internal_ips(settings: &NodeSettings, network: &NetworkFacts) -> Result<Vec<IpAddr>, AddressError> {
    let given: Vec<IpAddr> = settings.node_ips.iter().copied().filter(|ip| !ip.is_unspecified()).collect();
    for &ip in &given {
        if let Some(problem) = problem(ip, network) {
            return Err(AddressError::Unusable { ip, problem });
        }
    }
    if !given.is_empty() {
        return Ok(given);
    }
    if let Ok(ip) = settings.name.parse() {
        return Ok(vec![ip]);
    }
    let prefers_v4 = settings.node_ips.first().is_none_or(IpAddr::is_ipv4);
    let usable = network.resolved.iter().copied().filter(|ip| problem(*ip, network).is_none());
    let found = preferred(usable, prefers_v4)
        .or_else(|| preferred(network.default_route.iter().copied(), prefers_v4));
    match found {
        Some(ip) => Ok(vec![ip]),
        None => Err(AddressError::None { name: settings.name.clone() }),
    }
}

/// Whether DNS is asked for the node's name: only when nothing that is configured gives an address.
pub fn asks_dns(settings: &NodeSettings) -> bool {
    settings.node_ips.iter().all(IpAddr::is_unspecified) && settings.name.parse::<IpAddr>().is_err()
}

/// The first address of the preferred family, else the first.
fn preferred(mut ips: impl Iterator<Item = IpAddr> + Clone, prefers_v4: bool) -> Option<IpAddr> {
    ips.clone().find(|ip| ip.is_ipv4() == prefers_v4).or_else(|| ips.next())
}

/// The addresses for the Node object, which has `existing` ones.
///
/// # Errors
/// Those of [`internal_ips`].
pub fn addresses(
    settings: &NodeSettings,
    network: &NetworkFacts,
    existing: &[NodeAddress],
) -> Result<Vec<NodeAddress>, AddressError> {
    let hostname = address("Hostname", settings.name.clone());
    match settings.cloud {
        CloudProvider::External if !existing.is_empty() => Ok(existing.to_vec()),
        CloudProvider::External if settings.node_ips.is_empty() => Ok(vec![hostname]),
        _ => {
            let ips = internal_ips(settings, network)?;
            let internal = ips.iter().map(|ip| address("InternalIP", ip.to_string()));
            Ok(internal.chain([hostname]).collect())
        }
    }
}

fn address(type_: &str, address: String) -> NodeAddress {
    NodeAddress { type_: type_.to_owned(), address }
}

/// Value of the annotation that tells the cloud's controller which addresses to choose; `None` for no annotation.
pub(crate) fn provided_ips(settings: &NodeSettings) -> Option<String> {
    let given: Vec<String> =
        settings.node_ips.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string).collect();
    let is_told = settings.cloud == CloudProvider::External && !given.is_empty();
    is_told.then(|| given.join(","))
}

#[cfg(test)]
mod tests {
    use crate::settings::tests::settings;

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn network() -> NetworkFacts {
        NetworkFacts {
            interfaces: ips(&["127.0.0.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1", "::1"]),
            resolved: Vec::new(),
            default_route: ips(&["192.0.2.1", "2001:db8::1"]),
        }
    }

    #[test]
    fn the_given_addresses_come_first_then_the_name_dns_and_the_default_route() {
        /// `--node-ip`, name, DNS, and what comes of them.
        type Row = (&'static [&'static str], &'static str, &'static [&'static str], &'static [&'static str]);
        let table: [Row; 10] = [
            (&[], "n", &[], &["192.0.2.1"]),
            (&["192.0.2.2"], "n", &["192.0.2.1"], &["192.0.2.2"]),
            (&["2001:db8::1", "192.0.2.2"], "n", &[], &["2001:db8::1", "192.0.2.2"]),
            (&["::"], "n", &[], &["2001:db8::1"]),
            (&["0.0.0.0"], "n", &[], &["192.0.2.1"]),
            (&[], "192.0.2.9", &[], &["192.0.2.9"]),
            (&[], "n", &["127.0.0.1", "192.0.2.2"], &["192.0.2.2"]),
            (&[], "n", &["2001:db8::1", "192.0.2.2"], &["192.0.2.2"]),
            (&["::"], "n", &["192.0.2.2", "2001:db8::1"], &["2001:db8::1"]),
            (&[], "n", &["2001:db8::1"], &["2001:db8::1"]),
        ];
        for (node_ips, name, resolved, want) in table {
            let settings = NodeSettings { node_ips: ips(node_ips), name: name.to_owned(), ..settings() };
            let network = NetworkFacts { resolved: ips(resolved), ..network() };
            assert_eq!(internal_ips(&settings, &network), Ok(ips(want)), "{node_ips:?} {name} {resolved:?}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_a_nodes_are_named() {
        let network = network();
        for text in ["127.0.0.1", "224.0.0.1", "169.254.1.1", "fe80::1", "192.0.2.77"] {
            let settings = NodeSettings { node_ips: ips(&[text]), ..settings() };
            let error = internal_ips(&settings, &network).unwrap_err();
            assert!(error.to_string().starts_with(&format!("--node-ip {text}: ")), "{error}");
        }
        let error = internal_ips(&settings(), &NetworkFacts::default()).unwrap_err();
        assert!(matches!(error, AddressError::None { .. }));
    }

    #[test]
    fn a_cloud_keeps_its_addresses_and_is_told_ours() {
        let cloud = NodeSettings { cloud: CloudProvider::External, ..settings() };
        let known = vec![address("ExternalIP", "203.0.113.1".to_owned())];
        assert_eq!(addresses(&cloud, &network(), &known), Ok(known));
        let only_name = addresses(&cloud, &network(), &[]).unwrap();
        assert_eq!(only_name, [address("Hostname", cloud.name.clone())]);
        assert_eq!(provided_ips(&cloud), None);
        let cloud = NodeSettings { node_ips: ips(&["192.0.2.2", "2001:db8::1"]), ..cloud };
        assert_eq!(addresses(&cloud, &network(), &[]).unwrap().len(), 3);
        assert_eq!(provided_ips(&cloud).as_deref(), Some("192.0.2.2,2001:db8::1"));
        assert_eq!(provided_ips(&NodeSettings { cloud: CloudProvider::None, ..cloud }), None);
    }
}
