//! The agent's HTTP requests: the manifest URL (`staticPodURL`, CONTRACT 3.1) and lifecycle hooks (CONTRACT 3.14).
//!
//! The manifest URL: one GET for each question, with the configured headers, on a connection of its own: the question comes every 20 s or
//! less often, and a kept connection would only age. At most 10 s and 10 MiB. A redirect is followed only on the same
//! scheme, host and port, so the headers, which may hold a secret, go nowhere else. Reads the system's certificate
//! authorities once, when it is made; falls back to a built-in list. Keeps nothing between two fetches.
//!
//! Hooks: one GET each to whatever address a pod names, with no credentials of the agent; certificates are not verified.

mod connect;
mod fetch;
mod hook;

pub use fetch::{HttpManifests, ManifestUrlError};
pub use hook::HttpHooks;
