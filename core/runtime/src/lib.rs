//! What to do next for one pod: sandbox and container plan, back-off, CRI configuration.
//!
//! Everything here is a function of a pod, of what the runtime shows of it and of the time. The executor in `agent`
//! carries the plans out and makes no choice of its own.

pub mod backoff;
pub mod config;
pub mod dns;
pub mod env;
pub mod env_files;
pub mod events;
pub mod hash;
pub mod hooks;
pub mod hostname;
pub mod hosts;
pub mod plan;
pub mod reasons;
pub mod restart;
pub mod runtime_class;
pub mod security;
pub mod service_links;
pub mod text;
pub mod user_namespaces;

#[cfg(test)]
mod testing;

pub use backoff::{Backoff, CrashBackoff, Now};
pub use events::RuntimeEventText;
pub use hash::container_hash;
pub use plan::{Action, PlanInput, PodPlan, plan, termination_plan};
pub use reasons::WaitingReason;
