//! `cargo xtask`: everything one does with the workspace besides editing it.
//!
//! Each command is a module; this file only reads the command line.

mod bench;
mod cargo;
mod cluster;
mod conformance;
mod guest;
mod interrupt;
mod run;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, run, test, bench, simulation and tidiness of the workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the agent on a private container runtime and see a pod come up
    Run {
        /// Clean up and leave once the pod was seen to work
        #[arg(long)]
        once: bool,
    },
    /// Start a cluster of one node on private parts and leave it running until Ctrl-C
    Cluster,
    /// Run upstream's own conformance tests of a node on a private cluster (about 20 minutes)
    Conformance(conformance::Options),
    /// Set up and run all tests
    Test {
        /// Run only this level (may be repeated)
        #[arg(long, value_enum, value_name = "LEVEL")]
        only: Vec<test::Level>,
        /// How many simulation seeds to try
        #[arg(long, default_value_t = test::SEEDS)]
        seeds: u64,
    },
    /// Measure the release build on a private cluster, beside upstream's kubelet with --against upstream; it prints and never judges
    #[command(disable_help_flag = true)]
    Bench {
        /// What the bench is told: --against, --pods, --rounds, --only, --json, --help
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Simulate the whole agent on fakes
    Sim {
        /// How many seeds to try
        #[arg(long, default_value_t = test::SEEDS)]
        seeds: u64,
        /// The first seed; with --seeds 1 this replays one
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Check rings, size budgets, module headers and documents
    Tidy {
        /// Take exceptions that are no longer needed out of the budget file
        #[arg(long)]
        shrink: bool,
    },
    /// Install and build what runs and tests need
    Setup,
    /// Remove what killed runs left behind
    Clean,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let root = workspace_root()?;
    match command {
        Command::Run { once } => {
            let after = if once { run::After::CleanUp } else { run::After::StayUntilInterrupted };
            run::run(&root, after).map(|()| ExitCode::SUCCESS)
        }
        Command::Cluster => cluster::cluster(&root).map(|()| ExitCode::SUCCESS),
        Command::Conformance(options) => {
            conformance::conformance(&root, &options).map(|()| ExitCode::SUCCESS)
        }
        Command::Test { only, seeds } => test::test(&root, &only, seeds),
        Command::Bench { args } => bench::bench(&root, &args).map(|()| ExitCode::SUCCESS),
        Command::Sim { seeds, seed } => cargo::sim(&root, seeds, seed).map(success),
        Command::Tidy { shrink } => {
            let exceptions = if shrink { tidy::Exceptions::Shrink } else { tidy::Exceptions::Keep };
            tidy::tidy(&root, exceptions).map(success)
        }
        Command::Setup => setup().map(|()| ExitCode::SUCCESS),
        Command::Clean => clean().map(|()| ExitCode::SUCCESS),
    }
}

fn success(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn setup() -> Result<()> {
    let parts = lab::Parts::ready()?;
    println!("ready: {}", parts.containerd_dir(lab::ContainerdVersion::V2_4).display());
    Ok(())
}

fn clean() -> Result<()> {
    let swept = lab::sweep_stale()?;
    for dir in &swept {
        println!("removed {}", dir.display());
    }
    if swept.is_empty() {
        println!("nothing was left behind");
    }
    Ok(())
}

/// The folder above this crate's; cargo says where that is when it runs us, and did so when it built us.
fn workspace_root() -> Result<PathBuf> {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Ok(Path::new(&here).parent().context("this crate lies in the workspace")?.to_owned())
}
