//! The configuration of sandboxes and containers as the runtime gets it (CONTRACT 3.10, 3.20).
//!
//! Labels and annotations are written exactly as upstream's kubelet writes them: they are the only memory that survives a
//! restart of the agent, and either agent must be able to read what the other wrote. Everything that needs the host (volume
//! paths, sub paths, the hosts file, the termination log) comes in as an argument.

use std::collections::BTreeMap;

use core_types::api::{Container, ContainerPort, Pod};
use core_types::expansion::TooLong;
use core_types::runtime::{
    ContainerConfig, DnsConfig, ImageSpec, KeyValue, LinuxResources, Mount, PortMapping, PortProtocol,
    SandboxConfig, SandboxLinux, SecurityContext, Terminal,
};
use core_types::{ContainerKind, ContainerRef, PodExt, StopSignals, keys};

use crate::env::command_and_args;
use crate::hash::container_hash;
use crate::security::{SecurityError, sandbox_security};
use crate::user_namespaces::PodUsers;

/// Where the hosts file is mounted.
const ETC_HOSTS: &str = "/etc/hosts";

/// What a sandbox is made from.
#[derive(Clone, Debug)]
pub struct SandboxInput<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Attempt.
    pub attempt: u32,
    /// Hostname for the kernel; not used in the host's network.
    pub hostname: &'a str,
    /// resolv.conf.
    pub dns: DnsConfig,
    /// `podLogsDir`.
    pub pod_logs_dir: &'a str,
    /// Parent cgroup in the driver's form.
    pub cgroup_parent: &'a str,
    /// Sum of the containers' resources.
    pub resources: LinuxResources,
    /// `spec.overhead`.
    pub overhead: LinuxResources,
    /// User namespace.
    pub users: &'a PodUsers,
}

/// What a container is made from.
#[derive(Clone, Debug)]
pub struct ContainerInput<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// Restart count of this instance.
    pub restart_count: u32,
    /// Whether it may name its stop signal.
    pub stop_signals: StopSignals,
    /// What the runtime resolved the image to.
    pub image_ref: &'a str,
    /// Environment.
    pub envs: Vec<KeyValue>,
    /// Its volume mounts, with host paths (`core/volumes` plans them).
    pub volume_mounts: Vec<Mount>,
    /// The pod's hosts file; none before the pod has an IP.
    pub etc_hosts: Option<&'a str>,
    /// The file for the termination message.
    pub termination_log: Option<&'a str>,
    /// Resources.
    pub resources: LinuxResources,
    /// Security.
    pub security: SecurityContext,
}

/// The container's own stop signal, where it may have one.
fn stop_signal(container: &Container, signals: StopSignals) -> String {
    let own = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    own.filter(|_| signals == StopSignals::OfContainers).unwrap_or_default()
}

/// The configuration of a sandbox.
pub fn sandbox_config(input: SandboxInput<'_>) -> Result<SandboxConfig, SecurityError> {
    let pod = input.pod;
    let key = pod.key();
    let mut labels: BTreeMap<String, String> = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(pod_labels(pod));
    let ports = pod.spec_ref().into_iter().flat_map(|spec| &spec.containers);
    Ok(SandboxConfig {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        uid: Some(pod.uid()),
        attempt: input.attempt,
        hostname: if pod.is_host_network() { String::new() } else { input.hostname.to_owned() },
        log_directory: pod_log_dir(input.pod_logs_dir, pod),
        dns: Some(input.dns),
        port_mappings: ports.flat_map(port_mappings).collect(),
        labels,
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        linux: SandboxLinux {
            cgroup_parent: input.cgroup_parent.to_owned(),
            security: sandbox_security(pod, input.users)?,
            sysctls: sysctls(pod),
            overhead: Some(input.overhead),
            resources: Some(input.resources),
        },
    })
}

/// The configuration of a container.
///
/// # Errors
/// Its command is too long.
pub fn container_config(input: ContainerInput<'_>) -> Result<ContainerConfig, TooLong> {
    let container = input.container;
    let (command, args) = command_and_args(container, &input.envs)?;
    let mut labels = pod_labels(input.pod);
    labels.insert(keys::CONTAINER_NAME_LABEL.to_owned(), container.name.clone());
    let mounts = mounts(container, input.volume_mounts, input.etc_hosts, input.termination_log);
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt: input.restart_count,
        image: ImageSpec {
            image: input.image_ref.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        },
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: input.envs,
        mounts,
        labels,
        annotations: container_annotations(input.pod, container, input.restart_count),
        log_path: format!("{}/{}.log", container.name, input.restart_count),
        terminal: Terminal {
            stdin: container.stdin.unwrap_or(false),
            stdin_once: container.stdin_once.unwrap_or(false),
            tty: container.tty.unwrap_or(false),
        },
        stop_signal: stop_signal(container, input.stop_signals),
        resources: input.resources,
        security: input.security,
        ..ContainerConfig::default()
    })
}

/// Directory of a pod's logs: `<podLogsDir>/<namespace>_<name>_<uid>`.
pub fn pod_log_dir(pod_logs_dir: &str, pod: &Pod) -> String {
    let key = pod.key();
    format!("{}/{}_{}_{}", pod_logs_dir.trim_end_matches('/'), key.namespace, key.name, pod.uid())
}

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let key = pod.key();
    [
        (keys::POD_NAME_LABEL, key.name.to_string()),
        (keys::POD_NAMESPACE_LABEL, key.namespace.to_string()),
        (keys::POD_UID_LABEL, pod.uid().to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect()
}

fn container_annotations(pod: &Pod, container: &Container, restart_count: u32) -> BTreeMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut annotations = vec![
        (keys::CONTAINER_HASH_ANNOTATION, format!("{:x}", container_hash(container))),
        (keys::CONTAINER_RESTART_COUNT_ANNOTATION, restart_count.to_string()),
        (keys::CONTAINER_TERMINATION_MESSAGE_PATH_ANNOTATION, text(&container.termination_message_path)),
        (keys::CONTAINER_TERMINATION_MESSAGE_POLICY_ANNOTATION, text(&container.termination_message_policy)),
    ];
    if let Some(secs) = pod.metadata.deletion_grace_period_seconds {
        annotations.push((keys::POD_DELETION_GRACE_PERIOD_ANNOTATION, secs.to_string()));
    }
    if let Some(secs) = pod.spec_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        annotations.push((keys::POD_TERMINATION_GRACE_PERIOD_ANNOTATION, secs.to_string()));
    }
    let pre_stop = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(json) = pre_stop.and_then(|handler| serde_json::to_string(handler).ok()) {
        annotations.push((keys::CONTAINER_PRE_STOP_HANDLER_ANNOTATION, json));
    }
    if let Some(place) = sidecar_place(pod, &container.name) {
        annotations.push((keys::SIDECAR_PLACE_ANNOTATION, place.to_string()));
    }
    let ports = container.ports.as_ref().filter(|ports| !ports.is_empty());
    if let Some(json) = ports.and_then(|ports| serde_json::to_string(ports).ok()) {
        annotations.push((keys::CONTAINER_PORTS_ANNOTATION, json));
    }
    annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Place of a sidecar among the pod's init containers; none for other containers.
fn sidecar_place(pod: &Pod, name: &str) -> Option<usize> {
    let is_sidecar = |c: &ContainerRef<'_>| c.kind == ContainerKind::Sidecar && c.spec.name == name;
    pod.container_refs().iter().position(is_sidecar)
}

/// Ports of a container, one per name, or per family, protocol and numbers where they have no name.
fn port_mappings(container: &Container) -> Vec<PortMapping> {
    let mut seen = std::collections::BTreeSet::new();
    let name = |port: &ContainerPort| match port.name.as_deref() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("{:?} {:?} {} {:?}", port.protocol, port.host_ip, port.container_port, port.host_port),
    };
    let ports = container.ports.iter().flatten().filter(|port| seen.insert(name(port)));
    ports
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => PortProtocol::Udp,
                Some("SCTP") => PortProtocol::Sctp,
                _ => PortProtocol::Tcp,
            },
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// Sysctls with the dots that the runtime expects: where the first separator is a slash, slashes and dots change places.
fn sysctls(pod: &Pod) -> BTreeMap<String, String> {
    let context = pod.spec_ref().and_then(|spec| spec.security_context.as_ref());
    let dotted = |name: &str| match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => {
            let swap = |c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    };
    let list = context.iter().flat_map(|context| context.sysctls.iter().flatten());
    list.map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone())).collect()
}

/// Volumes first, then the hosts file and the termination log, unless a volume already stands in their place.
fn mounts(
    container: &Container,
    mut mounts: Vec<Mount>,
    etc_hosts: Option<&str>,
    termination_log: Option<&str>,
) -> Vec<Mount> {
    let has_hosts = mounts.iter().any(|mount| mount.container_path == ETC_HOSTS);
    if let Some(host_path) = etc_hosts.filter(|_| !has_hosts) {
        mounts.push(file_mount(host_path, ETC_HOSTS));
    }
    let termination = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    if let (Some(host_path), Some(container_path)) = (termination_log, termination) {
        mounts.push(file_mount(host_path, container_path));
    }
    mounts
}

fn file_mount(host_path: &str, container_path: &str) -> Mount {
    Mount {
        host_path: host_path.to_owned(),
        container_path: container_path.to_owned(),
        selinux_relabel: true,
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::json;

    fn pod() -> Pod {
        let mut pod = pod_with(json!({
            "terminationGracePeriodSeconds": 30,
            "securityContext": {"sysctls": [{"name": "net/ipv4/conf/eth0.1/x", "value": "1"},
                {"name": "kernel.shm_rmid_forced", "value": "0"}]},
            "containers": [
                {"name": "c", "image": "busybox", "command": ["sh", "-c"], "args": ["echo $(A)"],
                 "workingDir": "/w", "tty": true, "stdin": true,
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                 "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}, "stopSignal": "SIGUSR1"},
                 "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
                    {"name": "http", "containerPort": 81},
                    {"containerPort": 53, "protocol": "UDP"}],
                 "volumeMounts": [
                    {"name": "data", "mountPath": "/data", "readOnly": true, "recursiveReadOnly": "IfPossible"},
                    {"name": "host", "mountPath": "rel", "mountPropagation": "HostToContainer"},
                    {"name": "data", "mountPath": "/sub", "subPath": "a"}]},
                {"name": "d", "ports": [{"name": "http", "containerPort": 90, "hostIP": "127.0.0.1"}]}]
        }));
        pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into_iter().collect());
        pod.metadata.annotations = Some([("note".to_owned(), "x".to_owned())].into_iter().collect());
        pod
    }

    fn container(pod: &Pod, volume_mounts: Vec<Mount>) -> ContainerConfig {
        container_config(ContainerInput {
            pod,
            container: &pod.spec.as_ref().unwrap().containers[0],
            restart_count: 3,
            stop_signals: StopSignals::OfContainers,
            image_ref: "sha256:1",
            envs: vec![KeyValue { key: "A".to_owned(), value: "1".to_owned() }],
            volume_mounts,
            etc_hosts: Some("/p/etc-hosts"),
            termination_log: Some("/p/containers/c/1234"),
            resources: LinuxResources::default(),
            security: SecurityContext::default(),
        })
        .unwrap()
    }

    #[test]
    fn a_sandbox_carries_the_pods_identity() {
        let pod = pod();
        let input = SandboxInput {
            pod: &pod,
            attempt: 2,
            hostname: "web",
            dns: DnsConfig::default(),
            pod_logs_dir: "/var/log/pods/",
            cgroup_parent: "/kubepods/poduid-1",
            resources: LinuxResources::default(),
            overhead: LinuxResources::default(),
            users: &PodUsers::OfHost,
        };
        let config = sandbox_config(input.clone()).unwrap();
        assert_eq!((config.name.as_str(), config.namespace.as_str(), config.attempt), ("web", "shop", 2));
        assert_eq!(config.log_directory, "/var/log/pods/shop_web_uid-1");
        let labels: Vec<_> = config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            labels,
            [
                "app=web",
                "io.kubernetes.pod.name=web",
                "io.kubernetes.pod.namespace=shop",
                "io.kubernetes.pod.uid=uid-1",
            ]
        );
        assert_eq!(config.annotations["note"], "x");
        let ports: Vec<_> = config
            .port_mappings
            .iter()
            .map(|port| (port.protocol, port.container_port, port.host_port, port.host_ip.as_str()))
            .collect();
        assert_eq!(
            ports,
            [
                (PortProtocol::Tcp, 80, 8080, ""),
                (PortProtocol::Udp, 53, 0, ""),
                (PortProtocol::Tcp, 90, 0, "127.0.0.1"),
            ]
        );
        assert_eq!(config.linux.cgroup_parent, "/kubepods/poduid-1");
        assert_eq!(config.linux.sysctls["net.ipv4.conf.eth0/1.x"], "1");
        assert_eq!(config.linux.sysctls["kernel.shm_rmid_forced"], "0");
        assert_eq!(config.hostname, "web");
        let host = pod_with(json!({"hostNetwork": true, "containers": []}));
        assert_eq!(sandbox_config(SandboxInput { pod: &host, ..input }).unwrap().hostname, "");
    }

    #[test]
    fn a_container_carries_what_a_restarted_agent_must_know() {
        let pod = pod();
        let config = container(&pod, Vec::new());
        let annotations: Vec<_> =
            config.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let hash = container_hash(&pod.spec.as_ref().unwrap().containers[0]);
        assert_eq!(
            annotations,
            [
                format!("io.kubernetes.container.hash={hash:x}"),
                "io.kubernetes.container.ports=[{\"containerPort\":80,\"hostPort\":8080,\"name\":\"http\",\
                 \"protocol\":\"TCP\"},{\"containerPort\":81,\"name\":\"http\"},{\"containerPort\":53,\"protocol\":\"UDP\"}]"
                    .to_owned(),
                "io.kubernetes.container.preStopHandler={\"exec\":{\"command\":[\"sleep\",\"1\"]}}".to_owned(),
                "io.kubernetes.container.restartCount=3".to_owned(),
                "io.kubernetes.container.terminationMessagePath=/dev/termination-log".to_owned(),
                "io.kubernetes.container.terminationMessagePolicy=File".to_owned(),
                "io.kubernetes.pod.terminationGracePeriod=30".to_owned(),
            ]
        );
        assert_eq!(config.labels["io.kubernetes.container.name"], "c");
        assert_eq!(config.labels.len(), 4);
        assert_eq!((config.log_path.as_str(), config.attempt), ("c/3.log", 3));
        assert_eq!(
            (config.image.image.as_str(), config.image.user_specified_image.as_str()),
            ("sha256:1", "busybox")
        );
        assert_eq!(
            (config.command, config.args),
            (vec!["sh".to_owned(), "-c".to_owned()], vec!["echo 1".to_owned()])
        );
        assert_eq!(config.terminal, Terminal { stdin: true, stdin_once: false, tty: true });
        assert_eq!(config.stop_signal, "SIGUSR1");
    }

    #[test]
    fn mounts_come_in_order_with_hosts_and_termination_file_last() {
        let volume = |path: &str| Mount { container_path: path.to_owned(), ..Mount::default() };
        let paths = |mounts: Vec<Mount>| -> Vec<(String, String)> {
            let config = container(&pod(), mounts);
            config.mounts.into_iter().map(|mount| (mount.container_path, mount.host_path)).collect()
        };
        let own = |path: &str, host: &str| (path.to_owned(), host.to_owned());
        let termination = own("/dev/termination-log", "/p/containers/c/1234");
        assert_eq!(
            paths(vec![volume("/data")]),
            [own("/data", ""), own("/etc/hosts", "/p/etc-hosts"), termination.clone()]
        );
        assert_eq!(paths(vec![volume("/etc/hosts")]), [own("/etc/hosts", ""), termination]);
    }
}
