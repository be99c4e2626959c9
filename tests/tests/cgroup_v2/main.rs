//! What is other on cgroup version 2, and tests of `full` that are worth a run on it. `cargo xtask test` runs these in a guest machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod life;
#[path = "../full/oom.rs"]
mod oom;
mod systemd;

use std::{fs, path::Path};

/// Whether the machine counts everything in one hierarchy.
fn is_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// What a file of a cgroup holds.
fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}
