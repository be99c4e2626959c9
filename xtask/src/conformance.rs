//! `cargo xtask conformance`: upstream's own conformance tests of a node, on a private cluster with our kubelet.
//!
//! They are Kubernetes' end-to-end tests with the mark `NodeConformance`, unchanged. What this machine lacks is left out by name.
//! Guarantees: as `cargo xtask cluster`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use lab::{Cluster, ConformanceParts, ControlPlaneParts, Parts, command, images};

use crate::{
    cargo,
    cluster::{READY_LIMIT, STOP_LIMIT},
    interrupt,
};

/// Which tests, and how many at once.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of tests to run, as a regular expression
    #[arg(long, default_value = r"\[NodeConformance\]")]
    focus: String,
    /// Names of tests to leave out, as a regular expression
    #[arg(long, default_value = r"\[Serial\]|\[Slow\]|\[Disruptive\]|\[Flaky\]")]
    skip: String,
    /// How many tests run at once
    #[arg(long, default_value_t = 8)]
    procs: u32,
}

/// Runs the tests; it is an error when one fails.
pub(crate) fn conformance(root: &Path, options: &Options) -> Result<()> {
    interrupt::by_signals()?;
    let (parts, plane_parts) = (Parts::ready()?, ControlPlaneParts::ready()?);
    let conformance = ConformanceParts::ready()?;
    println!("building the programs");
    cargo::must(root, &["build", "--quiet", "--package", "kubelet", "--package", "podwright"])?;
    let mut cluster = Cluster::new(&parts, &plane_parts)?;
    // The tests know no other port.
    cluster.agent.flags.push("--port=10250".to_owned());
    let passed = run(&mut cluster, &parts, &conformance, options);
    if cluster.agent.is_running() {
        cluster.agent.stop(STOP_LIMIT)?;
    }
    cluster.close()?;
    passed
}

fn run(
    cluster: &mut Cluster,
    parts: &Parts,
    conformance: &ConformanceParts,
    options: &Options,
) -> Result<()> {
    // It leaves with the cluster.
    let work = cluster.plane().dir().join("conformance");
    for archive in images::conformance::build_all(parts, conformance, &work)? {
        cluster.instance().containerd().import(&archive)?;
    }
    let registries = work.join("registries.yaml");
    fs::write(&registries, images::conformance::REGISTRIES)?;
    cluster.agent.start().and_then(|()| cluster.wait_node("Ready=True", READY_LIMIT))?;
    let mut skip = options.skip.clone();
    if !has_dummy_links() {
        println!("left out: PrivilegedPod, which makes a link of the type dummy, and the kernel has none");
        skip += "|PrivilegedPod";
    }
    let kubeconfig = cluster.plane().admin_kubeconfig().display().to_string();
    let mut ginkgo = Command::new(conformance.ginkgo());
    ginkgo
        .args(["--no-color", "--keep-going", "--timeout=3h"])
        .arg(format!("--procs={}", options.procs))
        .arg(format!("--focus={}", options.focus))
        .arg(format!("--skip={skip}"))
        .arg(conformance.tests())
        .args(["--", "--provider=local", "--disable-log-dump=true", "--dump-logs-on-failure=false"])
        .args(["--node-os-distro=custom", "--master-os-distro=custom", "--minStartupPods=0"])
        .arg(format!("--kubeconfig={kubeconfig}"))
        .current_dir(&work)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBE_TEST_REPO_LIST", registries);
    command::show(&mut ginkgo).context("conformance tests failed, or were interrupted")
}

/// Whether the kernel has the kind of link that a test makes.
fn has_dummy_links() -> bool {
    let words = ["--net", "ip", "link", "add", "trial", "type", "dummy"];
    command::output(Command::new("unshare").args(words)).is_ok()
}
