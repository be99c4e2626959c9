//! Generated CRI v1 messages, client and server (see `build.rs`). Nothing outside this crate sees them: the
//! port speaks `core_types::runtime`. The server half serves the tests' fake runtime.

use std::fmt;

#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    deprecated,
    rust_2018_idioms,
    clippy::all,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
mod generated {
    tonic::include_proto!("runtime.v1");
}

pub(crate) use generated::*;

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfig(hidden)")
    }
}
