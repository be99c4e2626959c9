//! The floor: the runtime calls that start a pod, without any kubelet.

mod request;

use anyhow::{Context as _, Result, bail};
use core_metrics::Registry;
use core_types::runtime::{ImageSpec, RuntimeEvent, RuntimeEventKind};
use core_types::{ContainerId, SandboxId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use io_cri::{CriClient, CriOptions};
use ports::runtime::RuntimeResult;
use ports::{ContainerRuntime as _, ImageService as _};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use self::request::Place;
use crate::clock::now;
use crate::measure::{REST, SETTLE, idle, life};
use crate::report::{Figure, median};
use crate::session::{LIMIT, Rig};
use crate::usage;

/// Pods that are started one after another.
const SEQUENCE: usize = 10;
/// How many pods are started at once, to find the best.
const AT_ONCE: [usize; 4] = [2, 4, 8, 16];

/// How the figures of starts are taken.
const CALLS: &str = "RunPodSandbox, PodSandboxStatus, ImageStatus, CreateContainer, StartContainer and ContainerStatus, with what \
    the kubelet asks for and a taker of the runtime's events";

/// Starts pods by bare calls.
pub(crate) fn measure(rig: &Rig, pods: usize) -> Result<Vec<Figure>> {
    let instance = rig.cluster.instance();
    let options = CriOptions::new(instance.containerd().endpoint());
    let place = Place::new(format!("{}/floor", instance.cgroups().path()), instance.dir().join("floor"));
    rig.wait(async {
        let floor = Floor { cri: CriClient::connect(&options, &Registry::new())?, place };
        let mut events = floor.events().await?;
        let mut alone = Vec::new();
        for number in 0..SEQUENCE {
            let began_at = now();
            let (sandbox, _) = floor.start(number, &idle()).await?;
            alone.push(began_at.elapsed().as_secs_f64());
            floor.remove(&sandbox).await?;
        }
        let mut figures = vec![Figure::new("one pod, created to Ready", "s", median(&alone), CALLS)];
        figures.push(floor.exit_to_event(&mut events).await?);
        let mut best = f64::INFINITY;
        for at_once in AT_ONCE {
            let began_at = now();
            let started = floor.start_all(pods, at_once).await?;
            let took = began_at.elapsed().as_secs_f64();
            best = best.min(took);
            figures.push(Figure::new(format!("{pods} pods, {at_once} at a time, all"), "s", took, CALLS));
            floor.remove_all(&started, at_once).await?;
        }
        figures.push(Figure::new(format!("{pods} pods at once, created to Ready, all"), "s", best, CALLS));
        let started = floor.start_all(pods, AT_ONCE[1]).await?;
        figures.push(at_rest(rig, pods).await?);
        floor.remove_all(&started, AT_ONCE[1]).await?;
        Ok(figures)
    })
}

/// The runtime's events as they come.
type Events = UnboundedReceiver<RuntimeResult<RuntimeEvent>>;

/// Who makes the calls.
struct Floor {
    cri: CriClient,
    place: Place,
}

impl Floor {
    /// The runtime's events. They are taken as they come: containerd starts no pod while somebody does not take its events.
    async fn events(&self) -> Result<Events> {
        let mut stream = self.cri.events().await?;
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

    /// From the end of a container's process to the runtime's event of it: no kubelet can know earlier.
    async fn exit_to_event(&self, events: &mut Events) -> Result<Figure> {
        let mut spec = idle();
        spec["containers"][0]["command"] = json!(["/bin/sleep", life::TO_END]);
        let mut took = Vec::new();
        for number in 0..SEQUENCE {
            let (sandbox, container) = self.start(number, &spec).await?;
            let is_of_it = |event: &RuntimeEvent, kind| event.container_id == container && event.kind == kind;
            until(events, |event| is_of_it(event, RuntimeEventKind::Started)).await?;
            let ended_at = life::end_it()?;
            until(events, |event| is_of_it(event, RuntimeEventKind::Stopped)).await?;
            took.push(ended_at.elapsed().as_secs_f64() * 1000.0);
            self.remove(&sandbox).await?;
        }
        let how = "median of 10, from SIGKILL to the event of GetContainerEvents";
        Ok(Figure::new("container exit to status", "ms", median(&took), how))
    }

    async fn start_all(&self, pods: usize, at_once: usize) -> Result<Vec<SandboxId>> {
        let spec = idle();
        let starts = stream::iter(0..pods).map(async |number| Ok(self.start(number, &spec).await?.0));
        starts.buffer_unordered(at_once).try_collect().await
    }

    async fn remove_all(&self, sandboxes: &[SandboxId], at_once: usize) -> RuntimeResult<()> {
        let removals = stream::iter(sandboxes).map(Ok);
        removals.try_for_each_concurrent(at_once, |sandbox| self.remove(sandbox)).await
    }

    /// Starts a pod of one container, and sees that it runs.
    async fn start(&self, number: usize, spec: &Value) -> Result<(SandboxId, ContainerId)> {
        let (sandbox_config, config) = self.place.pod(&format!("floor-{number}"), spec)?;
        let sandbox = self.cri.run_sandbox(&sandbox_config, "").await?;
        self.cri.sandbox_status(&sandbox).await?;
        let image = ImageSpec { image: lab::images::BUSYBOX.to_owned(), ..ImageSpec::default() };
        self.cri.image_status(&image).await?;
        let container = self.cri.create_container(&sandbox, &config, &sandbox_config).await?;
        self.cri.start_container(&container).await?;
        self.cri.container_status(&container).await?;
        Ok((sandbox, container))
    }

    async fn remove(&self, sandbox: &SandboxId) -> RuntimeResult<()> {
        self.cri.stop_sandbox(sandbox).await?;
        self.cri.remove_sandbox(sandbox).await
    }
}

async fn until(events: &mut Events, is_it: impl Fn(&RuntimeEvent) -> bool) -> Result<()> {
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
