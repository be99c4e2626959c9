//! `cargo xtask cluster`: a cluster of one node with our kubelet, for trying things with kubectl.
//!
//! Guarantees: nothing that is already on the machine is used or disturbed, `~/.kube` neither; everything made is removed when the
//! command ends, with Ctrl-C too (and by the next run or `cargo xtask clean` after a SIGKILL).

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use lab::{Cluster, ControlPlaneParts, Parts, cluster::NODE, wait};

use crate::{cargo, interrupt};

/// How long the node may take to be Ready; it is a few seconds unless something is wrong.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long the agent may take to leave.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How much of the agent's log is shown when it did not work.
const LOG_LINES: usize = 40;

/// Runs the cluster until Ctrl-C.
pub(crate) fn cluster(root: &Path) -> Result<()> {
    interrupt::by_signals()?;
    let (parts, plane_parts) = (Parts::ready()?, ControlPlaneParts::ready()?);
    println!("building the programs");
    cargo::must(root, &["build", "--quiet", "--package", "kubelet", "--package", "podwright"])?;
    let clock = wait::Stopwatch::start();
    println!("starting the control plane and a private containerd");
    let mut cluster = Cluster::new(&parts, &plane_parts)?;
    let ready = cluster.agent.start().and_then(|()| cluster.wait_node("Ready=True", READY_LIMIT));
    let left_by_choice = wait::interrupted();
    match &ready {
        Ok(()) => {
            println!("{:6.2} s  node {NODE} is Ready", clock.elapsed().as_secs_f32());
            println!("{}", cluster.plane().kubectl(&["get", "nodes", "-o=wide"])?);
            how_to_go_on(&cluster);
            wait::until_interrupted();
        }
        Err(_) if left_by_choice => {}
        Err(error) => {
            println!("it did not work: {error:#}");
            println!("\nthe end of the agent's log:\n{}", cluster.agent.log_tail(LOG_LINES));
        }
    }
    println!("cleaning up");
    if cluster.agent.is_running() {
        cluster.agent.stop(STOP_LIMIT)?;
    }
    cluster.close()?;
    if ready.is_err() && !left_by_choice {
        bail!("the node was not seen to be Ready");
    }
    Ok(())
}

fn how_to_go_on(cluster: &Cluster) {
    let plane = cluster.plane();
    println!(
        "Now it is yours, until Ctrl-C. In another terminal:
  export KUBECONFIG={}
  alias kubectl={}
  kubectl describe node {NODE}
  kubectl get lease -n kube-node-lease {NODE} -o yaml
The logs of the control plane are in {}
The agent's log is {}",
        plane.admin_kubeconfig().display(),
        plane.kubectl_program().display(),
        plane.dir().display(),
        cluster.agent.log_file().display(),
    );
}
