//! Sandboxes, containers, images and resources.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::PodUid;
use core_types::keys::POD_UID_LABEL;
use core_types::runtime::{
    ContainerConfig, Device, DnsConfig, HugepageLimit, ImageAuth, ImageSpec, KeyValue, LinuxResources, Mount,
    MountPropagation, PortMapping, PortProtocol, SandboxConfig, UserNamespace,
};

use super::security;
use crate::proto;

/// CRI's time limits are whole seconds. Rounds up, because zero means "no limit" to a runtime.
pub(crate) fn whole_seconds(duration: Duration) -> i64 {
    let round_up = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(round_up)).unwrap_or(i64::MAX)
}

/// The label selector that picks one pod's sandboxes and containers; empty for all.
pub(crate) fn of_pod(uid: Option<&PodUid>) -> BTreeMap<String, String> {
    uid.map(|uid| (POD_UID_LABEL.to_owned(), uid.to_string())).into_iter().collect()
}

/// A sandbox.
pub(crate) fn sandbox_config(config: &SandboxConfig) -> proto::PodSandboxConfig {
    proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata {
            name: config.name.clone(),
            uid: config.uid.as_ref().map(ToString::to_string).unwrap_or_default(),
            namespace: config.namespace.clone(),
            attempt: config.attempt,
        }),
        hostname: config.hostname.clone(),
        log_directory: config.log_directory.clone(),
        dns_config: config.dns.as_ref().map(dns_config),
        port_mappings: config.port_mappings.iter().map(port_mapping).collect(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        linux: Some(proto::LinuxPodSandboxConfig {
            cgroup_parent: config.linux.cgroup_parent.clone(),
            security_context: Some(security::of_sandbox(&config.linux.security)),
            sysctls: config.linux.sysctls.clone(),
            overhead: config.linux.overhead.as_ref().map(linux_resources),
            resources: config.linux.resources.as_ref().map(linux_resources),
        }),
        windows: None,
    }
}

fn dns_config(dns: &DnsConfig) -> proto::DnsConfig {
    proto::DnsConfig {
        servers: dns.servers.clone(),
        searches: dns.searches.clone(),
        options: dns.options.clone(),
    }
}

fn port_mapping(port: &PortMapping) -> proto::PortMapping {
    let protocol = match port.protocol {
        PortProtocol::Tcp => proto::Protocol::Tcp,
        PortProtocol::Udp => proto::Protocol::Udp,
        PortProtocol::Sctp => proto::Protocol::Sctp,
    };
    proto::PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port,
        host_port: port.host_port,
        host_ip: port.host_ip.clone(),
    }
}

/// A container.
pub(crate) fn container_config(config: &ContainerConfig) -> proto::ContainerConfig {
    let user_namespace = config.security.namespaces.user_namespace.as_ref();
    proto::ContainerConfig {
        metadata: Some(proto::ContainerMetadata { name: config.name.clone(), attempt: config.attempt }),
        image: Some(image_spec(&config.image)),
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        envs: config.envs.iter().map(env).collect(),
        mounts: config.mounts.iter().map(|one| mount(one, user_namespace)).collect(),
        devices: config.devices.iter().map(device).collect(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        log_path: config.log_path.clone(),
        stdin: config.terminal.stdin,
        stdin_once: config.terminal.stdin_once,
        tty: config.terminal.tty,
        linux: Some(proto::LinuxContainerConfig {
            resources: Some(linux_resources(&config.resources)),
            security_context: Some(security::of_container(&config.security)),
        }),
        windows: None,
        cdi_devices: config.cdi_devices.iter().map(|name| proto::CdiDevice { name: name.clone() }).collect(),
        stop_signal: stop_signal(&config.stop_signal).into(),
    }
}

/// The signal by its Kubernetes name; the image decides when there is none.
fn stop_signal(name: &str) -> proto::Signal {
    let name = format!("SIGNAL_{}", name.replace('+', "PLUS").replace('-', "MINUS"));
    proto::Signal::from_str_name(&name).unwrap_or(proto::Signal::RuntimeDefault)
}

fn env(env: &KeyValue) -> proto::KeyValue {
    proto::KeyValue { key: env.key.clone(), value: env.value.clone().into_bytes() }
}

/// Mounts of a pod with its own user namespace carry the pod's mapping (CONTRACT 3.22).
fn mount(mount: &Mount, user_namespace: Option<&UserNamespace>) -> proto::Mount {
    let propagation = match mount.propagation {
        MountPropagation::Private => proto::MountPropagation::PropagationPrivate,
        MountPropagation::HostToContainer => proto::MountPropagation::PropagationHostToContainer,
        MountPropagation::Bidirectional => proto::MountPropagation::PropagationBidirectional,
    };
    proto::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.readonly,
        selinux_relabel: mount.selinux_relabel,
        propagation: propagation.into(),
        uid_mappings: user_namespace.map(|own| security::id_mappings(&own.uids)).unwrap_or_default(),
        gid_mappings: user_namespace.map(|own| security::id_mappings(&own.gids)).unwrap_or_default(),
        recursive_read_only: mount.recursive_read_only,
        image: mount.image.as_ref().map(image_spec),
        image_sub_path: mount.image_sub_path.clone(),
        mount_options: Vec::new(),
    }
}

fn device(device: &Device) -> proto::Device {
    proto::Device {
        container_path: device.container_path.clone(),
        host_path: device.host_path.clone(),
        permissions: device.permissions.clone(),
    }
}

/// An image.
pub(crate) fn image_spec(image: &ImageSpec) -> proto::ImageSpec {
    proto::ImageSpec {
        image: image.image.clone(),
        annotations: image.annotations.clone(),
        user_specified_image: image.user_specified_image.clone(),
        runtime_handler: image.runtime_handler.clone(),
        image_ref: String::new(),
    }
}

/// Credentials of a pull.
pub(crate) fn auth_config(auth: &ImageAuth) -> proto::AuthConfig {
    proto::AuthConfig {
        username: auth.username.clone(),
        password: auth.password.clone(),
        auth: auth.auth.clone(),
        server_address: auth.server_address.clone(),
        identity_token: auth.identity_token.clone(),
        registry_token: auth.registry_token.clone(),
    }
}

/// Cgroup resources.
pub(crate) fn linux_resources(resources: &LinuxResources) -> proto::LinuxContainerResources {
    proto::LinuxContainerResources {
        cpu_period: resources.cpu_period_us,
        cpu_quota: resources.cpu_quota_us,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: resources.hugepage_limits.iter().map(hugepage_limit).collect(),
        unified: resources.unified.clone(),
        memory_swap_limit_in_bytes: resources.memory_swap_limit_bytes,
    }
}

fn hugepage_limit(limit: &HugepageLimit) -> proto::HugepageLimit {
    proto::HugepageLimit { page_size: limit.page_size.clone(), limit: limit.limit_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_rounded_up_to_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(30)), 30);
        assert_eq!(whole_seconds(Duration::MAX), i64::MAX);
    }
}
