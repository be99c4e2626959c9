//! What is other on cgroup version 2, and tests of `full` that are worth a run on it. `cargo xtask test` runs these in a guest machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod life;
#[path = "../full/oom.rs"]
mod oom;
