//! What the node answers over HTTP (CONTRACT 2): one entry per listener.
//!
//! | entry | where | what |
//! |---|---|---|
//! | [`healthz::start`] | 10248 | `/healthz` from a thread of its own |
//! | [`read_only::start`] | 10255 | pods, health, metrics and machine facts, without authentication |
//! | [`cadvisor::start`] | `--cadvisor-port` | the metrics of `/metrics/cadvisor`, without authentication |
//! | [`https::start`] | 10250 | the same and the debugging paths, over TLS, with authentication and authorization |
//! | [`local::start`] | unix socket | what `podwright` asks |
//!
//! Reads the snapshots that the agent publishes (`ports::Control`), log files through `ports::ContainerLogs`, and keeps
//! certificates in the certificate directory. Decides nothing about pods. Each entry binds before it returns, so that
//! an address in use is an error at the start, and gives a [`ServerHandle`] that stops it.

mod body;
pub mod cadvisor;
mod container_logs;
mod context;
mod error;
pub mod health;
pub mod healthz;
pub mod https;
mod listener;
pub mod local;
mod metrics;
mod pods;
mod query;
pub mod read_only;
mod routes;
mod seats;
mod streams;
pub mod usage;

pub use context::{NodeFacts, ServerContext, SplitLogStreams};
pub use error::ServeError;
pub use listener::ServerHandle;

#[cfg(test)]
mod testing;
