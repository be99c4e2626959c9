//! What the node is configured to be, and what the machine is. Neither changes while the agent runs.

use core::net::IpAddr;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;

use crate::capacity::{PodLimit, Reservations};

/// Who finds the addresses and zones of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudProvider {
    /// Nobody but the node itself.
    None,
    /// `--cloud-provider=external`: a controller of the cloud, which takes the taint of a new node away when it is done.
    External,
}

/// Who attaches volumes to the node (`enableControllerAttachDetach`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachDetach {
    /// The controller manager; the node says so by an annotation.
    Controller,
    /// The kubelet.
    Kubelet,
}

/// What to do with amounts of extended resources that an existing Node object still shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedResources {
    /// Device plugins will count them anew, so they stay until then.
    Keep,
    /// Nothing on this machine knows of them: it is a fresh one under an old name.
    Zero,
}

/// How many images the status lists (`nodeStatusMaxImages`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageLimit {
    /// So many, the largest first.
    Of(usize),
    /// All of them.
    None,
}

/// What the node is configured to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// Name of the Node object, which is its host name too.
    pub name: String,
    /// `--node-labels`.
    pub labels: BTreeMap<String, String>,
    /// `registerWithTaints`.
    pub taints: Vec<Taint>,
    /// `providerID`; empty for none.
    pub provider_id: String,
    /// `--cloud-provider`.
    pub cloud: CloudProvider,
    /// Who attaches volumes.
    pub attach_detach: AttachDetach,
    /// Extended resources of an existing object.
    pub extended_resources: ExtendedResources,
    /// `--node-ip`: nothing, one address or one of each family; an unspecified one only prefers its family.
    pub node_ips: Vec<IpAddr>,
    /// `maxPods` and `podsPerCore`.
    pub pod_limit: PodLimit,
    /// What is kept back from pods.
    pub reservations: Reservations,
    /// Port of the kubelet's API; 0 for none.
    pub port: i32,
    /// Images in the status.
    pub image_limit: ImageLimit,
    /// Version of the kubelet, e.g. `v1.37.2`.
    pub version: String,
    /// Names of features that the scheduler may count on, sorted.
    pub declared_features: Vec<String>,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Size of a page in bytes.
    pub page_bytes: i64,
    /// How many pages there are.
    pub count: i64,
}

/// What the machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Machine ID.
    pub machine_id: String,
    /// System UUID.
    pub system_uuid: String,
    /// ID of this boot.
    pub boot_id: String,
    /// Kernel release as `uname -r` prints it.
    pub kernel_version: String,
    /// Name of the operating system.
    pub os_image: String,
    /// Go's name of the architecture, e.g. `amd64`.
    pub architecture: String,
    /// CPUs that are online.
    pub cpu_count: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Swap in bytes.
    pub swap_bytes: i64,
    /// Size of the file system of the root directory in bytes.
    pub root_fs_bytes: i64,
    /// Huge pages by size.
    pub hugepages: Vec<HugePages>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plain node without a cloud.
    pub(crate) fn settings() -> NodeSettings {
        NodeSettings {
            name: "n1".to_owned(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            provider_id: String::new(),
            cloud: CloudProvider::None,
            attach_detach: AttachDetach::Controller,
            extended_resources: ExtendedResources::Keep,
            node_ips: Vec::new(),
            pod_limit: PodLimit { max: 110, per_core: 0 },
            reservations: Reservations::default(),
            port: 10250,
            image_limit: ImageLimit::Of(50),
            version: "v1.37.2".to_owned(),
            declared_features: vec!["A".to_owned()],
        }
    }

    /// A small machine.
    pub(crate) fn machine() -> Machine {
        Machine {
            machine_id: "m".to_owned(),
            system_uuid: "s".to_owned(),
            boot_id: "b1".to_owned(),
            kernel_version: "6.1".to_owned(),
            os_image: "Debian".to_owned(),
            architecture: "amd64".to_owned(),
            cpu_count: 2,
            memory_bytes: 4 << 30,
            swap_bytes: 0,
            root_fs_bytes: 100 << 30,
            hugepages: Vec::new(),
        }
    }
}
