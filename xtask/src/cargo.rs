//! Calling cargo: streaming its output and counting what its test runner reports.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

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

    /// Shows the notes of tests that the runner counted as passed, and counts them as skipped.
    pub(crate) fn note_skipped(&mut self, notes: &[String]) {
        for note in notes {
            println!("skipped {note}");
        }
        let count = (notes.len() as u64).min(self.passed);
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

/// Adds up what test runners print.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// All runs so far.
    pub(crate) total: Tally,
    failed_before_run: u64,
}

impl Counter {
    /// Takes the next line of a run's output, and shows it.
    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        if let Some(result) = parse_result(line) {
            self.total.add(result);
        }
    }

    /// A run has ended; one that failed without telling of a failed test counts as one failure.
    pub(crate) fn ended(&mut self, run: &str, succeeded: bool) {
        if !succeeded && self.total.failed == self.failed_before_run {
            println!("{run} failed without reporting a failed test: counted as one failure");
            self.total.failed += 1;
        }
        self.failed_before_run = self.total.failed;
    }
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
    let mut counter = Counter::default();
    for line in BufReader::new(child.stdout.take().context("cargo's standard output")?).lines() {
        counter.line(&line?);
    }
    let status = child.wait()?;
    counter.ended(&format!("cargo test ({status})"), status.success());
    Ok(counter.total)
}

/// A program of tests that cargo built.
#[derive(Debug)]
pub(crate) struct TestProgram {
    /// Name of the library or test target that the tests belong to.
    pub(crate) target: String,
    /// The executable.
    pub(crate) file: PathBuf,
}

/// Builds the tests that `args` of `cargo test` select and tells where they are.
pub(crate) fn build_tests(root: &Path, args: &[&str]) -> Result<Vec<TestProgram>> {
    println!("+ cargo test --no-run {}", args.join(" "));
    let mut child = Command::new(program())
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(args)
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let messages =
        Message::parse_stream(BufReader::new(child.stdout.take().context("cargo's standard output")?));
    let mut built = Vec::new();
    for message in messages {
        if let Message::CompilerArtifact(artifact) = message.context("what cargo tells")?
            && let Some(file) = artifact.executable.filter(|_| artifact.profile.test)
        {
            built.push(TestProgram { target: artifact.target.name, file: file.into() });
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the tests cannot be built: cargo ended with {status}");
    }
    Ok(built)
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
    fn a_run_that_breaks_before_its_tests_is_one_failure() {
        let mut counter = Counter::default();
        counter.line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured");
        counter.ended("a", false);
        counter.ended("b", false);
        counter.ended("c", true);
        assert_eq!(counter.total, Tally { passed: 1, failed: 3, skipped: 0 });
    }

    #[test]
    fn skipped_tests_are_not_passed_ones() {
        let mut tally = Tally { passed: 3, failed: 0, skipped: 1 };
        tally.note_skipped(&["a: why".to_owned(), "b: why".to_owned()]);
        assert_eq!(tally, Tally { passed: 1, failed: 0, skipped: 3 });
    }
}
