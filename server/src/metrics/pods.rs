//! Counts of pods, read from the view at each scrape (CONTRACT 5.15).

use core_metrics::{Desc, Registry};
use core_types::view::{Lifecycle, NodeView, PodSource, PodView};

/// States of upstream's pod workers, with the lives that stand for them.
const LIVES: [(&str, [Lifecycle; 2]); 3] = [
    ("sync", [Lifecycle::Waiting, Lifecycle::Syncing]),
    ("terminating", [Lifecycle::Terminating, Lifecycle::Terminating]),
    ("terminated", [Lifecycle::Terminated, Lifecycle::Finished]),
];

const STATIC: &[&str] = &["static"];

/// Sets the counts.
pub(super) fn fill(registry: &Registry, view: &NodeView) {
    let pods = || view.pods.values().map(|pod| &**pod);
    let desired = registry.gauge(Desc {
        name: "kubelet_desired_pods",
        help: "[ALPHA] The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.",
        labels: STATIC,
    });
    let active = registry.gauge(Desc {
        name: "kubelet_active_pods",
        help: "[ALPHA] The number of pods the kubelet considers active and which are being considered when admitting new pods. static is true if the pod is not from the apiserver.",
        labels: STATIC,
    });
    for (label, is_static) in [("", false), ("true", true)] {
        let of_kind = || pods().filter(move |pod| pod.is_wanted && is_local(pod) == is_static);
        desired.set(&[label], of_kind().count() as f64);
        active.set(&[label], of_kind().filter(|pod| pod.lifecycle < Lifecycle::Terminated).count() as f64);
    }
    gauge(
        registry,
        "kubelet_mirror_pods",
        "[ALPHA] The number of mirror pods the kubelet will try to create (one per admitted static pod)",
        view.mirrors.as_ref().map_or(0, |_| pods().filter(|pod| pod.is_wanted && is_local(pod)).count()),
    );
    let ephemeral = |pod: &PodView| {
        pod.pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref()).map_or(0, Vec::len)
    };
    gauge(
        registry,
        "kubelet_managed_ephemeral_containers",
        "[ALPHA] Current number of ephemeral containers in pods managed by this kubelet.",
        pods().map(ephemeral).sum(),
    );
    let working = registry.gauge(Desc {
        name: "kubelet_working_pods",
        help: "[ALPHA] Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is static. An orphaned pod has been removed from local configuration or force deleted in the API and consumes resources that are not otherwise visible.",
        labels: &["lifecycle", "config", "static"],
    });
    for (name, lives) in LIVES {
        for (config, label) in [
            ("desired", ""),
            ("desired", "true"),
            ("orphan", ""),
            ("orphan", "true"),
            ("runtime_only", "unknown"),
        ] {
            let count = pods().filter(|pod| lives.contains(&pod.lifecycle) && kind(pod) == (config, label));
            working.set(&[name, config, label], count.count() as f64);
        }
    }
}

fn gauge(registry: &Registry, name: &'static str, help: &'static str, value: usize) {
    registry.gauge(Desc { name, help, labels: &[] }).set(&[], value as f64);
}

fn is_local(pod: &PodView) -> bool {
    pod.source.is_some_and(|source| source != PodSource::Api)
}

/// Who wants a pod, and whether it is static, in upstream's words.
fn kind(pod: &PodView) -> (&'static str, &'static str) {
    let label = if is_local(pod) { "true" } else { "" };
    match (pod.source, pod.is_wanted) {
        (None, _) => ("runtime_only", "unknown"),
        (Some(_), true) => ("desired", label),
        (Some(_), false) => ("orphan", label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod_view, view_of};

    #[test]
    fn pods_are_counted_by_life_and_by_who_wants_them() {
        let registry = Registry::new();
        let (mut wanted, observed) = pod_view("default", "web");
        wanted.is_wanted = true;
        wanted.source = Some(PodSource::Api);
        wanted.lifecycle = Lifecycle::Syncing;
        let (mut gone, observed_gone) = pod_view("default", "gone");
        gone.is_wanted = false;
        gone.source = None;
        gone.lifecycle = Lifecycle::Terminating;
        fill(&registry, &view_of(vec![(wanted, observed), (gone, observed_gone)]));
        let text = registry.text();
        for want in [
            "kubelet_desired_pods{static=\"\"} 1\n",
            "kubelet_desired_pods{static=\"true\"} 0\n",
            "kubelet_active_pods{static=\"\"} 1\n",
            "kubelet_working_pods{lifecycle=\"sync\",config=\"desired\",static=\"\"} 1\n",
            "kubelet_working_pods{lifecycle=\"terminating\",config=\"runtime_only\",static=\"unknown\"} 1\n",
            "kubelet_mirror_pods 0\n",
        ] {
            assert!(text.contains(want), "{want} is missing in\n{text}");
        }
    }
}
