//! Tests of the programs from outside, on a real runtime: this library is what they share, `tests/` holds them.
//!
//! A [`Node`] is a private container runtime with our kubelet on it. Tests put manifests into its folder, type `podwright`
//! commands, kill processes, and look at what the runtime, the process table, the cgroup files and the HTTP ports show.
//!
//! Guarantees: every wait has a deadline and says at its end what was seen; everything made is removed when the node is
//! dropped, also by a test that fails. Helpers panic: the message is the test's failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod api_proxy;
pub mod cgroup;
pub mod cli;
pub mod cluster;
mod dbus;
pub mod https;
mod huge_pages;
pub mod hung_mount;
pub mod logind;
pub mod manifest;
pub mod manifest_server;
pub mod node;
pub mod prometheus;
pub mod runtime;
pub mod status;
pub mod streams;
pub mod systemd;

pub use cli::{Podwright, Said};
pub use huge_pages::HugePages;
pub use logind::StandIn;
pub use node::Node;
pub use runtime::Cri;

use std::time::Duration;

use lab::wait::{self, Look};

/// How long anything that takes no more than a few moments may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

/// How long what waits for a back-off or a grace period may take.
pub const LATER: Duration = Duration::from_secs(90);

/// Looks until `look` gives a value and returns it; on the way it says what it sees.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let found = wait::until(what, limit, || Ok(look().map_or_else(Look::Waiting, Look::Done)));
    found.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Looks until `holds`.
#[track_caller]
pub fn eventually_true(what: &str, limit: Duration, holds: impl FnMut() -> bool) {
    wait::until_true(what, limit, holds).unwrap_or_else(|error| panic!("{error:#}"));
}
