//! Resource use of the node, its pods and containers, in the form of `/metrics/cadvisor` (CONTRACT 5.18).
//!
//! | module | what |
//! |---|---|
//! | `sample` | what was read of one cgroup, as plain numbers |
//! | `subjects` | which cgroups to read for a view of the node, and the labels they get |
//! | `families` | upstream's names, help texts and values of the `container_*` families |
//! | `machine` | the `machine_*` families and `cadvisor_version_info` |
//! | `page` | the whole answer, family by family |
//!
//! Reads the published view and samples, writes text. The cgroups are those of the node, the QoS classes, the pods and
//! their containers, found by name; no other cgroup of the machine is looked at. Left out: what upstream's kubelet leaves
//! out (per-CPU, NUMA, TCP, perf), and disk I/O, file systems, open files and OOM events, which need other readers.

mod families;
mod machine;
mod page;
mod sample;
mod subjects;

pub use machine::{MachineFacts, VersionFacts};
pub use page::{LayerUsage, Measured, Page, ScrapeHealth};
pub use sample::{
    CgroupSample, CgroupSpec, CpuSample, CpuSpec, InterfaceSample, MemorySample, MemorySpec, Pressure,
    PressureTotals, ProcessSample, ReclaimSample,
};
pub use subjects::{Group, Labels, NetworkOf, Subject, groups};
