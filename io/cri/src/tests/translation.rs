//! Whole requests as the runtime sees them, and whole replies as the agent sees them.

use std::collections::BTreeMap;

use core_types::runtime::*;
use core_types::{ContainerId, PodUid, SandboxId, WallTime};
use ports::ContainerRuntime;

use super::fake::{Bench, PATIENCE};
use crate::proto;

fn text(value: &str) -> String {
    value.to_owned()
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(text(key), text(value))])
}

fn resources() -> LinuxResources {
    LinuxResources {
        cpu_period_us: 100_000,
        cpu_quota_us: 50_000,
        cpu_shares: 512,
        memory_limit_bytes: 1 << 30,
        oom_score_adj: -997,
        cpuset_cpus: text("0-1"),
        cpuset_mems: text("0"),
        hugepage_limits: vec![HugepageLimit { page_size: text("2MB"), limit_bytes: 4 << 20 }],
        unified: map("memory.min", "1024"),
        memory_swap_limit_bytes: 2 << 30,
    }
}

fn wire_resources() -> proto::LinuxContainerResources {
    proto::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 1 << 30,
        oom_score_adj: -997,
        cpuset_cpus: text("0-1"),
        cpuset_mems: text("0"),
        hugepage_limits: vec![proto::HugepageLimit { page_size: text("2MB"), limit: 4 << 20 }],
        unified: map("memory.min", "1024"),
        memory_swap_limit_in_bytes: 2 << 30,
    }
}

fn security() -> SecurityContext {
    let range = |host_id| IdMapping { host_id, container_id: 0, length: 65536 };
    SecurityContext {
        capabilities: Capabilities { add: vec![text("NET_ADMIN")], drop: vec![text("ALL")] },
        privileged: true,
        namespaces: NamespaceOptions {
            network: NamespaceMode::Node,
            pid: NamespaceMode::Target,
            ipc: NamespaceMode::Pod,
            target_id: text("target"),
            user_namespace: Some(UserNamespace { uids: vec![range(65536)], gids: vec![range(131072)] }),
        },
        selinux: Some(SelinuxOptions {
            user: text("u"),
            role: text("r"),
            type_: text("t"),
            level: text("l"),
        }),
        run_as_user: Some(0),
        run_as_username: text("daemon"),
        run_as_group: Some(-1),
        readonly_rootfs: true,
        supplemental_groups: vec![1, 2],
        supplemental_groups_policy: SupplementalGroupsPolicy::Strict,
        no_new_privs: true,
        masked_paths: vec![text("/proc/kcore")],
        readonly_paths: vec![text("/proc/sys")],
        seccomp: Some(SeccompProfile::Localhost(text("/var/lib/kubelet/seccomp/p.json"))),
        apparmor: Some(SeccompProfile::Localhost(text("profile"))),
    }
}

fn sandbox_config() -> SandboxConfig {
    SandboxConfig {
        name: text("pod"),
        namespace: text("ns"),
        uid: Some(PodUid::from("uid-1")),
        attempt: 2,
        hostname: text("host"),
        log_directory: text("/var/log/pods/ns_pod_uid-1"),
        dns: Some(DnsConfig {
            servers: vec![text("10.0.0.10")],
            searches: vec![text("svc.local")],
            options: vec![text("ndots:5")],
        }),
        port_mappings: vec![PortMapping {
            protocol: PortProtocol::Sctp,
            container_port: 80,
            host_port: 8080,
            host_ip: text("127.0.0.1"),
        }],
        labels: map("l", "1"),
        annotations: map("a", "2"),
        linux: SandboxLinux {
            cgroup_parent: text("/kubepods/burstable/poduid-1"),
            security: security(),
            sysctls: map("kernel.shm_rmid_forced", "1"),
            overhead: Some(LinuxResources { cpu_shares: 2, ..Default::default() }),
            resources: Some(resources()),
        },
    }
}

fn wire_mappings(host_id: u32) -> Vec<proto::IdMapping> {
    vec![proto::IdMapping { host_id, container_id: 0, length: 65536 }]
}

fn wire_namespaces() -> proto::NamespaceOption {
    proto::NamespaceOption {
        network: proto::NamespaceMode::Node.into(),
        pid: proto::NamespaceMode::Target.into(),
        ipc: proto::NamespaceMode::Pod.into(),
        target_id: text("target"),
        userns_options: Some(proto::UserNamespace {
            mode: proto::NamespaceMode::Pod.into(),
            uids: wire_mappings(65536),
            gids: wire_mappings(131072),
        }),
    }
}

fn wire_profile(reference: &str) -> proto::SecurityProfile {
    proto::SecurityProfile {
        profile_type: proto::security_profile::ProfileType::Localhost.into(),
        localhost_ref: text(reference),
    }
}

fn wire_selinux() -> proto::SeLinuxOption {
    proto::SeLinuxOption { user: text("u"), role: text("r"), r#type: text("t"), level: text("l") }
}

#[allow(deprecated)]
fn wire_sandbox() -> proto::PodSandboxConfig {
    proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata {
            name: text("pod"),
            uid: text("uid-1"),
            namespace: text("ns"),
            attempt: 2,
        }),
        hostname: text("host"),
        log_directory: text("/var/log/pods/ns_pod_uid-1"),
        dns_config: Some(proto::DnsConfig {
            servers: vec![text("10.0.0.10")],
            searches: vec![text("svc.local")],
            options: vec![text("ndots:5")],
        }),
        port_mappings: vec![proto::PortMapping {
            protocol: proto::Protocol::Sctp.into(),
            container_port: 80,
            host_port: 8080,
            host_ip: text("127.0.0.1"),
        }],
        labels: map("l", "1"),
        annotations: map("a", "2"),
        linux: Some(proto::LinuxPodSandboxConfig {
            cgroup_parent: text("/kubepods/burstable/poduid-1"),
            security_context: Some(proto::LinuxSandboxSecurityContext {
                namespace_options: Some(wire_namespaces()),
                selinux_options: Some(wire_selinux()),
                run_as_user: Some(proto::Int64Value { value: 0 }),
                run_as_group: Some(proto::Int64Value { value: -1 }),
                readonly_rootfs: true,
                supplemental_groups: vec![1, 2],
                supplemental_groups_policy: proto::SupplementalGroupsPolicy::Strict.into(),
                privileged: true,
                seccomp: Some(wire_profile("/var/lib/kubelet/seccomp/p.json")),
                apparmor: Some(wire_profile("profile")),
                seccomp_profile_path: String::new(),
            }),
            sysctls: map("kernel.shm_rmid_forced", "1"),
            overhead: Some(proto::LinuxContainerResources { cpu_shares: 2, ..Default::default() }),
            resources: Some(wire_resources()),
        }),
        windows: None,
    }
}

#[tokio::test]
async fn a_sandbox_request_arrives_whole() {
    let bench = Bench::new(PATIENCE);
    let id = bench.client.run_sandbox(&sandbox_config(), "kata").await.unwrap();
    assert_eq!(id.as_str(), "sandbox");
    let seen = bench.fake.run_sandbox.lock().unwrap().clone().unwrap();
    assert_eq!(seen.runtime_handler, "kata");
    assert_eq!(*seen.config.unwrap(), wire_sandbox());
}

fn mounts() -> Vec<Mount> {
    let host = Mount {
        container_path: text("/data"),
        host_path: text("/srv"),
        readonly: true,
        recursive_read_only: true,
        selinux_relabel: true,
        propagation: MountPropagation::HostToContainer,
        ..Default::default()
    };
    let image = Mount {
        container_path: text("/model"),
        image: Some(ImageSpec { image: text("r/model:1"), ..Default::default() }),
        image_sub_path: text("weights"),
        propagation: MountPropagation::Bidirectional,
        ..Default::default()
    };
    vec![host, image]
}

fn wire_mounts() -> Vec<proto::Mount> {
    let host = proto::Mount {
        container_path: text("/data"),
        host_path: text("/srv"),
        readonly: true,
        recursive_read_only: true,
        selinux_relabel: true,
        propagation: proto::MountPropagation::PropagationHostToContainer.into(),
        ..Default::default()
    };
    let image = proto::Mount {
        container_path: text("/model"),
        image: Some(proto::ImageSpec { image: text("r/model:1"), ..Default::default() }),
        image_sub_path: text("weights"),
        propagation: proto::MountPropagation::PropagationBidirectional.into(),
        ..Default::default()
    };
    vec![host, image]
}

fn container_config() -> ContainerConfig {
    ContainerConfig {
        name: text("main"),
        attempt: 4,
        image: ImageSpec {
            image: text("sha256:1"),
            user_specified_image: text("r/i:1"),
            annotations: map("i", "3"),
            runtime_handler: text("kata"),
        },
        command: vec![text("/bin/sh")],
        args: vec![text("-c"), text("true")],
        working_dir: text("/w"),
        envs: vec![KeyValue { key: text("K"), value: text("ü=1") }],
        mounts: mounts(),
        devices: vec![Device {
            container_path: text("/dev/a"),
            host_path: text("/dev/b"),
            permissions: text("rw"),
        }],
        cdi_devices: vec![text("vendor.com/gpu=0")],
        labels: map("l", "1"),
        annotations: map("a", "2"),
        log_path: text("main/4.log"),
        terminal: Terminal { stdin: true, stdin_once: true, tty: true },
        stop_signal: "SIGRTMIN+1".to_owned(),
        resources: resources(),
        security: security(),
    }
}

#[allow(deprecated)]
fn wire_container() -> proto::ContainerConfig {
    let mapped = |mount| proto::Mount {
        uid_mappings: wire_mappings(65536),
        gid_mappings: wire_mappings(131072),
        ..mount
    };
    proto::ContainerConfig {
        metadata: Some(proto::ContainerMetadata { name: text("main"), attempt: 4 }),
        image: Some(proto::ImageSpec {
            image: text("sha256:1"),
            annotations: map("i", "3"),
            user_specified_image: text("r/i:1"),
            runtime_handler: text("kata"),
            image_ref: String::new(),
        }),
        command: vec![text("/bin/sh")],
        args: vec![text("-c"), text("true")],
        working_dir: text("/w"),
        envs: vec![proto::KeyValue { key: text("K"), value: "ü=1".as_bytes().to_vec() }],
        mounts: wire_mounts().into_iter().map(mapped).collect(),
        devices: vec![proto::Device {
            container_path: text("/dev/a"),
            host_path: text("/dev/b"),
            permissions: text("rw"),
        }],
        labels: map("l", "1"),
        annotations: map("a", "2"),
        log_path: text("main/4.log"),
        stdin: true,
        stdin_once: true,
        tty: true,
        linux: Some(proto::LinuxContainerConfig {
            resources: Some(wire_resources()),
            security_context: Some(proto::LinuxContainerSecurityContext {
                capabilities: Some(proto::Capability {
                    add_capabilities: vec![text("NET_ADMIN")],
                    drop_capabilities: vec![text("ALL")],
                    add_ambient_capabilities: vec![],
                }),
                privileged: true,
                namespace_options: Some(wire_namespaces()),
                selinux_options: Some(wire_selinux()),
                run_as_user: Some(proto::Int64Value { value: 0 }),
                run_as_group: Some(proto::Int64Value { value: -1 }),
                run_as_username: text("daemon"),
                readonly_rootfs: true,
                supplemental_groups: vec![1, 2],
                supplemental_groups_policy: proto::SupplementalGroupsPolicy::Strict.into(),
                no_new_privs: true,
                masked_paths: vec![text("/proc/kcore")],
                readonly_paths: vec![text("/proc/sys")],
                seccomp: Some(wire_profile("/var/lib/kubelet/seccomp/p.json")),
                apparmor: Some(wire_profile("profile")),
                apparmor_profile: text("localhost/profile"),
                seccomp_profile_path: String::new(),
            }),
        }),
        windows: None,
        cdi_devices: vec![proto::CdiDevice { name: text("vendor.com/gpu=0") }],
        stop_signal: proto::Signal::Sigrtminplus1.into(),
    }
}

#[tokio::test]
async fn a_container_request_arrives_whole() {
    let bench = Bench::new(PATIENCE);
    let sandbox = SandboxId::from("sandbox");
    let id = bench.client.create_container(&sandbox, &container_config(), &sandbox_config()).await.unwrap();
    assert_eq!(id.as_str(), "container");
    let seen = bench.fake.create_container.lock().unwrap().clone().unwrap();
    assert_eq!(seen.pod_sandbox_id, "sandbox");
    assert_eq!(*seen.config.unwrap(), wire_container());
    assert_eq!(*seen.sandbox_config.unwrap(), wire_sandbox());
}

#[tokio::test]
async fn a_pod_without_its_own_user_namespace_asks_for_the_hosts_by_name() {
    let bench = Bench::new(PATIENCE);
    bench.client.run_sandbox(&SandboxConfig::default(), "").await.unwrap();
    let seen = bench.fake.run_sandbox.lock().unwrap().clone().unwrap();
    let security = seen.config.unwrap().linux.unwrap().security_context.unwrap();
    assert_eq!(
        security.namespace_options.unwrap().userns_options.unwrap().mode(),
        proto::NamespaceMode::Node
    );
    assert_eq!((security.seccomp, security.run_as_user), (None, None));
}

fn wire_status() -> proto::ContainerStatus {
    proto::ContainerStatus {
        id: text("c"),
        metadata: Some(proto::ContainerMetadata { name: text("main"), attempt: 4 }),
        state: proto::ContainerState::ContainerExited.into(),
        created_at: 10,
        started_at: 20,
        finished_at: 30,
        exit_code: 137,
        image: Some(proto::ImageSpec { image: text("r/i:1"), ..Default::default() }),
        image_ref: text("r/i@sha256:1"),
        reason: text("OOMKilled"),
        message: text("words"),
        labels: map("l", "1"),
        annotations: map("a", "2"),
        mounts: wire_mounts(),
        log_path: text("/var/log/pods/p/main/4.log"),
        resources: Some(proto::ContainerResources { linux: Some(wire_resources()), windows: None }),
        image_id: text("sha256:1"),
        user: Some(proto::ContainerUser {
            linux: Some(proto::LinuxContainerUser { uid: 1000, gid: 1001, supplemental_groups: vec![7] }),
        }),
        stop_signal: proto::Signal::Sigusr1.into(),
    }
}

fn status() -> ContainerStatus {
    ContainerStatus {
        id: ContainerId::from("c"),
        name: text("main"),
        attempt: 4,
        state: ContainerState::Exited,
        created_at: WallTime::from_unix_nanos(10),
        started_at: WallTime::from_unix_nanos(20),
        finished_at: WallTime::from_unix_nanos(30),
        exit_code: 137,
        image: text("r/i:1"),
        image_ref: text("r/i@sha256:1"),
        image_id: text("sha256:1"),
        reason: text("OOMKilled"),
        message: text("words"),
        labels: map("l", "1"),
        annotations: map("a", "2"),
        mounts: mounts(),
        log_path: text("/var/log/pods/p/main/4.log"),
        resources: Some(resources()),
        process: ProcessFacts { user: Some((1000, 1001, vec![7])), stop_signal: text("SIGUSR1") },
    }
}

#[tokio::test]
async fn a_container_status_arrives_whole() {
    let bench = Bench::new(PATIENCE);
    let id = ContainerId::from("c");
    let reply = |status| proto::ContainerStatusResponse { status: Some(status), ..Default::default() };
    *bench.fake.container_status.lock().unwrap() = reply(wire_status());
    assert_eq!(bench.client.container_status(&id).await.unwrap(), status());
    let old =
        proto::ContainerStatus { image_id: String::new(), user: None, resources: None, ..wire_status() };
    *bench.fake.container_status.lock().unwrap() = reply(old);
    let process = ProcessFacts { user: None, ..status().process };
    let want = ContainerStatus { image_id: text("r/i@sha256:1"), process, resources: None, ..status() };
    assert_eq!(bench.client.container_status(&id).await.unwrap(), want, "as before CRI of Kubernetes 1.30");
}

#[tokio::test]
async fn a_sandbox_status_arrives_whole() {
    let bench = Bench::new(PATIENCE);
    let options = proto::NamespaceOption { network: proto::NamespaceMode::Node.into(), ..Default::default() };
    let wire = proto::PodSandboxStatus {
        id: text("s"),
        metadata: wire_sandbox().metadata,
        state: proto::PodSandboxState::SandboxNotready.into(),
        created_at: 10,
        network: Some(proto::PodSandboxNetworkStatus {
            ip: text("10.0.0.1"),
            additional_ips: vec![proto::PodIp { ip: text("fd00::1") }],
        }),
        linux: Some(proto::LinuxPodSandboxStatus {
            namespaces: Some(proto::Namespace { options: Some(options) }),
        }),
        labels: map("l", "1"),
        annotations: map("a", "2"),
        runtime_handler: text("kata"),
    };
    *bench.fake.sandbox_status.lock().unwrap() =
        proto::PodSandboxStatusResponse { status: Some(wire), ..Default::default() };
    let want = SandboxStatus {
        summary: SandboxSummary {
            id: SandboxId::from("s"),
            name: text("pod"),
            namespace: text("ns"),
            uid: PodUid::from("uid-1"),
            attempt: 2,
            state: SandboxState::NotReady,
            created_at: WallTime::from_unix_nanos(10),
            labels: map("l", "1"),
            annotations: map("a", "2"),
            runtime_handler: text("kata"),
        },
        ips: vec![text("10.0.0.1"), text("fd00::1")],
        host_network: true,
    };
    assert_eq!(bench.client.sandbox_status(&SandboxId::from("s")).await.unwrap(), want);
}

#[tokio::test]
async fn runtime_status_shows_conditions_and_handler_features() {
    let bench = Bench::new(PATIENCE);
    let condition = |kind: &str, status| proto::RuntimeCondition {
        r#type: text(kind),
        status,
        reason: text("why"),
        message: text("words"),
    };
    *bench.fake.status.lock().unwrap() = proto::StatusResponse {
        status: Some(proto::RuntimeStatus {
            conditions: vec![
                condition("ContainerdHasNoDeprecationWarnings", true),
                condition("NetworkReady", false),
                condition("RuntimeReady", true),
            ],
        }),
        runtime_handlers: vec![
            proto::RuntimeHandler { name: String::new(), features: None },
            proto::RuntimeHandler {
                name: text("runc"),
                features: Some(proto::RuntimeHandlerFeatures {
                    recursive_read_only_mounts: true,
                    user_namespaces: true,
                }),
            },
        ],
        features: Some(proto::RuntimeFeatures { supplemental_groups_policy: true, ..Default::default() }),
        ..Default::default()
    };
    let read = bench.client.status().await.unwrap();
    assert!(read.runtime_ready.ok && !read.network_ready.ok && read.supplemental_groups_policy);
    assert_eq!(read.network_ready.message, "words");
    assert_eq!(read.handlers[0], RuntimeHandler::default());
    assert!(read.handlers[1].recursive_read_only_mounts && read.handlers[1].user_namespaces);
}
