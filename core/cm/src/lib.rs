//! Cgroup tree, QoS classes and the resource values of nodes, pods and containers.
//!
//! Reads pod specs and facts of the node, writes plain values. It knows how cgroups are named for both drivers and what
//! to set in them; creating them is the `Cgroups` port's matter. What a pod was given and what of it is in force is kept in
//! [`pod_resources`] and [`checkpoint`]; [`resize`] plans the way from one to the other. Left out until their issues come:
//! exclusive CPUs and memory pinning, device and DRA allocations.

pub mod actual;
pub mod cgroup;
pub mod checkpoint;
pub mod convert;
#[cfg(test)]
mod golden;
pub mod linux;
pub mod memory_qos;
pub mod oom;
pub mod pod_resources;
pub mod qos;
pub mod requests;
pub mod resize;
pub mod resources;
pub mod systemd;
pub mod values;

pub use cgroup::{CgroupLimits, CgroupPath, CgroupValues};
pub use checkpoint::ResourceBook;
pub use linux::{container_resources, may_swap, sandbox_overhead, sandbox_resources};
pub use memory_qos::{MemoryQos, MemoryReservation};
pub use oom::oom_score_adj;
pub use pod_resources::PodResources;
pub use qos::{is_critical, is_node_critical, qos_class};
pub use requests::{ActiveRequests, ClassRequests};
pub use resources::{Overhead, ResourceList, pod_limits, pod_requests};
pub use values::{
    CgroupVersion, CpuQuota, NodeFacts, SwapBehavior, node_values, pod_values, qos_values, reserved_values,
};
