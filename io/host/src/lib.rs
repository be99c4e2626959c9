//! The node's kernel and file system: clock, cgroups, mounts, pod directories, file watches, machine facts

mod container_logs;
mod own_process;

pub use container_logs::HostContainerLogs;
pub use own_process::HostOwnProcess;
