//! Tests that cannot run on this machine: they say so and are counted, they never pass silently.
//!
//! cargo's test runner knows no "skipped at run time", so a test notes it in the file that `PODWRIGHT_SKIPS` names, and
//! `cargo xtask test` moves it from passed to skipped.

use std::{fs::OpenOptions, io::Write as _, path::Path};

const FILE: &str = "PODWRIGHT_SKIPS";

/// Notes that the running test is skipped and why; the test then returns.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("unnamed test"));
    eprint!("skipped {line}");
    let Some(path) = std::env::var_os(FILE) else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        eprintln!("cannot note the skipped test: {error}");
    }
}

/// The lines that tests noted in `file`, one a skipped test.
#[must_use]
pub fn skipped(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
