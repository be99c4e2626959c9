//! Joins what the sync loop knows of a pod into the input of `core/status`, and says what is known of a pod without a spec.

use core_status::{NodeFacts, RecursiveReadOnly, StatusInput, Verdict};
use core_types::api::{ObjectMeta, Pod, PodStatus};
use core_types::view::Lifecycle;
use core_types::{ObservedPod, PodKey, PodUid, WallTime};

use crate::record::Record;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;

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
    }
}

/// The pod's status now.
pub(crate) fn generate(
    pod: &Pod,
    record: &Record,
    observed: Option<&ObservedPod>,
    lifecycle: Lifecycle,
    node: &NodeFacts,
    now: WallTime,
) -> PodStatus {
    let verdict = match (&record.rejection, &record.eviction) {
        (Some(why), _) => Verdict::Rejected { reason: &why.reason, message: &why.message },
        (None, Some(why)) => Verdict::Evicted { reason: &why.reason, message: &why.message },
        (None, None) => Verdict::None,
    };
    core_status::generate(&StatusInput {
        pod,
        observed,
        lifecycle,
        previous: record.status.as_deref(),
        waiting: &record.waiting,
        probes: &record.probes.results,
        verdict,
        node,
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
