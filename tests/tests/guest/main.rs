//! What is other on cgroup version 2, with AppArmor, with CRIU, with swap and with systemd, and tests of `full` that are worth a run there.
//! `cargo xtask test` runs these in a guest machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod app_armor;
mod checkpoint;
mod life;
mod logind;
#[path = "../full/oom.rs"]
mod oom;
mod sizes;
mod swap;
mod systemd;

use std::{fs, path::Path, process::Command};

/// Whether the machine counts everything in one hierarchy.
fn is_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Whether this is the guest machine, which tests may change as they like.
fn is_guest() -> bool {
    Path::new("/guest/jobs").is_dir()
}

/// What a command says, which has to succeed.
fn run(command: &[&str]) -> String {
    let mut program = Command::new(command[0]);
    lab::command::output(program.args(&command[1..])).unwrap_or_else(|error| panic!("{error:#}"))
}

/// What a file of a cgroup holds.
fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}
