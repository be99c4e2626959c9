//! `cargo xtask test`: every level of tests, from cheap to dear, and one closing line that adds them up.
//!
//! A test of a level that needs the machine goes into an integration test target of `tests` or `lab`; those run a few at
//! a time, once on each containerd. All calls select the whole workspace and differ only in targets, so that cargo builds each
//! dependency once.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, TargetKind};
use clap::ValueEnum;
use lab::{ContainerdVersion, ControlPlaneParts, Parts, parts::upstream_kubelet, wait::Stopwatch};

use crate::{
    cargo::{Tally, count_tests, must, passes, sim, target_dir},
    guest::guest,
    tidy,
};

/// How many simulation seeds the test command tries.
pub(crate) const SEEDS: u64 = 10_000;

/// The crates whose integration tests use the real machine.
const REAL_RUNTIME: [&str; 2] = ["lab", "tests"];

/// Test targets of these crates that are for the newest runtime only, or need none; the others run on each.
const ONCE: [&str; 2] = ["cluster", "control_plane"];

/// The target with what the agent does, and the modules of it that run on the old runtime too: those that see the runtime's
/// part in it. How the agent rests is not among them, because it has to ask a runtime that sends no events.
const FULL: &str = "full";
const FULL_ON_OLD_RUNTIME: [&str; 23] = [
    "admission",
    "container_gc",
    "environment",
    "events",
    "features",
    "hooks",
    "hostile",
    "images",
    "lifecycle",
    "log_rotation",
    "mounts",
    "oom",
    "probes",
    "resize",
    "resources",
    "restart",
    "restart_rules",
    "security",
    "stats",
    "streams",
    "streams_cli",
    "user_namespaces",
    "volumes",
];

/// A test target that runs in a guest machine only.
const IN_GUEST: &str = "guest";

/// A test target of another crate that needs a runtime; a test of `tests` starts one and runs it.
const RUN_BY_TESTS: &str = "real_containerd";

/// Tests on real runtimes mostly wait, each on a runtime of its own, so more of them run at once than there are CPUs.
const REAL_THREADS: u32 = 3;

/// How many times longer than on a machine that does nothing else a wait of these tests may take. A wait ends when what it waits
/// for is there, so this costs time only where a test fails.
const REAL_PATIENCE: &str = "2";

/// A level of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Rings, budgets, module headers, documents
    Tidy,
    /// Formatting
    Fmt,
    /// Lints, warnings being errors
    Clippy,
    /// Unit, property and contract tests
    Unit,
    /// The whole agent on fakes
    Sim,
    /// The real runtime, containerd 2.4
    Runtime,
    /// The same on Debian's containerd 1.6
    Compat,
    /// Cgroup version 2, AppArmor, swap and systemd, in a guest machine
    Guest,
}

/// Runs the levels in `only`, or all of them.
pub(crate) fn test(root: &Path, only: &[Level], seeds: u64) -> Result<ExitCode> {
    let levels: Vec<Level> = Level::value_variants()
        .iter()
        .copied()
        .filter(|level| only.is_empty() || only.contains(level))
        .collect();
    let mut total = Tally::default();
    for level in levels {
        println!("\n=== {level:?}");
        let clock = Stopwatch::start();
        let tally = run_level(root, level, seeds).unwrap_or_else(|error| {
            println!("error: {error:#}");
            Tally::one(false)
        });
        let Tally { passed, failed, skipped } = tally;
        println!("=== {level:?}: {passed} ok, {failed} bad, {skipped} left out, in {:.1?}", clock.elapsed());
        total.add(tally);
    }
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_level(root: &Path, level: Level, seeds: u64) -> Result<Tally> {
    match level {
        Level::Tidy => tidy::tidy(root, tidy::Exceptions::Keep).map(Tally::one),
        Level::Fmt => passes(root, &["fmt", "--all", "--check"]).map(Tally::one),
        Level::Clippy => {
            passes(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).map(Tally::one)
        }
        Level::Unit => unit(root),
        Level::Sim => sim(root, seeds, None).map(Tally::one),
        Level::Runtime => real(root, ContainerdVersion::V2_4),
        Level::Compat => real(root, ContainerdVersion::V1_6),
        Level::Guest => guest(root),
    }
}

fn unit(root: &Path) -> Result<Tally> {
    let mut args = words("--workspace --no-fail-fast --lib --bins");
    args.extend(test_targets(root, |package, target| {
        !REAL_RUNTIME.contains(&package) && target != RUN_BY_TESTS
    })?);
    let mut tally = count_tests(root, &args, &[])?;
    tally.add(count_tests(root, &words("--workspace --no-fail-fast --doc"), &[])?);
    Ok(tally)
}

fn real(root: &Path, version: ContainerdVersion) -> Result<Tally> {
    Parts::ready()?;
    if version == ContainerdVersion::V2_4 {
        ControlPlaneParts::ready()?;
        upstream_kubelet()?;
    }
    must(root, &["build", "--workspace", "--bins"])?;
    let notes = skip_notes()?;
    let notes_path = notes.display().to_string();
    let env = [
        ("PODWRIGHT_LAB_CONTAINERD", version.name()),
        ("PODWRIGHT_SKIPS", notes_path.as_str()),
        ("PODWRIGHT_PATIENCE", REAL_PATIENCE),
    ];
    let run = |targets: Vec<String>, modules: &[&str]| {
        let mut args = words("--workspace --no-fail-fast");
        args.extend(targets);
        args.extend(words(&format!("-- --test-threads={REAL_THREADS}")));
        args.extend(modules.iter().map(|module| format!("{module}::")));
        count_tests(root, &args, &env)
    };
    let is_old = version == ContainerdVersion::V1_6;
    let mut tally = run(
        test_targets(root, |package, target| {
            let is_left_out = target == IN_GUEST || (is_old && (target == FULL || ONCE.contains(&target)));
            REAL_RUNTIME.contains(&package) && !is_left_out
        })?,
        &[],
    )?;
    if is_old {
        tally.add(run(words(&format!("--test {FULL}")), &FULL_ON_OLD_RUNTIME)?);
    }
    tally.note_skipped(&lab::skipped(&notes));
    Ok(tally)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A fresh file below the target folder into which tests write why they could not run.
fn skip_notes() -> Result<PathBuf> {
    let file = target_dir()?.join("skipped-tests.txt");
    std::fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// `--test NAME` for every integration test target that `wanted` picks by package and target.
fn test_targets(root: &Path, wanted: impl Fn(&str, &str) -> bool) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec().context("cargo metadata")?;
    let mut args = Vec::new();
    for package in &metadata.packages {
        let tests = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Test));
        for target in tests.filter(|target| wanted(&package.name, &target.name)) {
            args.extend(["--test".to_owned(), target.name.clone()]);
        }
    }
    Ok(args)
}
