//! Fetches the manifest URL (`staticPodURL`, CONTRACT 3.1).
//!
//! One GET for each question, with the configured headers, on a connection of its own: the question comes every 20 s or
//! less often, and a kept connection would only age. At most 10 s and 10 MiB. A redirect is followed only on the same
//! scheme, host and port, so the headers, which may hold a secret, go nowhere else. Reads the system's certificate
//! authorities once, when it is made; falls back to a built-in list. Keeps nothing between two fetches.

mod connect;
mod fetch;

pub use fetch::{HttpManifests, ManifestUrlError};
