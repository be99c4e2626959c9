//! Calling cargo: streaming its output and counting what its test runner reports.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// How many checks passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts `count` tests as skipped that the runner counted as passed.
    pub(crate) fn move_to_skipped(&mut self, count: u64) {
        let count = count.min(self.passed);
        self.passed -= count;
        self.skipped += count;
    }
}

/// Runs `cargo` with `args`; whether it succeeded.
pub(crate) fn passes(root: &Path, args: &[&str]) -> Result<bool> {
    println!("+ cargo {}", args.join(" "));
    let status =
        Command::new(program()).args(args).current_dir(root).status().context("cannot start cargo")?;
    Ok(status.success())
}

/// Runs `cargo` with `args`; failing is an error.
pub(crate) fn must(root: &Path, args: &[&str]) -> Result<()> {
    if !passes(root, args)? {
        bail!("`cargo {}` failed", args.join(" "));
    }
    Ok(())
}

/// Runs `cargo test` with `args` and `env` and counts the tests; a run that breaks before its tests counts as one failure.
pub(crate) fn count_tests(root: &Path, args: &[String], env: &[(&str, &str)]) -> Result<Tally> {
    println!("+ cargo test {}", args.join(" "));
    let mut child = Command::new(program())
        .arg("test")
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("cargo's standard output")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some(result) = parse_result(&line) {
            tally.add(result);
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        println!("cargo test ended with {status} without reporting a failed test: counted as one failure");
        tally.failed = 1;
    }
    Ok(tally)
}

/// Runs the simulation; whether every seed passed.
pub(crate) fn sim(root: &Path, seeds: u64, seed: Option<u64>) -> Result<bool> {
    let (seeds, seed) = (seeds.to_string(), seed.map(|seed| seed.to_string()));
    let mut args = vec!["run", "--profile", "sim", "--package", "sim", "--", "--seeds", &seeds];
    if let Some(seed) = &seed {
        args.extend(["--seed", seed]);
    }
    passes(root, &args)
}

/// The folder that cargo builds into: this program lies in `<it>/debug`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the running program's own path")?;
    Ok(own.ancestors().nth(2).context("cargo builds a program two folders deep")?.to_owned())
}

/// The cargo that runs us, so that both use one toolchain.
fn program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Reads `test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.skipped = number,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_closing_line_is_counted() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 11.02s";
        assert_eq!(parse_result(line), Some(Tally { passed: 3, failed: 1, skipped: 2 }));
        assert_eq!(parse_result("test a ... ok"), None);
    }

    #[test]
    fn skipped_tests_are_not_passed_ones() {
        let mut tally = Tally { passed: 3, failed: 0, skipped: 1 };
        tally.move_to_skipped(2);
        assert_eq!(tally, Tally { passed: 1, failed: 0, skipped: 3 });
    }
}
