//! The node's kernel and file system: clock, cgroups, mounts, pod directories, file watches, machine facts.
//!
//! | module | port or purpose |
//! |---|---|
//! | [`clock`] | `ports::Clock`, and the only reads of clocks |
//! | [`pod_files`] | `ports::PodFiles` |
//! | [`manifests`] | `ports::ManifestFiles` |
//! | [`cgroups`] | `ports::Cgroups` |
//! | `cgroup_stats` | `ports::HostStats` |
//! | [`checkpoints`] | `ports::Checkpoints` |
//! | [`event_journal`] | `ports::EventJournal` |
//! | [`sealed`] | `ports::SealedFile` |
//! | `pull_records` | `ports::PullRecords` |
//! | `credential_plugins` | `ports::CredentialPlugins` |
//! | `iptables` | `ports::PacketFilter` |
//! | `container_logs`, `own_process` | `ports::ContainerLogs`, `ports::OwnProcess` |
//! | `log_files` | `ports::ContainerLogFiles` |
//! | `local_storage` | `ports::LocalStorage` |
//! | `inspection` | `ports::Inspection` |
//! | `node_files`, `journal` | `ports::NodeFiles`, `ports::Journal` |
//! | [`machine`] | what the machine is: `/spec/`, node status, addresses |
//! | [`limits`], [`lock`] | the agent's own process |
//! | `beneath`, [`blocking`], [`mountinfo`], [`mounts`] | how the above touch the system |
//!
//! Nothing here decides. Calls that the kernel can block run on a bounded pool with a deadline ([`blocking`]), so nothing
//! can hang the node.

mod beneath;
pub mod blocking;
mod cgroup_stats;
pub mod cgroups;
pub mod checkpoints;
pub mod clock;
mod container_logs;
mod credential_plugins;
mod error;
pub mod event_journal;
mod inspection;
mod iptables;
mod journal;
mod kernel_log;
pub mod limits;
mod local_storage;
pub mod lock;
mod log_files;
pub mod machine;
pub mod manifests;
pub mod memory;
mod memory_alarm;
pub mod mountinfo;
pub mod mounts;
mod node_files;
mod node_network;
mod own_process;
pub mod pod_files;
mod programs;
mod pull_records;
mod replace;
pub mod sealed;

pub use cgroup_stats::HostStatsReader;
pub use cgroups::{CgroupOptions, CgroupSetupError, CgroupVersion, HostCgroups};
pub use checkpoints::HostCheckpoints;
pub use clock::HostClock;
pub use container_logs::HostContainerLogs;
pub use credential_plugins::HostCredentialPlugins;
pub use event_journal::HostEventJournal;
pub use inspection::{HostInspection, InspectionPlaces};
pub use iptables::Iptables;
pub use journal::HostJournal;
pub use kernel_log::HostKernelLog;
pub use local_storage::HostLocalStorage;
pub use log_files::HostContainerLogFiles;
pub use machine::{MachineInfo, NodeFacts};
pub use manifests::HostManifestFiles;
pub use memory_alarm::HostMemoryAlarm;
pub use node_files::HostNodeFiles;
pub use node_network::NodeNetwork;
pub use own_process::HostOwnProcess;
pub use pod_files::{HostPodFiles, PodFilesOptions};
pub use pull_records::HostPullRecords;
pub use sealed::{HostSealedFile, SealKey, SealedPlace};
