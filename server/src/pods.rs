//! Pods as the HTTP API shows them: `/pods` from what the agent knows, `/runningpods/` from what the runtime shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use core_types::api::{ObjectMeta, PodSpec, PodStatus};
use core_types::runtime::{ContainerState, SandboxState, SandboxSummary};
use core_types::view::{Lifecycle, NodeView, PodView};
use core_types::{ObservedPod, PodExt, PodUid, SandboxId};
use serde::Serialize;

/// `v1.PodList`, with its fields in upstream's order. `items` is null when there is none, as Go's encoder has it.
#[derive(Serialize)]
pub(crate) struct PodList<T> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Empty,
    items: Option<Vec<T>>,
}

impl<T> PodList<T> {
    fn new(items: Vec<T>) -> Self {
        let items = if items.is_empty() { None } else { Some(items) };
        Self { kind: "PodList", api_version: "v1", metadata: Empty {}, items }
    }
}

#[derive(Serialize)]
struct Empty {}

/// A pod inside a list: without kind and version.
#[derive(Serialize)]
pub(crate) struct Item<'a> {
    metadata: &'a ObjectMeta,
    spec: Option<&'a PodSpec>,
    status: &'a PodStatus,
}

/// Pods the agent knows from its sources.
pub(crate) fn known(view: &NodeView) -> PodList<Item<'_>> {
    let pods = view.pods.values().filter(|pod| pod.source.is_some());
    PodList::new(
        pods.map(|pod| Item {
            metadata: &pod.pod.metadata,
            spec: pod.pod.spec.as_ref(),
            status: &pod.status,
        })
        .collect(),
    )
}

#[derive(Serialize)]
pub(crate) struct RunningPod<'a> {
    metadata: RunningMetadata<'a>,
    spec: RunningSpec<'a>,
    status: Empty,
}

#[derive(Serialize)]
struct RunningMetadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a PodUid,
}

#[derive(Serialize)]
struct RunningSpec<'a> {
    containers: Vec<RunningContainer<'a>>,
}

#[derive(Serialize)]
struct RunningContainer<'a> {
    name: &'a str,
    image: &'a str,
    resources: Empty,
}

/// Pods of which the runtime shows something running.
pub(crate) fn running(view: &NodeView) -> PodList<RunningPod<'_>> {
    PodList::new(view.observed.values().filter(|pod| !pod.is_stopped()).map(|pod| running_pod(pod)).collect())
}

fn running_pod(pod: &ObservedPod) -> RunningPod<'_> {
    let live = pod.containers.iter().filter(|container| container.state() == ContainerState::Running);
    RunningPod {
        metadata: RunningMetadata { name: &pod.key.name, namespace: &pod.key.namespace, uid: &pod.uid },
        spec: RunningSpec {
            containers: live
                .map(|container| RunningContainer {
                    name: container.name(),
                    image: &container.status.image,
                    resources: Empty {},
                })
                .collect(),
        },
        status: Empty {},
    }
}

/// The pod of this namespace and name. While an old incarnation ends and a new one waits, the one that lives on is meant.
pub(crate) fn find<'a>(
    view: &'a NodeView,
    namespace: &str,
    name: &str,
) -> Option<(&'a PodUid, &'a Arc<PodView>)> {
    let rank = |pod: &PodView| match pod.lifecycle {
        Lifecycle::Syncing => 0,
        Lifecycle::Waiting => 1,
        Lifecycle::Terminating => 2,
        Lifecycle::Terminated => 3,
        Lifecycle::Finished => 4,
    };
    view.pods
        .iter()
        .filter(|(_, pod)| {
            let metadata = &pod.pod.metadata;
            metadata.name.as_deref() == Some(name) && metadata.namespace.as_deref() == Some(namespace)
        })
        .min_by_key(|(_, pod)| (pod.source.is_none(), rank(pod)))
}

/// Names of all containers of the pod's spec.
pub(crate) fn container_names(pod: &PodView) -> BTreeSet<&str> {
    let regular = pod.pod.container_refs().into_iter().map(|container| container.spec.name.as_str());
    let spec = pod.pod.spec.as_ref();
    let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref()).into_iter().flatten();
    regular.chain(ephemeral.map(|container| container.name.as_str())).collect()
}

/// The sandbox of a pod: the one that is ready, or else the newest.
pub(crate) fn sandbox(view: &NodeView, uid: &PodUid) -> Option<SandboxId> {
    let sandboxes = view.observed.get(uid)?.sandboxes.iter().map(|sandbox| &sandbox.0.summary);
    let rank = |one: &&SandboxSummary| (one.state == SandboxState::Ready, one.created_at);
    sandboxes.max_by_key(rank).map(|one| one.id.clone())
}

/// Whether the named container's spec asks for a terminal.
pub(crate) fn has_terminal(pod: &PodView, name: &str) -> bool {
    let regular = pod.pod.container_refs().into_iter().map(|one| (one.spec.name.as_str(), one.spec.tty));
    let ephemeral = pod.pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
    let ephemeral = ephemeral.into_iter().flatten().map(|one| (one.name.as_str(), one.tty));
    regular.chain(ephemeral).any(|(own, tty)| own == name && tty == Some(true))
}

/// Status of the named container, of whatever kind.
pub(crate) fn container_status<'a>(
    status: &'a PodStatus,
    name: &str,
) -> Option<&'a core_types::api::ContainerStatus> {
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|container| container.name == name)
}
