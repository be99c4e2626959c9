//! The node's own certificates, which the API server signs (CONTRACT 7.1, 7.2): who one is there, and the serving
//! certificate of `serverTLSBootstrap`.
//!
//! [`Template`] is what a certificate must say, [`Content`] what one says, and [`Rotation`] the machine that tells when to
//! ask for another. Reads nothing; times and chance are arguments.

pub mod pod;
mod rotation;

use core::net::IpAddr;
use std::collections::BTreeSet;

use core_types::WallTime;

pub use rotation::{Effect, Event, Moment, Rotation, Server};

/// Organization of every node.
const NODES: &str = "system:nodes";

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To show the API server who this node is.
    Client,
    /// To show clients of port 10250 that this is the node.
    Serving,
}

impl Purpose {
    /// Begin of the names of its files.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "kubelet-client",
            Self::Serving => "kubelet-server",
        }
    }

    /// Who signs it.
    pub const fn signer(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    /// What it may be used for. The keys are elliptic, so none needs `key encipherment`.
    pub const fn usages(self) -> [&'static str; 2] {
        match self {
            Self::Client => ["digital signature", "client auth"],
            Self::Serving => ["digital signature", "server auth"],
        }
    }
}

/// An address of the node, as its object has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAddress {
    /// `Hostname`: a name, or an address that stands for one.
    Hostname(String),
    /// `InternalIP` or `ExternalIP`.
    Ip(String),
    /// `InternalDNS` or `ExternalDNS`.
    Dns(String),
}

/// Gate `AllowDNSOnlyNodeCSR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamesAlone {
    /// A serving certificate needs an IP address.
    NotEnough,
    /// A name is enough.
    Enough,
}

/// What a certificate must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Common name.
    pub common_name: String,
    /// Organizations.
    pub organizations: BTreeSet<String>,
    /// Names it is good for.
    pub dns_names: BTreeSet<String>,
    /// Addresses it is good for.
    pub ips: BTreeSet<IpAddr>,
}

impl Template {
    /// Who the node is.
    pub fn client(node_name: &str) -> Self {
        Self {
            common_name: format!("system:node:{node_name}"),
            organizations: [NODES.to_owned()].into(),
            dns_names: BTreeSet::new(),
            ips: BTreeSet::new(),
        }
    }

    /// What the node serves as; `None` as long as it has too few addresses.
    pub fn serving(node_name: &str, addresses: &[NodeAddress], names_alone: NamesAlone) -> Option<Self> {
        let mut template = Self::client(node_name);
        for address in addresses {
            match address {
                NodeAddress::Hostname(text) | NodeAddress::Ip(text) if text.parse::<IpAddr>().is_ok() => {
                    template.ips.extend(text.parse::<IpAddr>());
                }
                NodeAddress::Hostname(name) | NodeAddress::Dns(name) if !name.is_empty() => {
                    template.dns_names.insert(name.clone());
                }
                _ => {}
            }
        }
        let named = names_alone == NamesAlone::Enough && !template.dns_names.is_empty();
        (named || !template.ips.is_empty()).then_some(template)
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Common name.
    pub common_name: String,
    /// Organizations.
    pub organizations: BTreeSet<String>,
    /// Names it is good for.
    pub dns_names: BTreeSet<String>,
    /// Addresses it is good for.
    pub ips: BTreeSet<IpAddr>,
    /// Begin of its life.
    pub not_before: WallTime,
    /// End of its life.
    pub not_after: WallTime,
}

impl Content {
    /// Whether it says everything that it must; more does no harm.
    pub fn satisfies(&self, template: &Template) -> bool {
        self.common_name == template.common_name
            && template.organizations.is_subset(&self.organizations)
            && template.dns_names.is_subset(&self.dns_names)
            && template.ips.is_subset(&self.ips)
    }

    /// Whether its life is over.
    pub fn is_expired(&self, now: WallTime) -> bool {
        now > self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serving_certificate_names_every_address_once() {
        let addresses = [
            NodeAddress::Ip("10.0.0.1".into()),
            NodeAddress::Ip("10.0.0.1".into()),
            NodeAddress::Ip("no address".into()),
            NodeAddress::Hostname("node-1".into()),
            NodeAddress::Hostname("fd00::1".into()),
            NodeAddress::Dns("node-1.example".into()),
            NodeAddress::Dns(String::new()),
        ];
        let template = Template::serving("n1", &addresses, NamesAlone::NotEnough).unwrap();
        assert_eq!(template.common_name, "system:node:n1");
        assert_eq!(template.organizations, ["system:nodes".to_owned()].into());
        assert_eq!(template.dns_names, ["node-1".to_owned(), "node-1.example".to_owned()].into());
        assert_eq!(template.ips, ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()].into());
        let names = &addresses[3..4];
        assert_eq!(Template::serving("n1", names, NamesAlone::NotEnough), None);
        assert!(Template::serving("n1", names, NamesAlone::Enough).is_some());
        assert_eq!(Template::serving("n1", &[], NamesAlone::Enough), None);
    }
}
