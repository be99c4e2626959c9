//! `cargo xtask bench`: builds the release of the kubelet and of the crate `bench`, which measures it.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::cargo;

/// Builds, and passes the arguments on.
pub(crate) fn bench(root: &Path, args: &[String]) -> Result<()> {
    cargo::must(root, &["build", "--release", "--package", "kubelet", "--package", "bench"])?;
    let built = cargo::target_dir()?.join("release");
    let program = built.join("bench");
    let mut command = Command::new(&program);
    command.arg("--kubelet").arg(built.join("kubelet")).args(args).current_dir(root);
    let status = command.status().with_context(|| format!("{}", program.display()))?;
    ensure!(status.success(), "the bench failed: {status}");
    Ok(())
}
