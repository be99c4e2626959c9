//! Sandboxes, containers and events.

use std::net::IpAddr;

use core_types::keys::POD_UID_LABEL;
use core_types::runtime::{
    ContainerState, ContainerStatus, ContainerSummary, HugepageLimit, ImageSpec, LinuxResources, Mount,
    MountPropagation, ProcessFacts, RuntimeEvent, RuntimeEventKind, SandboxState, SandboxStatus,
    SandboxSummary,
};
use core_types::{PodUid, WallTime};

use super::{required, required_text};
use crate::call::Malformed;
use crate::proto;

/// Reply of `ListPodSandbox`.
pub(crate) fn sandbox_list(reply: proto::ListPodSandboxResponse) -> Result<Vec<SandboxSummary>, Malformed> {
    Ok(reply.items.into_iter().filter(|item| !item.id.is_empty()).map(sandbox_summary).collect())
}

fn sandbox_summary(item: proto::PodSandbox) -> SandboxSummary {
    let metadata = item.metadata.unwrap_or_default();
    SandboxSummary {
        id: item.id.into(),
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid.into(),
        attempt: metadata.attempt,
        state: sandbox_state(item.state),
        created_at: WallTime::from_unix_nanos(item.created_at),
        labels: item.labels,
        annotations: item.annotations,
        runtime_handler: item.runtime_handler,
    }
}

/// A state that is not known is not one in which a pod can run.
fn sandbox_state(state: i32) -> SandboxState {
    match proto::PodSandboxState::try_from(state) {
        Ok(proto::PodSandboxState::SandboxReady) => SandboxState::Ready,
        Ok(proto::PodSandboxState::SandboxNotready) | Err(_) => SandboxState::NotReady,
    }
}

/// Reply of `PodSandboxStatus`.
pub(crate) fn sandbox_reply(reply: proto::PodSandboxStatusResponse) -> Result<SandboxStatus, Malformed> {
    let status = required(reply.status, "status")?;
    required_text(status.id.clone(), "status.id")?;
    let metadata = required(status.metadata, "status.metadata")?;
    for (text, what) in [(&metadata.name, "name"), (&metadata.namespace, "namespace"), (&metadata.uid, "uid")]
    {
        required_text(text.clone(), &format!("metadata.{what} of sandbox {}", status.id))?;
    }
    let created_at = required_time(status.created_at, "status.created_at")?;
    let options = status.linux.and_then(|linux| linux.namespaces).and_then(|namespaces| namespaces.options);
    Ok(SandboxStatus {
        ips: status.network.and_then(pod_ips).unwrap_or_default(),
        host_network: options.is_some_and(|options| options.network() == proto::NamespaceMode::Node),
        summary: SandboxSummary {
            id: status.id.into(),
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid.into(),
            attempt: metadata.attempt,
            state: sandbox_state(status.state),
            created_at,
            labels: status.labels,
            annotations: status.annotations,
            runtime_handler: status.runtime_handler,
        },
    })
}

fn required_time(unix_nanos: i64, what: &str) -> Result<WallTime, Malformed> {
    required((unix_nanos != 0).then(|| WallTime::from_unix_nanos(unix_nanos)), what)
}

/// All of the pod's addresses, or none when one of them is no address (as upstream).
fn pod_ips(network: proto::PodSandboxNetworkStatus) -> Option<Vec<String>> {
    let primary = Some(network.ip).filter(|ip| !ip.is_empty());
    let ips: Vec<String> =
        primary.into_iter().chain(network.additional_ips.into_iter().map(|ip| ip.ip)).collect();
    ips.iter().all(|ip| ip.parse::<IpAddr>().is_ok()).then_some(ips)
}

/// Reply of `ListContainers`.
pub(crate) fn container_list(
    reply: proto::ListContainersResponse,
) -> Result<Vec<ContainerSummary>, Malformed> {
    Ok(reply.containers.into_iter().filter(|item| !item.id.is_empty()).map(container_summary).collect())
}

fn container_summary(item: proto::Container) -> ContainerSummary {
    let metadata = item.metadata.unwrap_or_default();
    ContainerSummary {
        id: item.id.into(),
        sandbox_id: item.pod_sandbox_id.into(),
        name: metadata.name,
        attempt: metadata.attempt,
        state: container_state(item.state),
        image: item.image.map(|image| image.image).unwrap_or_default(),
        image_ref: item.image_ref,
        created_at: WallTime::from_unix_nanos(item.created_at),
        labels: item.labels,
        annotations: item.annotations,
    }
}

fn container_state(state: i32) -> ContainerState {
    match proto::ContainerState::try_from(state) {
        Ok(proto::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(proto::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(proto::ContainerState::ContainerExited) => ContainerState::Exited,
        Ok(proto::ContainerState::ContainerUnknown) | Err(_) => ContainerState::Unknown,
    }
}

/// Reply of `ContainerStatus`. Runtimes older than Kubernetes 1.30 have no image ID of its own: the reference
/// stands in.
pub(crate) fn container_reply(reply: proto::ContainerStatusResponse) -> Result<ContainerStatus, Malformed> {
    let status = required(reply.status, "status")?;
    let stop_signal = stop_signal(status.stop_signal());
    let metadata = required(status.metadata, "status.metadata")?;
    let image_ref = required_text(status.image_ref, "status.image_ref")?;
    let image_id = if status.image_id.is_empty() { image_ref.clone() } else { status.image_id };
    let user = status.user.and_then(|user| user.linux);
    Ok(ContainerStatus {
        id: required_text(status.id, "status.id")?.into(),
        name: required_text(metadata.name, "metadata.name")?,
        attempt: metadata.attempt,
        state: container_state(status.state),
        created_at: required_time(status.created_at, "status.created_at")?,
        started_at: WallTime::from_unix_nanos(status.started_at),
        finished_at: WallTime::from_unix_nanos(status.finished_at),
        exit_code: status.exit_code,
        image: required_text(required(status.image, "status.image")?.image, "status.image.image")?,
        image_ref,
        image_id,
        reason: status.reason,
        message: status.message,
        labels: status.labels,
        annotations: status.annotations,
        mounts: status.mounts.into_iter().map(mount).collect(),
        log_path: status.log_path,
        resources: status.resources.and_then(|resources| resources.linux).map(linux_resources),
        process: ProcessFacts {
            user: user.map(|user| (user.uid, user.gid, user.supplemental_groups)),
            stop_signal,
        },
    })
}

/// The Kubernetes name of a signal; empty when the runtime does not tell.
fn stop_signal(signal: proto::Signal) -> String {
    let name = signal.as_str_name().trim_start_matches("SIGNAL_");
    match signal {
        proto::Signal::RuntimeDefault => String::new(),
        _ => name.replace("PLUS", "+").replace("MINUS", "-"),
    }
}

fn mount(mount: proto::Mount) -> Mount {
    let propagation = match mount.propagation() {
        proto::MountPropagation::PropagationPrivate => MountPropagation::Private,
        proto::MountPropagation::PropagationHostToContainer => MountPropagation::HostToContainer,
        proto::MountPropagation::PropagationBidirectional => MountPropagation::Bidirectional,
    };
    Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_read_only,
        selinux_relabel: mount.selinux_relabel,
        propagation,
        image: mount.image.map(image_spec),
        image_sub_path: mount.image_sub_path,
    }
}

fn image_spec(image: proto::ImageSpec) -> ImageSpec {
    ImageSpec {
        image: image.image,
        user_specified_image: image.user_specified_image,
        annotations: image.annotations,
        runtime_handler: image.runtime_handler,
    }
}

fn linux_resources(resources: proto::LinuxContainerResources) -> LinuxResources {
    let hugepage_limit =
        |limit: proto::HugepageLimit| HugepageLimit { page_size: limit.page_size, limit_bytes: limit.limit };
    LinuxResources {
        cpu_period_us: resources.cpu_period,
        cpu_quota_us: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_bytes: resources.memory_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus,
        cpuset_mems: resources.cpuset_mems,
        hugepage_limits: resources.hugepage_limits.into_iter().map(hugepage_limit).collect(),
        unified: resources.unified,
        memory_swap_limit_bytes: resources.memory_swap_limit_in_bytes,
    }
}

/// One event; `None` for a kind that is not known.
pub(crate) fn event(event: proto::ContainerEventResponse) -> Option<RuntimeEvent> {
    let kind = match proto::ContainerEventType::try_from(event.container_event_type).ok()? {
        proto::ContainerEventType::ContainerCreatedEvent => RuntimeEventKind::Created,
        proto::ContainerEventType::ContainerStartedEvent => RuntimeEventKind::Started,
        proto::ContainerEventType::ContainerStoppedEvent => RuntimeEventKind::Stopped,
        proto::ContainerEventType::ContainerDeletedEvent => RuntimeEventKind::Deleted,
    };
    let sandbox = event.pod_sandbox_status.unwrap_or_default();
    let in_metadata = sandbox.metadata.map(|metadata| metadata.uid);
    let labels =
        std::iter::once(sandbox.labels).chain(event.containers_statuses.into_iter().map(|one| one.labels));
    let pod_uid = in_metadata
        .into_iter()
        .chain(labels.filter_map(|mut labels| labels.remove(POD_UID_LABEL)))
        .find(|uid| !uid.is_empty())
        .map(PodUid::from);
    Some(RuntimeEvent { kind, container_id: event.container_id.into(), pod_uid })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn network(ip: &str, additional: &[&str]) -> proto::PodSandboxNetworkStatus {
        let additional_ips = additional.iter().map(|&ip| proto::PodIp { ip: ip.to_owned() }).collect();
        proto::PodSandboxNetworkStatus { ip: ip.to_owned(), additional_ips }
    }

    #[test]
    fn pod_ips_are_addresses_primary_first() {
        let table: [(_, _, Option<&[&str]>); 5] = [
            ("10.0.0.1", &["fd00::1"] as &[_], Some(&["10.0.0.1", "fd00::1"])),
            ("10.0.0.1", &[], Some(&["10.0.0.1"])),
            ("", &[], Some(&[])),
            ("nonsense", &[], None),
            ("10.0.0.1", &["10.0.0.300"], None),
        ];
        for (ip, additional, want) in table {
            let want = want.map(|ips| ips.iter().map(ToString::to_string).collect());
            assert_eq!(pod_ips(network(ip, additional)), want, "{ip} {additional:?}");
        }
    }

    #[test]
    fn states_that_are_not_known_are_not_taken_for_running() {
        assert_eq!(sandbox_state(99), SandboxState::NotReady);
        assert_eq!(container_state(99), ContainerState::Unknown);
    }

    #[test]
    fn an_event_names_its_pod_by_metadata_or_labels() {
        let labels = BTreeMap::from([(POD_UID_LABEL.to_owned(), "by-label".to_owned())]);
        let metadata = proto::PodSandboxMetadata { uid: "by-metadata".to_owned(), ..Default::default() };
        let of_sandbox = proto::PodSandboxStatus { metadata: Some(metadata), ..Default::default() };
        let labelled = proto::PodSandboxStatus { labels: labels.clone(), ..Default::default() };
        let of_container = proto::ContainerStatus { labels, ..Default::default() };
        let table = [
            (Some(of_sandbox), vec![], Some("by-metadata")),
            (Some(labelled), vec![], Some("by-label")),
            (None, vec![of_container], Some("by-label")),
            (None, vec![], None),
        ];
        for (pod_sandbox_status, containers_statuses, want) in table {
            let wire = proto::ContainerEventResponse {
                container_id: "c".to_owned(),
                container_event_type: proto::ContainerEventType::ContainerStoppedEvent.into(),
                created_at: 1,
                pod_sandbox_status,
                containers_statuses,
            };
            let read = event(wire).unwrap();
            assert_eq!(read.pod_uid.as_ref().map(PodUid::as_str), want);
            assert_eq!((read.kind, read.container_id.as_str()), (RuntimeEventKind::Stopped, "c"));
        }
        let unknown = proto::ContainerEventResponse { container_event_type: 77, ..Default::default() };
        assert_eq!(event(unknown), None);
    }
}
