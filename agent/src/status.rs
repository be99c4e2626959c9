//! Joins what the sync loop knows of a pod into the input of `core/status`, and says what is known of a pod without a spec.

use core_pods::allocation::PodLevelResize;
use core_status::{NodeFacts, RecursiveReadOnly, ResourceFacts, StatusInput, Verdict, WholeResources};
use core_types::api::{ObjectMeta, Pod, PodStatus};
use core_types::view::Lifecycle;
use core_types::{ObservedPod, PodKey, PodUid, WallTime};

use crate::record::Record;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;
use crate::sizes::Sizes;

/// Facts of the node that show in every status.
pub(crate) fn node_facts(settings: &Settings, runtime: &RuntimeUp) -> NodeFacts {
    let handlers = runtime.status.as_ref().map(|status| status.handlers.as_slice()).unwrap_or_default();
    let default = handlers.iter().find(|handler| handler.name.is_empty());
    NodeFacts {
        node_ips: settings.host.node_ips.clone(),
        runtime_name: runtime.version.as_ref().map(|version| version.name.clone()).unwrap_or_default(),
        recursive_read_only: match default.is_some_and(|handler| handler.recursive_read_only_mounts) {
            true => RecursiveReadOnly::Supported,
            false => RecursiveReadOnly::Unsupported,
        },
        gates: settings.resources.gates,
    }
}

/// What is known of a pod's resources.
pub(crate) fn resource_facts<'a>(uid: &PodUid, sizes: &'a Sizes, settings: &Settings) -> ResourceFacts<'a> {
    ResourceFacts {
        conditions: sizes.allocations().conditions(uid),
        actuated: sizes.actuated(uid),
        whole: match settings.resources.resize.pod_level {
            PodLevelResize::Allowed => WholeResources::Shown,
            PodLevelResize::Disabled => WholeResources::Hidden,
        },
    }
}

/// What a status is made from beside the pod and its record.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) observed: Option<&'a ObservedPod>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) resources: ResourceFacts<'a>,
    pub(crate) node: &'a NodeFacts,
}

/// The pod's status now. The pod has the resources that it was given.
pub(crate) fn generate(pod: &Pod, record: &Record, known: &Known<'_>, now: WallTime) -> PodStatus {
    let verdict = match (&record.rejection, &record.eviction) {
        (Some(why), _) => Verdict::Rejected { reason: &why.reason, message: &why.message },
        (None, Some(why)) => {
            Verdict::Evicted { reason: &why.reason, message: &why.message, disruption: &why.disruption }
        }
        (None, None) => Verdict::None,
    };
    core_status::generate(&StatusInput {
        pod,
        observed: known.observed,
        lifecycle: known.lifecycle,
        previous: record.status.as_deref(),
        waiting: &record.waiting,
        probes: &record.probes.results,
        oom_kills: &record.oom_kills,
        verdict,
        node: known.node,
        resources: known.resources,
        qos: core_cm::qos_class(pod),
        now,
    })
}

/// True when the phase can not change any more.
pub(crate) fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// What the labels tell of a pod that only the runtime knows.
pub(crate) fn runtime_only_pod(uid: &PodUid, key: &PodKey) -> Pod {
    Pod {
        metadata: ObjectMeta {
            uid: Some(uid.to_string()),
            name: Some(key.name.to_string()),
            namespace: Some(key.namespace.to_string()),
            ..ObjectMeta::default()
        },
        ..Pod::default()
    }
}
