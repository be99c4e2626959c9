//! Resource use of the node, its pods and containers: what is read, what comes of it, and how it is shown (CONTRACT
//! 2.9, 5.14, 5.16, 5.18).
//!
//! | module | what |
//! |---|---|
//! | `sample` | what was read of one cgroup, as plain numbers |
//! | `detail` | disk I/O, open files, file systems of the machine: what only `/metrics/cadvisor` shows |
//! | `filesystem` | what was read of file systems, volumes and files |
//! | `from_runtime` | what the runtime says of pods, in the form of cgroups |
//! | `subjects` | which cgroups to read for a view of the node, and the labels they get |
//! | `local_volumes` | which volumes of a pod are measured |
//! | `sizes` | when a directory is measured again |
//! | `readings` | everything that was read of the node, shared by all who ask |
//! | `rates` | CPU rates from two readings |
//! | `families` | upstream's names, help texts and values of the `container_*` families |
//! | `machine` | the `machine_*` families and `cadvisor_version_info` |
//! | `summary` | the answer to `/stats/summary` |
//! | `resource` | the answer to `/metrics/resource` |
//! | `page` | the whole answer to `/metrics/cadvisor`, family by family |
//!
//! Reads the published view and samples, writes text. The cgroups are those of the node, the QoS classes, the pods and
//! their containers, found by name; no other cgroup of the machine is looked at. Left out of the metrics: what upstream's
//! kubelet leaves out (per-CPU, NUMA, TCP, perf).

mod detail;
mod families;
mod filesystem;
mod from_runtime;
mod local_volumes;
mod machine;
mod page;
mod rates;
mod readings;
mod resource;
mod sample;
mod sizes;
mod subjects;
pub mod summary;

pub use detail::{
    CgroupDetail, DescriptorSample, DetailReading, DiskCounters, DiskSample, MountedFilesystem,
};
pub use filesystem::{Coverage, DiskUse, FilesystemSample, PodFilesUse, VolumeUse};
pub use from_runtime::from_runtime;
pub use local_volumes::{Counts, OwnVolume, own_volumes};
pub use machine::{MachineFacts, VersionFacts};
pub use page::Page;
pub use rates::CpuRates;
pub use readings::{
    LayerUse, LayersReading, MachineTasks, Measured, PodStorage, RuntimeFilesystem, StorageReading,
    UsageReading, limit_root,
};
pub use resource::{Completeness, resource_metrics};
pub use sample::{
    CgroupSample, CgroupSpec, CpuSample, CpuSpec, InterfaceSample, MemorySample, MemorySpec, Pressure,
    PressureLine, PressureSample, ProcessSample, ReclaimSample,
};
pub use sizes::SizeBook;
pub use subjects::{CgroupLayout, Group, Labels, NetworkOf, Subject, SystemContainer, Whose, groups};
pub use summary::SummaryFacts;
