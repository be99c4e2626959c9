//! The prober: the one task that owns the machines of all probes, asks containers when a machine says so, and tells the
//! sync loop what changed.
//!
//! Reads: the node view. Publishes: [`ProbeNews`]. At rest it holds one deadline and no task per probe; a run is a task of
//! its own while it waits for its answer, and at most [`MAX_RUNS`] wait at once. A run that is due and finds no room
//! begins late, which its machine knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use core_probes::{
    Gate, Instance, Machine, ProbeGates, ProbeKind, ProbeRequest, Run, Schedule, Standing, Verdict, request,
    spread,
};
use core_status::ProbeResult;
use core_types::api::{Container, Pod};
use core_types::runtime::ContainerState;
use core_types::view::{Lifecycle, NodeView, PodView};
use core_types::{ContainerId, ContainerKind, MonoTime, ObservedPod, PodExt, PodUid};
use ports::RuntimeError;
use ports::probes::{MAX_OUTPUT_BYTES, ProbeAnswer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::Happening;
use crate::metrics::{ProbeMetrics, ProbeName};
use crate::outside::Outside;
use crate::settings::Settings;
use crate::timer;

/// Runs that may wait for their answers at once: each holds a connection, and a node has hundreds of them at most.
const MAX_RUNS: usize = 256;
/// Times that one run is tried when it cannot be carried out (CONTRACT 4.4).
const TRIES: usize = 3;
/// Time that the runtime has to end a command that ran out of time, before its run gives up.
const EXEC_GRACE: Duration = Duration::from_secs(10);

/// News of one probe.
#[derive(Debug)]
pub(crate) struct ProbeNews {
    pub(crate) uid: PodUid,
    pub(crate) container: ContainerId,
    pub(crate) kind: ProbeKind,
    /// The container's new result.
    pub(crate) result: Option<ProbeResult>,
    /// What the pod's events say of the run.
    pub(crate) happening: Option<Happening>,
}

/// What is probed of one pod.
struct Probed {
    pod: Arc<Pod>,
    observed: Option<Arc<ObservedPod>>,
    lifecycle: Lifecycle,
    probes: Vec<OneProbe>,
}

impl Probed {
    fn is_of(&self, view: &PodView, observed: Option<&Arc<ObservedPod>>) -> bool {
        let same_picture = match (&self.observed, observed) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        same_picture && Arc::ptr_eq(&self.pod, &view.pod) && self.lifecycle == view.lifecycle
    }

    fn find(&self, container: &str, kind: ProbeKind) -> Option<usize> {
        self.probes.iter().position(|probe| probe.kind == kind && probe.container == container)
    }
}

struct OneProbe {
    container: String,
    kind: ProbeKind,
    machine: Machine,
    /// Its entry in the queue.
    queued: Option<MonoTime>,
}

/// What a question depends on besides its pod.
pub(crate) struct Asking {
    /// Address of pods on the host's network.
    node_ip: String,
    gates: ProbeGates,
}

impl Asking {
    pub(crate) fn new(settings: &Settings) -> Self {
        let node_ip = settings.host.node_ips.first().cloned().unwrap_or_default();
        Self { node_ip, gates: settings.resources.probes }
    }

    fn question(&self, probed: &Probed, container: &str, kind: ProbeKind) -> Result<ProbeRequest, String> {
        let containers = probed.pod.container_refs();
        let spec = containers.iter().find(|other| other.spec.name == container).map(|other| other.spec);
        let ip = match &probed.observed {
            _ if probed.pod.is_host_network() => &*self.node_ip,
            Some(observed) => observed.ips.first().map_or("", String::as_str),
            None => "",
        };
        match spec.and_then(|spec| kind.of(spec).map(|probe| (spec, probe))) {
            Some((spec, probe)) => request(probe, spec, ip, self.gates).map_err(|error| error.to_string()),
            None => Err("the probe is gone".to_owned()),
        }
    }
}

/// A run that has its answer.
struct Finished {
    uid: PodUid,
    container: String,
    kind: ProbeKind,
    run: Run,
    answer: ProbeAnswer,
}

/// The prober's state.
pub(crate) struct Prober {
    outside: Outside,
    asking: Asking,
    began: MonoTime,
    view: watch::Receiver<Arc<NodeView>>,
    /// The view that the machines know.
    seen: Arc<NodeView>,
    news: mpsc::Sender<ProbeNews>,
    pods: BTreeMap<PodUid, Probed>,
    /// Deadlines of all machines: pod and place in its list.
    queue: BTreeSet<(MonoTime, PodUid, usize)>,
    runs: JoinSet<Finished>,
    metrics: ProbeMetrics,
}

impl Prober {
    pub(crate) fn new(
        outside: Outside,
        asking: Asking,
        view: watch::Receiver<Arc<NodeView>>,
        news: mpsc::Sender<ProbeNews>,
        metrics: ProbeMetrics,
    ) -> Self {
        Self {
            began: outside.clock.now(),
            outside,
            asking,
            view,
            seen: Arc::default(),
            news,
            pods: BTreeMap::new(),
            queue: BTreeSet::new(),
            runs: JoinSet::new(),
            metrics,
        }
    }

    /// Runs until it is stopped; runs under way are dropped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let clock = Arc::clone(&self.outside.clock);
        loop {
            self.begin_due();
            let due = self.queue.first().map(|(due, ..)| *due).filter(|_| self.runs.len() < MAX_RUNS);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.runs.join_next(), if !self.runs.is_empty() => match ended {
                    Ok(finished) => self.take_end(finished).await,
                    // Its machine waits for it for ever, but only until the container changes.
                    Err(error) => tracing::error!(%error, "a probe ended in an unforeseen way"),
                },
                changed = self.view.changed() => match changed {
                    Ok(()) => self.take_view(),
                    Err(_) => return,
                },
                () = timer::until(clock.as_ref(), due) => {}
            }
        }
    }

    fn take_view(&mut self) {
        let node = Arc::clone(&self.view.borrow_and_update());
        let mut changed: BTreeSet<PodUid> = node.pods_changed_since(&self.seen).into_iter().collect();
        changed.extend(node.observed_changed_since(&self.seen));
        for uid in &changed {
            let Some(view) = node.pods.get(uid) else {
                self.forget_counts(uid);
                self.forget(uid);
                continue;
            };
            let observed = node.observed.get(uid);
            match self.pods.get_mut(uid) {
                Some(probed) if probed.is_of(view, observed) => continue,
                Some(probed) if asks_the_same(&probed.pod, &view.pod) => {
                    probed.pod = Arc::clone(&view.pod);
                    probed.observed = observed.cloned();
                    probed.lifecycle = view.lifecycle;
                }
                _ => {
                    self.forget(uid);
                    let probed = Probed {
                        pod: Arc::clone(&view.pod),
                        observed: observed.cloned(),
                        lifecycle: view.lifecycle,
                        probes: probes_of(uid, &view.pod, self.began),
                    };
                    self.pods.insert(uid.clone(), probed);
                }
            }
            self.see(uid);
        }
        self.seen = node;
    }

    fn forget(&mut self, uid: &PodUid) {
        let Some(probed) = self.pods.remove(uid) else { return };
        for (index, probe) in probed.probes.iter().enumerate() {
            if let Some(due) = probe.queued {
                self.queue.remove(&(due, uid.clone(), index));
            }
        }
    }

    fn forget_counts(&self, uid: &PodUid) {
        let Some(probed) = self.pods.get(uid) else { return };
        let key = &probed.pod.key();
        for OneProbe { container, kind, .. } in &probed.probes {
            self.metrics.forget(ProbeName { key, uid, container, kind: *kind });
        }
    }

    /// Shows the machines of a pod what runs of it, and queues their deadlines.
    fn see(&mut self, uid: &PodUid) {
        let (now, wall) = (self.outside.clock.now(), self.outside.clock.wall());
        let Some(probed) = self.pods.get_mut(uid) else { return };
        for index in 0..probed.probes.len() {
            let (container, kind) = (probed.probes[index].container.clone(), probed.probes[index].kind);
            // A pod that is being stopped is still asked whether it is ready, but not restarted any more. A startup probe
            // that succeeded is only remembered.
            let is_asked = match probed.lifecycle {
                Lifecycle::Syncing => true,
                Lifecycle::Terminating => match kind {
                    ProbeKind::Readiness => true,
                    ProbeKind::Liveness => false,
                    ProbeKind::Startup => {
                        let result = probed.probes[index].machine.result();
                        result.is_some_and(|(_, result)| result == ProbeResult::Success)
                    }
                },
                Lifecycle::Waiting | Lifecycle::Terminated | Lifecycle::Finished => false,
            };
            let latest = probed.observed.as_ref().and_then(|observed| observed.latest(&container));
            let running = latest.filter(|latest| is_asked && latest.state() == ContainerState::Running);
            let instance = running.map(|running| Instance {
                id: running.id().clone(),
                age: wall.since(running.status.started_at),
            });
            let gate = gate(probed, &container, kind, instance.as_ref());
            let probe = &mut probed.probes[index];
            probe.machine.see(now, instance.as_ref(), gate);
            let due = probe.machine.next_deadline();
            if due == probe.queued {
                continue;
            }
            if let Some(old) = probe.queued.take() {
                self.queue.remove(&(old, uid.clone(), index));
            }
            if let Some(due) = due {
                self.queue.insert((due, uid.clone(), index));
            }
            probe.queued = due;
        }
    }

    fn begin_due(&mut self) {
        let now = self.outside.clock.now();
        while self.runs.len() < MAX_RUNS
            && let Some((_, uid, index)) = self.queue.first().filter(|(due, ..)| *due <= now).cloned()
        {
            self.queue.pop_first();
            let Some(probed) = self.pods.get_mut(&uid) else { continue };
            let probe = &mut probed.probes[index];
            probe.queued = None;
            let Some(run) = probe.machine.begin(now) else { continue };
            let (container, kind) = (probe.container.clone(), probe.kind);
            let question = self.asking.question(probed, &container, kind);
            let outside = self.outside.clone();
            self.runs.spawn(async move {
                let answer = match question {
                    Ok(question) => ask(&outside, &question, &run).await,
                    Err(problem) => ProbeAnswer::Unknown(problem),
                };
                Finished { uid, container, kind, run, answer }
            });
        }
    }

    async fn take_end(&mut self, finished: Finished) {
        let Finished { uid, container, kind, run, answer } = finished;
        let now = self.outside.clock.now();
        let Some(probed) = self.pods.get_mut(&uid) else { return };
        let Some(index) = probed.find(&container, kind) else { return };
        let verdict = verdict(&answer);
        let ending = probed.probes[index].machine.end(now, &run, verdict);
        let name = ProbeName { key: &probed.pod.key(), uid: &uid, container: &container, kind };
        let counted = match ending.standing {
            Standing::Counted => Some(verdict),
            Standing::Starved | Standing::Unknown => Some(Verdict::Unknown),
            Standing::Stale => None,
        };
        if let Some(counted) = counted {
            self.metrics.ended(name, counted, now.since(run.began_at).as_secs_f64());
        }
        let happening = match ending.standing {
            Standing::Stale => None,
            Standing::Starved => {
                tracing::info!(pod_uid = %uid, container, probe = kind.as_str(), "a probe got no answer in time while the node was starved: it does not count");
                None
            }
            Standing::Counted | Standing::Unknown => happening(kind, answer),
        };
        let place = probed.pod.field_path_of(&container);
        self.see(&uid);
        if ending.published.is_some() || happening.is_some() {
            let happening = happening.map(|happening| happening.of(place));
            let news = ProbeNews { uid, container: run.container, kind, result: ending.published, happening };
            // The loop is gone only when the agent stops; nobody reads news then.
            let _ = self.news.send(news).await;
        }
    }
}

/// Whether two states of a pod have the same probes: what they have found out so far holds for both. Each status that is told to an API
/// server comes back as another state.
fn asks_the_same(old: &Arc<Pod>, new: &Arc<Pod>) -> bool {
    let (old_containers, new_containers) = (old.container_refs(), new.container_refs());
    let same = |old: &Container, new: &Container| {
        old.name == new.name && ProbeKind::ALL.iter().all(|kind| kind.of(old) == kind.of(new))
    };
    Arc::ptr_eq(old, new)
        || (old_containers.len() == new_containers.len()
            && old_containers.iter().zip(&new_containers).all(|(old, new)| same(old.spec, new.spec)))
}

/// The machines of a pod. Init containers that must end have no probes.
fn probes_of(uid: &PodUid, pod: &Pod, began: MonoTime) -> Vec<OneProbe> {
    let mut probes = Vec::new();
    let containers = pod.container_refs().into_iter();
    for container in containers.filter(|c| matches!(c.kind, ContainerKind::Regular | ContainerKind::Sidecar))
    {
        // Startup first: the others see its result.
        for kind in ProbeKind::ALL {
            let Some(probe) = kind.of(container.spec) else { continue };
            let schedule = Schedule::of(probe);
            let name = format!("{uid}/{}/{}", container.spec.name, kind.as_str());
            probes.push(OneProbe {
                container: container.spec.name.clone(),
                kind,
                machine: Machine::new(kind, schedule, spread(&name, schedule.period), began),
                queued: None,
            });
        }
    }
    probes
}

/// Readiness and liveness wait until the startup probe of the same container has succeeded.
fn gate(probed: &Probed, container: &str, kind: ProbeKind, instance: Option<&Instance>) -> Gate {
    let Some(startup) = probed.find(container, ProbeKind::Startup).filter(|_| kind != ProbeKind::Startup)
    else {
        return Gate::Open;
    };
    let result = probed.probes[startup].machine.result();
    match result.zip(instance) {
        Some(((id, ProbeResult::Success), instance)) if *id == instance.id => Gate::Open,
        _ => Gate::Shut,
    }
}

async fn ask(outside: &Outside, question: &ProbeRequest, run: &Run) -> ProbeAnswer {
    let mut answer = ProbeAnswer::Unknown(String::new());
    for _ in 0..TRIES {
        answer = match question {
            ProbeRequest::Exec { command } => exec(outside, command, run).await,
            _ => outside.probes.ask(question, run.timeout).await,
        };
        if !matches!(answer, ProbeAnswer::Unknown(_)) {
            break;
        }
    }
    answer
}

async fn exec(outside: &Outside, command: &[String], run: &Run) -> ProbeAnswer {
    let call = outside.runtime.exec_sync(&run.container, command, run.timeout);
    let timed_out = || {
        let (command, timeout) = (command.join(" "), run.timeout);
        ProbeAnswer::TimedOut(format!("command timed out: {command:?} timed out after {timeout:?}"))
    };
    match tokio::time::timeout(run.timeout + EXEC_GRACE, call).await {
        Err(_elapsed) => timed_out(),
        Ok(Err(RuntimeError::Timeout { .. })) => timed_out(),
        Ok(Err(error)) => ProbeAnswer::Unknown(error.to_string()),
        Ok(Ok(output)) => {
            let mut said = output.stdout;
            said.extend_from_slice(&output.stderr);
            said.truncate(MAX_OUTPUT_BYTES);
            let said = String::from_utf8_lossy(&said).into_owned();
            if output.exit_code == 0 { ProbeAnswer::Success(said) } else { ProbeAnswer::Failure(said) }
        }
    }
}

fn verdict(answer: &ProbeAnswer) -> Verdict {
    match answer {
        ProbeAnswer::Success(_) | ProbeAnswer::Warning(_) => Verdict::Success,
        ProbeAnswer::Failure(_) => Verdict::Failure,
        ProbeAnswer::TimedOut(_) => Verdict::TimedOut,
        ProbeAnswer::Unknown(_) => Verdict::Unknown,
    }
}

/// The event of a run, with upstream's words (CONTRACT 4.4).
fn happening(kind: ProbeKind, answer: ProbeAnswer) -> Option<Happening> {
    let kind = kind.as_str();
    match answer {
        ProbeAnswer::Success(_) => None,
        ProbeAnswer::Warning(text) => {
            Some(Happening::warning("ProbeWarning", format!("{kind} probe warning: {text}")))
        }
        ProbeAnswer::Failure(text) | ProbeAnswer::TimedOut(text) => {
            Some(Happening::warning("Unhealthy", format!("{kind} probe failed: {text}")))
        }
        ProbeAnswer::Unknown(text) => {
            let text = format!("{kind} probe errored and resulted in unknown state: {text}");
            Some(Happening::warning("Unhealthy", text))
        }
    }
}
