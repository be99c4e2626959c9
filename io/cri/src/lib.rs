//! Container runtime and image service over CRI v1 on unix sockets (CONTRACT 0.3).
//!
//! [`CriClient`] implements [`ports::ContainerRuntime`] and [`ports::ImageService`]. It translates, keeps
//! each call's deadline, keeps the connection, and counts calls in `kubelet_runtime_operations_*`. It reads
//! and writes nothing but the two sockets.
//!
//! Guarantees:
//! - every call ends: by the runtime's answer, by its deadline, or at once when the socket cannot be reached.
//!   Only `PullImage`, the event stream and `ExecSync` without a time limit have no deadline;
//! - a runtime that is down, hangs, restarts or answers nonsense gives an error that names the call, never a
//!   panic;
//! - stop and remove of what is gone are successes.
//!
//! Left out: repeated attempts of a call (the caller knows what is safe), choices between calls when the
//! runtime does not implement one, and the alpha `Stream*` lists.

mod call;
mod client;
mod connect;
mod endpoint;
mod events;
mod from_proto;
mod images;
mod proto;
mod runtime;
mod to_proto;

#[cfg(test)]
mod tests;

pub use client::{CriClient, CriOptions};
pub use endpoint::EndpointError;
