//! `cargo xtask run`: from nothing to a pod that serves a page, on a private container runtime.
//!
//! Guarantees: a containerd that is already on the machine is neither used nor disturbed; everything made is removed when the
//! command ends, with Ctrl-C too (and by the next run or `cargo xtask clean` after a SIGKILL).

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use lab::{
    Agent, ContainerdVersion, Instance, Parts,
    agent::own_program,
    http, images,
    wait::{self, Stopwatch},
};
use serde_json::Value;

use crate::{cargo, interrupt};

/// How long the pod may take; it is far less unless something is wrong.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long the page may take to be served once the pod is Ready.
const PAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long the agent may take to leave.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How much of the agent's log is shown when it did not work.
const LOG_LINES: usize = 40;

const MANIFEST: &str = "web.yaml";
const POD: &str = "web";

/// What to do once the pod was seen to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Leave.
    CleanUp,
    /// Go on until Ctrl-C.
    StayUntilInterrupted,
}

/// Runs the agent on `examples/web.yaml`.
pub(crate) fn run(root: &Path, after: After) -> Result<()> {
    interrupt::by_signals()?;
    let parts = Parts::ready()?;
    println!("building the programs");
    cargo::must(root, &["build", "--quiet", "--package", "kubelet", "--package", "podwright"])?;

    let clock = Stopwatch::start();
    let instance = Instance::new(&parts, ContainerdVersion::V2_4)?;
    step(
        clock,
        &format!("a private containerd runs, everything of it is below {}", instance.dir().display()),
    );
    let mut agent = instance.agent()?;
    let seen = show(root, &mut agent, clock);
    if let Err(error) = &seen {
        if !wait::interrupted() {
            println!("it did not work: {error:#}");
            println!("\nthe end of the agent's log:\n{}", agent.log_tail(LOG_LINES));
        }
    } else if after == After::StayUntilInterrupted {
        how_to_go_on(root, &agent)?;
        wait::until_interrupted();
    }
    println!("cleaning up");
    if agent.is_running() {
        agent.stop(STOP_LIMIT)?;
    }
    drop(agent);
    instance.close()?;
    let left_by_choice = wait::interrupted() && after == After::StayUntilInterrupted;
    if seen.is_err() && !left_by_choice {
        bail!("the example pod was not seen to serve its page");
    }
    Ok(())
}

fn show(root: &Path, agent: &mut Agent, clock: Stopwatch) -> Result<()> {
    let manifest = root.join("examples").join(MANIFEST);
    let text = std::fs::read_to_string(&manifest).with_context(|| format!("{}", manifest.display()))?;
    agent.put_manifest(MANIFEST, &text)?;
    let since_start = Stopwatch::start();
    agent.spawn()?;
    step(
        clock,
        &format!("the agent starts with {} in {}", manifest.display(), agent.manifest_dir().display()),
    );
    let pod = agent.wait_ready(POD, READY_LIMIT)?;
    step(clock, &format!("pod {POD} is Ready, {:.2?} after the agent started", since_start.elapsed()));
    let ip = pod["status"]["podIP"].as_str().context("the pod is Ready and has no IP")?;
    let mut addresses = vec![format!("{ip}:8080")];
    addresses.extend(host_port(&pod).map(|port| format!("127.0.0.1:{port}")));
    for address in addresses {
        fetch(&address)?;
        step(clock, &format!("http://{address}/ says: {}", images::PAGE.trim()));
    }
    Ok(())
}

fn fetch(address: &str) -> Result<()> {
    let page = wait::until(&format!("the page at {address}"), PAGE_LIMIT, || {
        Ok(match http::get(address, "/") {
            Ok(reply) if reply.status == 200 => wait::Look::Done(reply.body),
            Ok(reply) => wait::Look::Waiting(format!("status {}", reply.status)),
            Err(error) => wait::Look::Waiting(format!("{error:#}")),
        })
    })?;
    if page != images::PAGE {
        bail!("{address} serves another page: {page}");
    }
    Ok(())
}

fn host_port(pod: &Value) -> Option<u64> {
    pod["spec"]["containers"][0]["ports"][0]["hostPort"].as_u64()
}

fn step(clock: Stopwatch, what: &str) {
    println!("{:6.2} s  {what}", clock.elapsed().as_secs_f32());
}

fn how_to_go_on(root: &Path, agent: &Agent) -> Result<()> {
    let program = own_program("podwright")?;
    println!(
        "
Now it is yours, until Ctrl-C. In another terminal:
  alias pw='{} --socket {}'
  pw ps                what runs
  pw why {POD}           why it is as it is
  pw logs {POD}          what it printed
  pw run {}   one more pod
Put manifests into {} and take them out, and pods come and go.
Monitoring reads http://127.0.0.1:{}/pods and /metrics.
The agent's log is {}",
        program.display(),
        agent.local_socket().display(),
        root.join("examples/two.yaml").display(),
        agent.manifest_dir().display(),
        agent.ports().read_only,
        agent.log_file().display(),
    );
    Ok(())
}
