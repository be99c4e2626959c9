//! Cgroup tree, QoS classes and the resource values of nodes, pods and containers.

pub mod cgroup;
