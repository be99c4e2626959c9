//! The node's kernel and file system: clock, cgroups, mounts, pod directories, file watches, machine facts
