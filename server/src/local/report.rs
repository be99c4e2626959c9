//! Turns snapshots into what `podwright` shows.

use core_status::{Explanation, explain};
use core_types::WallTime;
use core_types::local::{NodeReport, PodReport, PodReports, RuntimeReport};
use core_types::view::{NodeView, PodView};

use crate::NodeFacts;

/// One pod.
pub(super) fn pod(view: &PodView, node: &NodeView, now: WallTime) -> PodReport<Explanation> {
    let mut pod = (*view.pod).clone();
    pod.status = Some((*view.status).clone());
    PodReport {
        pod,
        lifecycle: view.lifecycle,
        source: view.source,
        activity: view.activity.clone(),
        problem: view.problem.clone(),
        next_retry: view.next_retry,
        events: view.events.to_vec(),
        explanation: explain(view, node, now),
    }
}

/// All pods, by namespace and name.
pub(super) fn pods(view: &NodeView, now: WallTime) -> PodReports<Explanation> {
    let mut pods: Vec<_> = view.pods.values().map(|one| pod(one, view, now)).collect();
    pods.sort_by(|a, b| {
        let key = |report: &PodReport<Explanation>| {
            (report.pod.metadata.namespace.clone(), report.pod.metadata.name.clone())
        };
        key(a).cmp(&key(b))
    });
    PodReports { pods }
}

/// The node.
pub(super) fn node(view: &NodeView, facts: &NodeFacts) -> NodeReport {
    let runtime = &view.runtime;
    let status = runtime.status.as_ref();
    let unready = status.map(|status| [&status.runtime_ready, &status.network_ready]).into_iter().flatten();
    let reasons = unready.filter(|condition| !condition.ok).map(|condition| condition.message.as_str());
    let message =
        if runtime.error.is_empty() { reasons.collect::<Vec<_>>().join("; ") } else { runtime.error.clone() };
    NodeReport {
        node_name: facts.node_name.clone(),
        version: facts.version.clone(),
        runtime: RuntimeReport {
            name: runtime.version.as_ref().map(|version| version.name.clone()).unwrap_or_default(),
            version: runtime.version.as_ref().map(|version| version.version.clone()).unwrap_or_default(),
            ready: runtime.error.is_empty() && status.is_some_and(|status| status.runtime_ready.ok),
            network_ready: runtime.error.is_empty() && status.is_some_and(|status| status.network_ready.ok),
            message,
        },
        source_problems: view.source_problems.clone(),
        sources_heard: view.sources_heard,
        places: facts.places.clone(),
    }
}
