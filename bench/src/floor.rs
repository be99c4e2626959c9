//! The floor: the runtime calls that start a pod, without any kubelet.

use anyhow::{Context as _, Result, bail};
use core_metrics::Registry;
use core_types::runtime::{
    ContainerConfig, ImageSpec, RuntimeEvent, RuntimeEventKind, SandboxConfig, SandboxLinux, SeccompProfile,
    SecurityContext,
};
use core_types::{ContainerId, SandboxId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use io_cri::{CriClient, CriOptions};
use ports::ContainerRuntime as _;
use ports::runtime::RuntimeResult;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use crate::clock::now;
use crate::measure::{REST, SETTLE, life};
use crate::report::{Figure, median};
use crate::session::{LIMIT, Rig};
use crate::usage;

/// Pods that are started one after another.
const SEQUENCE: usize = 10;
/// What does nothing and ends at once when it is asked to.
const IDLE: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
/// How many pods are started at once, to find the best.
const AT_ONCE: [usize; 4] = [2, 4, 8, 16];

/// Starts pods by bare calls.
pub(crate) fn measure(rig: &Rig, pods: usize) -> Result<Vec<Figure>> {
    let options = CriOptions::new(rig.cluster.instance().containerd().endpoint());
    rig.wait(async {
        let cri = CriClient::connect(&options, &Registry::new())?;
        let parent = format!("{}/bench", rig.cluster.instance().cgroups().path());
        let mut alone = Vec::new();
        for number in 0..SEQUENCE {
            let began_at = now();
            let (sandbox, _) = start(&cri, &parent, number, &IDLE).await?;
            alone.push(began_at.elapsed().as_secs_f64());
            remove(&cri, &sandbox).await?;
        }
        let calls = "RunPodSandbox with the seccomp filter that every kubelet asks for, CreateContainer, StartContainer";
        let mut figures = vec![Figure::new("one pod, created to Ready", "s", median(&alone), calls)];
        figures.push(exit_to_event(&cri, &parent).await?);
        let mut best = f64::INFINITY;
        for at_once in AT_ONCE {
            let began_at = now();
            let started = start_all(&cri, &parent, pods, at_once).await?;
            let took = began_at.elapsed().as_secs_f64();
            best = best.min(took);
            figures.push(Figure::new(format!("{pods} pods, {at_once} at a time, all"), "s", took, calls));
            remove_all(&cri, &started, at_once).await?;
        }
        figures.push(Figure::new(format!("{pods} pods at once, created to Ready, all"), "s", best, calls));
        let started = start_all(&cri, &parent, pods, AT_ONCE[1]).await?;
        figures.push(at_rest(rig, pods).await?);
        remove_all(&cri, &started, AT_ONCE[1]).await?;
        Ok(figures)
    })
}

/// From the end of a container's process to the runtime's event of it: no kubelet can know earlier.
async fn exit_to_event(cri: &CriClient, parent: &str) -> Result<Figure> {
    let mut took = Vec::new();
    let mut events = all_events(cri).await?;
    for number in 0..SEQUENCE {
        let (sandbox, container) = start(cri, parent, number, &["/bin/sleep", life::TO_END]).await?;
        let is_of_it = |event: &RuntimeEvent, kind| event.container_id == container && event.kind == kind;
        until(&mut events, |event| is_of_it(event, RuntimeEventKind::Started)).await?;
        let ended_at = life::end_it()?;
        until(&mut events, |event| is_of_it(event, RuntimeEventKind::Stopped)).await?;
        took.push(ended_at.elapsed().as_secs_f64() * 1000.0);
        remove(cri, &sandbox).await?;
    }
    let how = "median of 10, from SIGKILL to the event of GetContainerEvents";
    Ok(Figure::new("container exit to status", "ms", median(&took), how))
}

/// The runtime's events. They are taken as they come: containerd starts no pod while somebody does not take its events.
async fn all_events(cri: &CriClient) -> Result<UnboundedReceiver<RuntimeResult<RuntimeEvent>>> {
    let mut stream = cri.events().await?;
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = stream.next().await {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(events)
}

async fn until(
    events: &mut UnboundedReceiver<RuntimeResult<RuntimeEvent>>,
    is_it: impl Fn(&RuntimeEvent) -> bool,
) -> Result<()> {
    let found = async {
        while let Some(event) = events.recv().await {
            if is_it(&event?) {
                return Ok(());
            }
        }
        bail!("the runtime's event stream ended")
    };
    timeout(LIMIT, found).await.context("the runtime does not tell of a container")?
}

/// What containerd spends on pods that nobody asks for.
async fn at_rest(rig: &Rig, pods: usize) -> Result<Figure> {
    let containerd = rig.cluster.instance().containerd().pid().context("containerd does not run")?;
    tokio::time::sleep(SETTLE).await;
    let before = usage::cpu(containerd)?;
    tokio::time::sleep(REST).await;
    let load = (usage::cpu(containerd)? - before).as_secs_f64() / REST.as_secs_f64() * 1000.0;
    let stat = "utime + stime of /proc/<pid>/stat over 30 s, 10 s after the last work";
    Ok(Figure::new(format!("CPU of containerd, {pods} quiet pods"), "m", load, stat))
}

async fn start_all(
    cri: &CriClient,
    parent: &str,
    pods: usize,
    at_once: usize,
) -> RuntimeResult<Vec<SandboxId>> {
    let starts = stream::iter(0..pods).map(async |number| Ok(start(cri, parent, number, &IDLE).await?.0));
    starts.buffer_unordered(at_once).try_collect().await
}

async fn remove_all(cri: &CriClient, sandboxes: &[SandboxId], at_once: usize) -> RuntimeResult<()> {
    let removals = stream::iter(sandboxes).map(Ok);
    removals.try_for_each_concurrent(at_once, |sandbox| remove(cri, sandbox)).await
}

async fn start(
    cri: &CriClient,
    cgroup_parent: &str,
    number: usize,
    command: &[&str],
) -> RuntimeResult<(SandboxId, ContainerId)> {
    let name = format!("floor-{number}");
    // What any kubelet asks for its sandboxes.
    let security =
        SecurityContext { seccomp: Some(SeccompProfile::RuntimeDefault), ..SecurityContext::default() };
    let linux = SandboxLinux { cgroup_parent: cgroup_parent.to_owned(), security, ..SandboxLinux::default() };
    let sandbox_config = SandboxConfig {
        uid: Some(name.as_str().into()),
        hostname: name.clone(),
        namespace: "floor".to_owned(),
        log_directory: format!("/var/log/pods/{name}"),
        linux,
        name,
        ..SandboxConfig::default()
    };
    let config = ContainerConfig {
        name: "main".to_owned(),
        image: ImageSpec { image: lab::images::BUSYBOX.to_owned(), ..ImageSpec::default() },
        command: command.iter().map(|&arg| arg.to_owned()).collect(),
        log_path: "main.log".to_owned(),
        ..ContainerConfig::default()
    };
    let sandbox = cri.run_sandbox(&sandbox_config, "").await?;
    let container = cri.create_container(&sandbox, &config, &sandbox_config).await?;
    cri.start_container(&container).await?;
    Ok((sandbox, container))
}

async fn remove(cri: &CriClient, sandbox: &SandboxId) -> RuntimeResult<()> {
    cri.stop_sandbox(sandbox).await?;
    cri.remove_sandbox(sandbox).await
}
