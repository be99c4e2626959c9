//! The tests that need cgroup version 2, AppArmor, swap or systemd, in guest machines: the programs of tests that cargo built here run
//! there, and their lines come back and are counted as if they had run here.

use std::{env::consts::ARCH, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use lab::{
    Guest, GuestParts, Parts,
    guest::{Accelerator, CgroupVersion, Job, NOTES, Seen},
};

use crate::cargo::{Counter, Tally, TestProgram, build_tests, must, target_dir};

/// What qemu and the kernel are there for.
const GUEST_ARCH: &str = "x86_64";

/// A library or test target, and what the names of its tests hold; all without a word.
type Suite = (&'static str, &'static [&'static str]);

/// What runs in which machine, one after the other.
const MACHINES: [(CgroupVersion, &[Suite]); 2] = [
    (CgroupVersion::V2, &[("io_host", &["cgroup"]), ("guest", &[])]),
    (CgroupVersion::V1, &[("guest", &["systemd::"])]),
];

/// How long the guest may take; without acceleration on a slow and busy machine it takes ten minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// How many times longer than here things may take there.
fn patience(accelerator: Accelerator) -> u32 {
    match accelerator {
        Accelerator::Kvm => 1,
        Accelerator::Tcg => 8,
    }
}

/// Runs the suites in a guest.
pub(crate) fn guest(root: &Path) -> Result<Tally> {
    if ARCH != GUEST_ARCH {
        println!(
            "skipped the tests in a guest machine: there are parts of one for {GUEST_ARCH} only, this is {ARCH}"
        );
        return Ok(Tally { skipped: 1, ..Tally::default() });
    }
    let parts = GuestParts::ready(&Parts::ready()?)?;
    must(root, &["build", "--workspace", "--bins"])?;
    let built = build_tests(root, &["--workspace", "--lib", "--test", "guest"])?;
    let programs = target_dir()?.join("debug");
    let accelerator = Accelerator::of_machine();
    let mut counter = Counter::default();
    for (cgroup_version, suites) in MACHINES {
        let jobs = suites.iter().map(|(target, tests)| job(&built, target, tests, &programs, accelerator));
        let jobs: Vec<Job> = jobs.collect::<Result<_>>()?;
        println!(
            "running {} programs of tests in a guest machine ({accelerator:?}, cgroup {cgroup_version:?})",
            jobs.len()
        );
        let machine = Guest::new(&parts, accelerator, cgroup_version, &[&programs]);
        let mut suites = suites.iter();
        let notes = machine.run(&jobs, LIMIT, |seen| match seen {
            Seen::Line(line) => counter.line(line),
            Seen::Ended(code) => {
                let suite = suites.next().map_or("a suite", |(target, _)| target);
                counter.ended(&format!("{suite} in the guest (exit code {code})"), code == 0);
            }
        })?;
        counter.total.note_skipped(&notes);
    }
    Ok(counter.total)
}

fn job(
    built: &[TestProgram],
    target: &str,
    tests: &[&str],
    programs: &Path,
    accelerator: Accelerator,
) -> Result<Job> {
    let found = built.iter().find(|program| program.target == target);
    let found = found.with_context(|| format!("cargo built no tests of {target}"))?;
    let env = [
        ("PODWRIGHT_CACHE", lab::parts::cache_dir()?.display().to_string()),
        ("PODWRIGHT_BIN_DIR", programs.display().to_string()),
        ("PODWRIGHT_PATIENCE", patience(accelerator).to_string()),
        ("PODWRIGHT_SKIPS", NOTES.to_owned()),
    ];
    Ok(Job {
        program: found.file.clone(),
        // A terminal is what the guest writes to.
        args: tests.iter().copied().chain(["--color=never"]).map(str::to_owned).collect(),
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}
