//! The agent's doors to the outside: one small async trait per outside system, with the plain data it passes.
//!
//! `io/*` implements them for the real parts, `sim` implements them as fakes, and one contract suite runs on both.
//! Every call is bounded in time by its implementation; an error says what failed, on what, and why.

pub mod api;
pub mod certificates;
pub mod cgroups;
pub mod checkpoints;
pub mod clock;
pub mod collections;
#[cfg(feature = "contract")]
pub mod contract;
pub mod control;
pub mod credential_plugins;
pub mod events;
pub mod hooks;
pub mod inspection;
pub mod kernel_log;
pub mod log_files;
pub mod logs;
pub mod machine_shutdown;
pub mod memory_alarm;
pub mod node;
pub mod node_files;
pub mod packet_filter;
pub mod pod_api;
pub mod pod_certificates;
pub mod pod_files;
pub mod probes;
pub mod process;
pub mod pull_access;
pub mod pull_records;
pub mod references;
pub mod reviews;
pub mod runtime;
pub mod sealed;
pub mod sources;
pub mod stats;

pub use api::{ApiError, ApiResult, ApiStatus, ObjectEvent};
pub use certificates::{CertificateFiles, CertificateSigner};
pub use cgroups::{CgroupError, Cgroups};
pub use checkpoints::Checkpoints;
pub use clock::Clock;
pub use collections::Collection;
pub use control::{Control, ControlError};
pub use credential_plugins::CredentialPlugins;
pub use events::{EventJournal, EventSink, EventSinkError};
pub use hooks::{HookAnswer, HookDialError, HookDialer};
pub use inspection::{Inspection, RemedyError};
pub use kernel_log::KernelLog;
pub use log_files::ContainerLogFiles;
pub use logs::{ContainerLogs, LogError};
pub use machine_shutdown::{MachineShutdown, ShutdownError, ShutdownWatch};
pub use memory_alarm::MemoryAlarm;
pub use node::{HostNetwork, LeaseApi, NodeApi, NodeFeed};
pub use node_files::{Journal, NodeFile, NodeFiles};
pub use packet_filter::PacketFilter;
pub use pod_api::PodApi;
pub use pod_certificates::{PodCertificateRequests, PodKeyPair, PodKeys};
pub use pod_files::{FileError, PodFiles};
pub use probes::ProbeDialer;
pub use process::OwnProcess;
pub use pull_access::PullAccess;
pub use pull_records::PullRecords;
pub use references::{ReferencedObjects, ServiceAccountTokens};
pub use reviews::{SubjectAccessReviews, TokenReviews};
pub use runtime::{ContainerRuntime, ImageService, RuntimeError};
pub use sealed::SealedFile;
pub use sources::{ManifestFetcher, ManifestFile, ManifestFiles};
pub use stats::{HostStats, LocalStorage, Readings};
