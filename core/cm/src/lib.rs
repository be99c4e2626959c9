//! Cgroup tree, QoS classes and the resource values of nodes, pods and containers.
//!
//! Reads pod specs and facts of the node, writes plain values. It knows how cgroups are named for both drivers and what
//! to set in them; creating them is the `Cgroups` port's matter. Left out until their issues come: exclusive CPUs and
//! memory pinning, device and DRA allocations, in-place resize.

pub mod cgroup;
pub mod convert;
#[cfg(test)]
mod golden;
pub mod linux;
pub mod oom;
pub mod qos;
pub mod resources;
pub mod values;

pub use cgroup::{CgroupPath, CgroupValues};
pub use linux::{container_resources, sandbox_overhead, sandbox_resources};
pub use oom::oom_score_adj;
pub use qos::{is_critical, is_node_critical, qos_class};
pub use resources::{Overhead, ResourceList, pod_limits, pod_requests};
pub use values::{CgroupVersion, CpuQuota, NodeFacts, SwapBehavior, node_values, pod_values, qos_values};
