//! Which pods the node should run, and the life of each: sources, static pods, pod workers.
//!
//! ```text
//! bytes --> manifest / manifest_set --> merge --> worker        admission: may this pod run here?
//!               |
//!               +-- validation, unsupported          allocation: what was it given, and may it be resized?
//! ```

pub mod active_deadline;
pub mod admission;
pub mod allocation;
pub mod manifest;
pub mod manifest_set;
pub mod merge;
pub mod mirror;
pub mod unsupported;
pub mod validation;
pub mod worker;
