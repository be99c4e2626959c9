//! The Node object's status from what was seen (CONTRACT 4.7). What others have put into it stays.

use core_types::runtime::{Image, RuntimeHandler};
use core_types::{EventType, WallTime};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeStatus, NodeSwapStatus, NodeSystemInfo,
};

use crate::addresses::{self, AddressError};
use crate::capacity;
use crate::conditions;
use crate::picture::{NodeEvent, Picture, RuntimeFacts};
use crate::settings::{ImageLimit, Machine, NodeSettings};

/// Names per image in the status.
const MAX_NAMES_PER_IMAGE: usize = 5;

/// Annotation that tells an external cloud provider which addresses to choose.
const PROVIDED_IP: &str = "alpha.kubernetes.io/provided-node-ip";

/// The node as it should be, and what is to be told.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The node.
    pub node: Node,
    /// Changes, as Events of the node.
    pub events: Vec<NodeEvent>,
    /// Why the addresses were left as they are.
    pub address_error: Option<AddressError>,
}

/// Brings a Node object up to date.
pub fn update(
    existing: &Node,
    settings: &NodeSettings,
    machine: &Machine,
    picture: &Picture,
    now: WallTime,
) -> Updated {
    let mut node = existing.clone();
    require_labels(&mut node, machine);
    let address_error = set_addresses(&mut node, settings, picture);
    let status = node.status.get_or_insert_default();
    let reboot = set_machine(status, settings, machine);
    set_versions(status.node_info.get_or_insert_default(), settings, machine, &picture.runtime);
    status.daemon_endpoints =
        Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: settings.port }) });
    if let Some(images) = &picture.images {
        status.images = Some(image_list(images, settings.image_limit)).filter(|list| !list.is_empty());
    }
    set_runtime(status, &picture.runtime);
    let mut events: Vec<NodeEvent> = reboot.into_iter().collect();
    let conditions = status.conditions.get_or_insert_default();
    events.extend(conditions::update(conditions, picture, &settings.name, now));
    status.declared_features = Some(settings.declared_features.clone()).filter(|names| !names.is_empty());
    Updated { node, events, address_error }
}

/// True when a report has something to say besides that the node lives.
pub fn has_changed(old: &Node, new: &Node) -> bool {
    let comparable = |node: &Node| {
        let mut node = node.clone();
        if let Some(conditions) = node.status.as_mut().and_then(|status| status.conditions.as_mut()) {
            *conditions = conditions::without_heartbeats(conditions);
        }
        node
    };
    comparable(old) != comparable(new)
}

/// Labels that must be right at any time; others are set at the registration only.
fn require_labels(node: &mut Node, machine: &Machine) {
    let labels = node.metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels.insert("kubernetes.io/arch".to_owned(), machine.architecture.clone());
}

fn set_addresses(node: &mut Node, settings: &NodeSettings, picture: &Picture) -> Option<AddressError> {
    let known = node.status.as_ref().and_then(|status| status.addresses.clone()).unwrap_or_default();
    match addresses::addresses(settings, &picture.network, &known) {
        Ok(found) => {
            node.status.get_or_insert_default().addresses = Some(found);
            match addresses::provided_ips(settings) {
                Some(ips) => {
                    let annotations = node.metadata.annotations.get_or_insert_default();
                    annotations.insert(PROVIDED_IP.to_owned(), ips);
                }
                None => {
                    node.metadata.annotations.as_mut().map(|annotations| annotations.remove(PROVIDED_IP));
                }
            }
            None
        }
        Err(error) => Some(error),
    }
}

/// Sets amounts and IDs; returns the event of a reboot.
fn set_machine(status: &mut NodeStatus, settings: &NodeSettings, machine: &Machine) -> Option<NodeEvent> {
    let amounts = capacity::merged(status.capacity.as_ref(), machine, settings.pod_limit);
    let computed = settings.reservations.allocatable(machine, &amounts);
    let allocatable = capacity::merged_allocatable(status.allocatable.as_ref(), &amounts, computed);
    status.capacity = Some(capacity::to_api(amounts));
    status.allocatable = Some(capacity::to_api(allocatable));
    let info = status.node_info.get_or_insert_default();
    let rebooted = !info.boot_id.is_empty() && info.boot_id != machine.boot_id;
    info.machine_id.clone_from(&machine.machine_id);
    info.system_uuid.clone_from(&machine.system_uuid);
    info.boot_id.clone_from(&machine.boot_id);
    if machine.swap_bytes > 0 {
        info.swap = Some(NodeSwapStatus { capacity: Some(machine.swap_bytes) });
    }
    rebooted.then(|| NodeEvent {
        event_type: EventType::Warning,
        reason: "Rebooted",
        message: format!("Node {} has been rebooted, boot id: {}", settings.name, machine.boot_id),
    })
}

fn set_versions(
    info: &mut NodeSystemInfo,
    settings: &NodeSettings,
    machine: &Machine,
    runtime: &RuntimeFacts,
) {
    info.kernel_version.clone_from(&machine.kernel_version);
    info.os_image.clone_from(&machine.os_image);
    // Before the runtime has answered its name is not known either; what the object says stays.
    if let Some(version) = &runtime.version {
        info.container_runtime_version = format!("{}://{}", version.name, version.version);
    } else if info.container_runtime_version.is_empty() {
        info.container_runtime_version = "://Unknown".to_owned();
    }
    info.kubelet_version.clone_from(&settings.version);
    info.kube_proxy_version.clear();
    info.operating_system = "linux".to_owned();
    info.architecture.clone_from(&machine.architecture);
}

/// The largest images first, each with a few names, digests before tags.
fn image_list(images: &[Image], limit: ImageLimit) -> Vec<ContainerImage> {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| b.id.cmp(&a.id)));
    let most = match limit {
        ImageLimit::Of(most) => most,
        ImageLimit::None => images.len(),
    };
    let names = |image: &Image| {
        let all = image.repo_digests.iter().chain(&image.repo_tags);
        let names: Vec<String> = all.take(MAX_NAMES_PER_IMAGE).cloned().collect();
        Some(names).filter(|names| !names.is_empty())
    };
    let listed = images.into_iter().take(most);
    listed
        .map(|image| ContainerImage {
            names: names(image),
            size_bytes: Some(i64::try_from(image.size_bytes).unwrap_or(i64::MAX)),
        })
        .collect()
}

fn set_runtime(status: &mut NodeStatus, runtime: &RuntimeFacts) {
    if let Some(supported) = runtime.supplemental_groups_policy {
        let mut handlers: Vec<&RuntimeHandler> = runtime.handlers.iter().collect();
        handlers.sort_by(|a, b| a.name.cmp(&b.name));
        let handlers: Vec<NodeRuntimeHandler> = handlers.into_iter().map(runtime_handler).collect();
        status.runtime_handlers = Some(handlers).filter(|handlers| !handlers.is_empty());
        status.features = Some(NodeFeatures { supplemental_groups_policy: Some(supported) });
    }
}

fn runtime_handler(handler: &RuntimeHandler) -> NodeRuntimeHandler {
    NodeRuntimeHandler {
        // The default handler has no name, and the API server says so: a field left out would differ from its answer for ever.
        name: Some(handler.name.clone()),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(handler.recursive_read_only_mounts),
            user_namespaces: Some(handler.user_namespaces),
        }),
    }
}

#[cfg(test)]
mod tests {
    use core_types::runtime::RuntimeVersion;
    use serde_json::json;

    use crate::settings::tests::{machine, settings};
    use core_types::pressure::Pressures;

    use super::*;

    fn at(secs: i64) -> WallTime {
        WallTime::from_unix_secs(secs)
    }

    fn picture() -> Picture {
        Picture {
            runtime: RuntimeFacts {
                version: Some(RuntimeVersion {
                    name: "containerd".to_owned(),
                    version: "2.4.2".to_owned(),
                    ..RuntimeVersion::default()
                }),
                handlers: vec![
                    RuntimeHandler {
                        name: "runc".to_owned(),
                        user_namespaces: true,
                        ..RuntimeHandler::default()
                    },
                    RuntimeHandler::default(),
                ],
                supplemental_groups_policy: Some(true),
            },
            network: crate::NetworkFacts {
                interfaces: vec!["192.0.2.1".parse().unwrap()],
                default_route: vec!["192.0.2.1".parse().unwrap()],
                ..crate::NetworkFacts::default()
            },
            ..Picture::default()
        }
    }

    #[test]
    fn an_empty_object_gets_everything() {
        let images = vec![
            Image { id: "a".to_owned(), size_bytes: 5, repo_tags: vec!["t".to_owned()], ..Image::default() },
            Image {
                id: "b".to_owned(),
                size_bytes: 9,
                repo_digests: (0..4).map(|i| format!("d{i}")).collect(),
                repo_tags: (0..4).map(|i| format!("t{i}")).collect(),
                ..Image::default()
            },
        ];
        let picture = Picture { images: Some(images), ..picture() };
        let machine = Machine { swap_bytes: 77, ..machine() };
        let updated = update(&Node::default(), &settings(), &machine, &picture, at(60));
        let condition = |type_: &str, status: &str, reason: &str, message: &str| {
            let time = "1970-01-01T00:01:00Z";
            json!({ "type": type_, "status": status, "reason": reason, "message": message,
                    "lastHeartbeatTime": time, "lastTransitionTime": time })
        };
        let want = json!({
            "addresses": [
                { "type": "InternalIP", "address": "192.0.2.1" },
                { "type": "Hostname", "address": "n1" },
            ],
            "allocatable": { "cpu": "2", "memory": "4Gi", "ephemeral-storage": "107374182400", "pods": "110" },
            "capacity": { "cpu": "2", "memory": "4Gi", "ephemeral-storage": "107374182400", "pods": "110" },
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "declaredFeatures": ["A"],
            "features": { "supplementalGroupsPolicy": true },
            "images": [
                { "names": ["d0", "d1", "d2", "d3", "t0"], "sizeBytes": 9 },
                { "names": ["t"], "sizeBytes": 5 },
            ],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "b1", "containerRuntimeVersion": "containerd://2.4.2",
                "kernelVersion": "6.1", "kubeProxyVersion": "", "kubeletVersion": "v1.37.2", "machineID": "m",
                "operatingSystem": "linux", "osImage": "Debian", "swap": { "capacity": 77 }, "systemUUID": "s",
            },
            "runtimeHandlers": [
                { "name": "", "features": { "recursiveReadOnlyMounts": false, "userNamespaces": false } },
                { "name": "runc", "features": { "recursiveReadOnlyMounts": false, "userNamespaces": true } },
            ],
        });
        assert_eq!(serde_json::to_value(updated.node.status).unwrap(), want);
        let reasons: Vec<&str> = updated.events.iter().map(|event| event.reason).collect();
        assert_eq!(reasons, ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]);
        assert_eq!(updated.events[0].message, "Node n1 status is now: NodeHasSufficientMemory");
    }

    #[test]
    fn a_second_look_only_renews_heartbeats() {
        let (settings, machine, picture) = (settings(), machine(), picture());
        let first = update(&Node::default(), &settings, &machine, &picture, at(60)).node;
        let second = update(&first, &settings, &machine, &picture, at(90));
        assert!(second.events.is_empty() && !has_changed(&first, &second.node));
        assert_ne!(first, second.node);
    }

    #[test]
    fn transitions_have_their_time_and_event() {
        let (settings, machine, mut picture) = (settings(), machine(), picture());
        let first = update(&Node::default(), &settings, &machine, &picture, at(60)).node;
        picture.pressures = Pressures { disk: true, ..Pressures::default() };
        let second = update(&first, &settings, &machine, &picture, at(90));
        assert_eq!(second.events, [NodeEvent::status("n1", "NodeHasDiskPressure")]);
        assert!(has_changed(&first, &second.node));
        let conditions = second.node.status.unwrap().conditions.unwrap();
        let transitions: Vec<i64> = conditions
            .iter()
            .map(|c| WallTime::from_api(c.last_transition_time.as_ref().unwrap()).unix_secs())
            .collect();
        assert_eq!(transitions, [60, 90, 60, 60]);
        assert_eq!(conditions[1].reason.as_deref(), Some("KubeletHasDiskPressure"));
    }

    #[test]
    fn what_the_node_controller_declared_unknown_is_put_right() {
        let (settings, machine, picture) = (settings(), machine(), picture());
        let mut lost = update(&Node::default(), &settings, &machine, &picture, at(60)).node;
        for condition in lost.status.as_mut().unwrap().conditions.as_mut().unwrap() {
            condition.status = "Unknown".to_owned();
            condition.reason = Some("NodeStatusUnknown".to_owned());
        }
        let back = update(&lost, &settings, &machine, &picture, at(90));
        let reasons: Vec<&str> = back.events.iter().map(|event| event.reason).collect();
        assert_eq!(
            reasons,
            ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]
        );
    }

    #[test]
    fn what_is_not_known_now_stays_as_it_was() {
        let (settings, machine) = (settings(), machine());
        let good = update(&Node::default(), &settings, &machine, &picture(), at(60)).node;
        let blind = Picture { network: crate::NetworkFacts::default(), ..Picture::default() };
        let later = update(&good, &settings, &machine, &blind, at(90));
        assert!(matches!(later.address_error, Some(AddressError::None { .. })));
        assert!(!has_changed(&good, &later.node), "{:?}", later.node.status);
    }

    #[test]
    fn a_reboot_is_told() {
        let (settings, picture) = (settings(), picture());
        let before = update(&Node::default(), &settings, &machine(), &picture, at(60)).node;
        let rebooted = Machine { boot_id: "b2".to_owned(), ..machine() };
        let after = update(&before, &settings, &rebooted, &picture, at(90));
        assert_eq!(after.events[0].message, "Node n1 has been rebooted, boot id: b2");
        assert_eq!(after.events[0].event_type, EventType::Warning);
    }
}
