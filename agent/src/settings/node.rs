//! What the configuration and the flags say of the node itself.

use std::collections::BTreeMap;

use core_cm::ResourceList;
use core_config::{Config, Feature, FeatureSet, KubeletConfiguration};
use core_node::capacity::{self, PodLimit, Reservations, ReservedTooMuch, Threshold};
use core_node::reporter::Cadence;
use core_node::{AttachDetach, CloudProvider, ImageLimit, Machine, NodeSettings, registration};
use core_pods::admission::NodeAllocatable;
use k8s_openapi::api::core::v1::Taint;

use super::HostSummary;

/// Features of which the scheduler may know, each with the gate of the same name (CONTRACT 4.7).
const DECLARABLE: [Feature; 9] = [
    Feature::DRANodeAllocatableResources,
    Feature::DRAOptionalNodeOperations,
    Feature::ExtendWebSocketsToKubelet,
    Feature::InPlacePodLevelResourcesVerticalScaling,
    Feature::InPlacePodVerticalScalingInitContainers,
    Feature::InPlacePodVerticalScalingMemoryBackedVolumes,
    Feature::RestartAllContainersOnContainerExits,
    Feature::UserNamespacesHostNetworkSupport,
    Feature::VolumeBindMountOptions,
];

/// Who makes the Node object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// The kubelet.
    Own,
    /// Somebody else (`registerNode: false`): the kubelet waits for it.
    Foreign,
}

/// The node as the cluster knows it.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// What its object says.
    pub settings: NodeSettings,
    /// Its labels as long as nobody else has changed them.
    pub labels: BTreeMap<String, String>,
    /// Who makes the object.
    pub registration: Registration,
    /// How often its status is sent.
    pub cadence: Cadence,
    /// `nodeLeaseDurationSeconds`.
    pub lease_duration_seconds: i32,
}

impl NodeIdentity {
    pub(super) fn new(config: &Config, host: &HostSummary) -> Self {
        let settings = node_settings(config, host);
        let kubelet = &config.kubelet;
        Self {
            labels: registration::labels(&settings, &host.machine.architecture),
            settings,
            registration: match kubelet.register_node {
                true => Registration::Own,
                false => Registration::Foreign,
            },
            cadence: Cadence {
                report_every: kubelet.node_status_report_frequency.to_std(),
                retry_every: kubelet.node_status_update_frequency.to_std(),
            },
            lease_duration_seconds: kubelet.node_lease_duration_seconds,
        }
    }

    /// What pods are held to together: the eviction thresholds are not kept back from their cgroup, or a pod could never use
    /// enough to be evicted. `None` unless `enforceNodeAllocatable` names `pods`.
    pub(super) fn enforced(&self, config: &Config, machine: &Machine) -> Option<ResourceList> {
        let is_enforced = config.kubelet.enforce_node_allocatable.iter().any(|what| what == "pods");
        let reservations =
            Reservations { memory_eviction: None, disk_eviction: None, ..self.settings.reservations.clone() };
        let capacity = capacity::capacity(machine, self.settings.pod_limit);
        let all = (is_enforced && config.kubelet.cgroups_per_qos)
            .then(|| reservations.allocatable(machine, &capacity));
        all.map(|all| {
            all.into_iter().filter(|(name, _)| name != "pods" && name != "ephemeral-storage").collect()
        })
    }

    /// What pods may use together.
    pub(super) fn allocatable(&self, machine: &Machine) -> Result<NodeAllocatable, ReservedTooMuch> {
        let reservations = &self.settings.reservations;
        reservations.check(machine)?;
        let capacity = capacity::capacity(machine, self.settings.pod_limit);
        let mut left = reservations.allocatable(machine, &capacity);
        let mut take = |name: &str| left.remove(name).unwrap_or_default();
        Ok(NodeAllocatable {
            cpu_milli: take("cpu").milli_value(),
            memory_bytes: take("memory").value(),
            ephemeral_storage_bytes: take("ephemeral-storage").value(),
            pods: take("pods").value(),
            others: left.into_iter().map(|(name, amount)| (name, amount.value())).collect(),
        })
    }
}

fn node_settings(config: &Config, host: &HostSummary) -> NodeSettings {
    let (kubelet, options) = (&config.kubelet, &config.options);
    NodeSettings {
        name: host.node_name.clone(),
        labels: options.node_labels.clone(),
        taints: taints(kubelet),
        provider_id: kubelet.provider_id.clone(),
        cloud: match options.cloud_provider.as_str() {
            "external" => CloudProvider::External,
            _ => CloudProvider::None,
        },
        attach_detach: match kubelet.enable_controller_attach_detach {
            true => AttachDetach::Controller,
            false => AttachDetach::Kubelet,
        },
        extended_resources: host.extended_resources,
        node_ips: options.node_ip.clone(),
        pod_limit: PodLimit { max: kubelet.max_pods.into(), per_core: kubelet.pods_per_core.into() },
        reservations: reservations(config),
        port: kubelet.port,
        image_limit: match usize::try_from(kubelet.node_status_max_images) {
            Ok(most) => ImageLimit::Of(most),
            Err(_negative) => ImageLimit::None,
        },
        version: host.version.clone(),
        declared_features: declared_features(&config.features),
    }
}

fn taints(kubelet: &KubeletConfiguration) -> Vec<Taint> {
    let taint = |taint: &core_config::kubelet_configuration::Taint| Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()).filter(|value| !value.is_empty()),
        effect: taint.effect.clone(),
        time_added: None,
    };
    kubelet.register_with_taints.iter().map(taint).collect()
}

/// What is kept back from pods (CONTRACT 5.5). The configuration has been checked, so every text is an amount.
fn reservations(config: &Config) -> Reservations {
    let kubelet = &config.kubelet;
    let amounts = |texts: &BTreeMap<String, String>| -> ResourceList {
        texts.iter().filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?))).collect()
    };
    let hard = kubelet.eviction_hard.as_ref().filter(|_| !config.options.allocatable_ignores_eviction);
    let threshold = |signal: &str| Threshold::parse(hard?.get(signal)?);
    Reservations {
        kube: amounts(&kubelet.kube_reserved),
        system: amounts(&kubelet.system_reserved),
        memory_eviction: threshold("memory.available"),
        disk_eviction: threshold("nodefs.available"),
    }
}

fn declared_features(features: &FeatureSet) -> Vec<String> {
    let mut names: Vec<String> = DECLARABLE
        .into_iter()
        .filter(|feature| features.enabled(*feature))
        .map(|feature| feature.name().to_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_switched_on_is_declared() {
        let features = FeatureSet::default();
        let want = [
            "ExtendWebSocketsToKubelet",
            "InPlacePodLevelResourcesVerticalScaling",
            "InPlacePodVerticalScalingInitContainers",
            "RestartAllContainersOnContainerExits",
        ];
        assert_eq!(declared_features(&features), want);
    }
}
