//! Real parts for runs and tests: containerd, runc, CNI, images, cgroup roots, a control plane and the agent itself.
//!
//! [`Parts`] finds or makes the programs, [`Instance`] puts a private runtime together from them, [`Agent`] is our kubelet
//! on that runtime. [`ControlPlane`] is a cluster without nodes, from [`ControlPlaneParts`], and [`Cluster`] is all of these.
//! [`Guest`] is another machine, from [`GuestParts`], that runs programs of this one.
//! Everything an instance makes lies below one folder, one bridge, one subnet and one cgroup per controller, so that it can be swept
//! away whole, also after the process that made it was killed.
//!
//! Reads: `PODWRIGHT_CACHE` (where built parts are kept), `PODWRIGHT_LAB_CONTAINERD` (which containerd tests use),
//! `PODWRIGHT_BIN_DIR` (where our programs lie), `PODWRIGHT_SKIPS` (where skipped tests are noted), `PODWRIGHT_PATIENCE` (how many
//! times longer than usual a wait may take).
//! Leaves out: async code (plain threads and blocking calls), TLS calls, and any containerd that was not started here.

pub mod agent;
pub mod bus;
pub mod cgroups;
mod claim;
pub mod cluster;
pub mod command;
pub mod containerd;
pub mod control_plane;
mod free_port;
pub mod gate;
pub mod guest;
pub mod http;
pub mod images;
pub mod instance;
pub mod metrics_server;
pub mod network;
mod oci;
pub mod parts;
pub mod process;
pub mod registry;
mod skip;
mod sweep;
pub mod wait;

pub use agent::Agent;
pub use bus::Bus;
pub use claim::sweep_stale;
pub use cluster::Cluster;
pub use containerd::{CgroupDriver, Containerd, ContainerdVersion};
pub use control_plane::ControlPlane;
pub use guest::Guest;
pub use instance::Instance;
pub use parts::{ConformanceParts, ControlPlaneParts, GuestParts, Parts};
pub use registry::Registry;
pub use skip::{skip, skipped};
