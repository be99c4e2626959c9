//! What `podwright` asks of the agent. Local pods are files: applying one writes its manifest, removing it deletes the
//! file, and the local source does the rest. So they survive a restart of the agent, and there is no second way in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_pods::allocation::{SpecChange, spec_change};
use core_pods::manifest::{ManifestIssue, ManifestMode, StaticContext, decode_manifest};
use core_types::api::Pod;
use core_types::keys::CONFIG_HASH_ANNOTATION;
use core_types::pressure::EvictionOutlook;
use core_types::runtime::{ExecOutput, StreamRequest};
use core_types::view::{Lifecycle, NodeView, PodSource};
use core_types::{ContainerId, PodExt, PodGates, PodKey, PodUid, SandboxId};
use ports::control::{AppliedPod, EventNews};
use ports::runtime::RuntimeResult;
use ports::{Control, ControlError};
use tokio::sync::watch;

use crate::events::Recorder;
use crate::eviction::Sense;
use crate::outside::Outside;

/// The agent as its servers see it.
pub struct AgentControl {
    outside: Outside,
    node_name: String,
    gates: PodGates,
    view: watch::Receiver<Arc<NodeView>>,
    recorder: Recorder,
    sense: Arc<Sense>,
}

impl AgentControl {
    pub(crate) fn new(
        outside: Outside,
        (node_name, gates): (String, PodGates),
        view: watch::Receiver<Arc<NodeView>>,
        recorder: Recorder,
        sense: Arc<Sense>,
    ) -> Self {
        Self { outside, node_name, gates, view, recorder, sense }
    }

    fn local_pods(&self, key: &PodKey) -> Vec<PodUid> {
        let view = self.view.borrow();
        let of_key =
            view.pods.iter().filter(|(_, pod)| pod.pod.key() == *key && pod.source == Some(PodSource::Local));
        of_key.map(|(uid, _)| uid.clone()).collect()
    }

    /// Refuses a pod whose name another source already uses: it would never run.
    fn check_name(&self, key: &PodKey) -> Result<(), ControlError> {
        let view = self.view.borrow();
        let taken = view
            .pods
            .values()
            .find(|pod| pod.pod.key() == *key && pod.source.is_some_and(|source| source != PodSource::Local));
        match taken.and_then(|pod| pod.source) {
            Some(source) => Err(ControlError::Conflict(format!(
                "pod {key} already exists, from source {}: choose another name or remove that one",
                source.annotation()
            ))),
            None => Ok(()),
        }
    }

    fn outcome(&self, key: &PodKey, uid: &PodUid) -> &'static str {
        match self.local_pods(key) {
            uids if uids.contains(uid) => "unchanged",
            uids if uids.is_empty() => "created",
            _ => "changed",
        }
    }

    /// The local pod of this name that may run, as it is wanted.
    fn living(&self, key: &PodKey) -> Option<Arc<Pod>> {
        let view = self.view.borrow();
        let mut of_key = view.pods.values().filter(|pod| pod.pod.key() == *key);
        let living =
            of_key.find(|pod| pod.source == Some(PodSource::Local) && pod.lifecycle < Lifecycle::Terminating);
        living.map(|pod| Arc::clone(&pod.pod))
    }

    /// Reads manifests of local pods.
    fn decode(&self, manifests: &bytes::Bytes) -> Result<Vec<Pod>, ControlError> {
        let (node_name, gates) = (&self.node_name, self.gates);
        let context = StaticContext { node_name, source: PodSource::Local, origin: "manifest", gates };
        let seen = self.outside.clock.wall();
        let decoded =
            decode_manifest(manifests, ManifestMode::Everything, &context, seen).map_err(|issues| {
                let lines: Vec<String> = issues.iter().map(ManifestIssue::text).collect();
                ControlError::Invalid(lines.join("\n"))
            })?;
        for pod in &decoded.pods {
            self.check_name(&pod.key())?;
        }
        Ok(decoded.pods.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    /// Keeps a pod: in place of the one that is there if only its sizes differ, else as a new one.
    async fn keep(&self, mut pod: Pod, change: ManifestChange) -> Result<AppliedPod, ControlError> {
        let key = pod.key();
        let outcome = match change {
            ManifestChange::Nothing(known) => {
                let generation = known.metadata.generation.unwrap_or_default();
                return Ok(AppliedPod { outcome: "unchanged".to_owned(), key, uid: known.uid(), generation });
            }
            ManifestChange::Sizes(known) => {
                take_place_of(&known, &mut pod);
                "resized"
            }
            ManifestChange::Pod => {
                pod.metadata.generation = Some(1);
                self.outcome(&key, &pod.uid())
            }
        };
        let text = serde_json::to_vec_pretty(&pod)
            .map_err(|error| ControlError::Failed(format!("pod {key} cannot be written as JSON: {error}")))?;
        self.outside
            .manifests
            .local
            .write(&file_name(&key), &text)
            .await
            .map_err(|error| ControlError::Failed(format!("pod {key} cannot be kept: {error}")))?;
        let generation = pod.metadata.generation.unwrap_or_default();
        Ok(AppliedPod { outcome: outcome.to_owned(), uid: pod.uid(), key, generation })
    }
}

/// What a manifest is to the pod of its name.
enum ManifestChange {
    /// It says what the pod is.
    Nothing(Arc<Pod>),
    /// It says other sizes.
    Sizes(Arc<Pod>),
    /// It is another pod, or the only one.
    Pod,
}

/// Gives a changed spec the identity of the pod that it is for.
fn take_place_of(known: &Pod, pod: &mut Pod) {
    let uid = known.uid().to_string();
    pod.metadata.annotations.get_or_insert_default().insert(CONFIG_HASH_ANNOTATION.to_owned(), uid.clone());
    pod.metadata.uid = Some(uid);
    pod.metadata.generation = Some(known.metadata.generation.unwrap_or_default().max(1) + 1);
}

/// File of a local pod. Names and namespaces are DNS names, so the text is a plain file name.
fn file_name(key: &PodKey) -> String {
    format!("{}_{}.json", key.namespace, key.name)
}

#[async_trait]
impl Control for AgentControl {
    fn view(&self) -> Arc<NodeView> {
        Arc::clone(&self.view.borrow())
    }

    async fn changed(&self) {
        let mut view = self.view.clone();
        view.mark_unchanged();
        // An error means that the agent stops: the caller looks and finds its connection closed.
        let _ = view.changed().await;
    }

    async fn eviction_outlook(&self) -> EvictionOutlook {
        self.sense.outlook().await
    }

    async fn events_since(&self, revision: u64) -> EventNews {
        self.recorder.restored().await;
        self.recorder.since(revision)
    }

    async fn events_after(&self, revision: u64) {
        let mut view = self.view.clone();
        let mut revisions = self.recorder.revisions();
        tokio::select! {
            _ = revisions.wait_for(|newest| *newest > revision) => {}
            // The view's sender goes when the agent stops.
            () = async { while view.changed().await.is_ok() {} } => {}
        }
    }

    async fn apply(&self, manifests: bytes::Bytes) -> Result<Vec<AppliedPod>, ControlError> {
        let mut applied = Vec::new();
        for pod in self.decode(&manifests)? {
            let change = match self.living(&pod.key()) {
                Some(known) => match spec_change(&known, &pod) {
                    SpecChange::None => ManifestChange::Nothing(known),
                    SpecChange::Resize => ManifestChange::Sizes(known),
                    SpecChange::Other(_) => ManifestChange::Pod,
                },
                None => ManifestChange::Pod,
            };
            applied.push(self.keep(pod, change).await?);
        }
        Ok(applied)
    }

    async fn resize(&self, manifests: bytes::Bytes) -> Result<Vec<AppliedPod>, ControlError> {
        let mut changes = Vec::new();
        for pod in self.decode(&manifests)? {
            let key = pod.key();
            let known = self.living(&key).ok_or_else(|| {
                ControlError::NotFound(format!("there is no pod {key} that could be resized"))
            })?;
            let change = match spec_change(&known, &pod) {
                SpecChange::None => ManifestChange::Nothing(known),
                SpecChange::Resize => ManifestChange::Sizes(known),
                SpecChange::Other(errors) => {
                    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    let why = lines.join("; ");
                    return Err(ControlError::Invalid(format!(
                        "pod {key} cannot be resized in place: {why}"
                    )));
                }
            };
            changes.push((pod, change));
        }
        let mut applied = Vec::new();
        for (pod, change) in changes {
            applied.push(self.keep(pod, change).await?);
        }
        Ok(applied)
    }

    async fn remove(&self, key: &PodKey) -> Result<PodUid, ControlError> {
        let Some(uid) = self.local_pods(key).into_iter().next() else {
            self.check_name(key).map_err(|_| {
                ControlError::Conflict(format!(
                    "pod {key} was not started with `podwright run`: delete its manifest where it comes from"
                ))
            })?;
            return Err(ControlError::NotFound(format!("there is no pod {key}")));
        };
        self.outside
            .manifests
            .local
            .remove(&file_name(key))
            .await
            .map_err(|error| ControlError::Failed(format!("pod {key} cannot be removed: {error}")))?;
        Ok(uid)
    }

    async fn exec_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        self.outside.runtime.exec_url(id, request).await
    }

    async fn attach_url(&self, id: &ContainerId, request: &StreamRequest) -> RuntimeResult<String> {
        self.outside.runtime.attach_url(id, request).await
    }

    async fn port_forward_url(&self, id: &SandboxId, ports: &[i32]) -> RuntimeResult<String> {
        self.outside.runtime.port_forward_url(id, ports).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String]) -> RuntimeResult<ExecOutput> {
        self.outside.runtime.exec_sync(id, command, Duration::ZERO).await
    }

    async fn checkpoint(&self, id: &ContainerId, location: &str, timeout: Duration) -> RuntimeResult<()> {
        self.outside.runtime.checkpoint_container(id, location, timeout).await
    }
}
