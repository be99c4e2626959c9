//! Security contexts (CONTRACT 3.21, 3.22).

use core_types::runtime::{
    Capabilities, IdMapping, NamespaceMode, NamespaceOptions, SeccompProfile, SecurityContext,
    SelinuxOptions, SupplementalGroupsPolicy, UserNamespace,
};

use crate::proto;
use crate::proto::security_profile::ProfileType;

/// What applies to the sandbox container and the pod's namespaces.
pub(crate) fn of_sandbox(security: &SecurityContext) -> proto::LinuxSandboxSecurityContext {
    proto::LinuxSandboxSecurityContext {
        namespace_options: Some(namespace_options(&security.namespaces)),
        selinux_options: security.selinux.as_ref().map(selinux_options),
        run_as_user: security.run_as_user.map(int64),
        run_as_group: security.run_as_group.map(int64),
        readonly_rootfs: security.readonly_rootfs,
        supplemental_groups: security.supplemental_groups.clone(),
        supplemental_groups_policy: groups_policy(security.supplemental_groups_policy).into(),
        privileged: security.privileged,
        seccomp: security.seccomp.as_ref().map(profile),
        apparmor: security.apparmor.as_ref().map(profile),
        ..Default::default()
    }
}

/// What applies to one container.
pub(crate) fn of_container(security: &SecurityContext) -> proto::LinuxContainerSecurityContext {
    #[allow(
        deprecated,
        reason = "runtimes of before the `apparmor` field read the old one; upstream fills both"
    )]
    proto::LinuxContainerSecurityContext {
        capabilities: capabilities(&security.capabilities),
        privileged: security.privileged,
        namespace_options: Some(namespace_options(&security.namespaces)),
        selinux_options: security.selinux.as_ref().map(selinux_options),
        run_as_user: security.run_as_user.map(int64),
        run_as_group: security.run_as_group.map(int64),
        run_as_username: security.run_as_username.clone(),
        readonly_rootfs: security.readonly_rootfs,
        supplemental_groups: security.supplemental_groups.clone(),
        supplemental_groups_policy: groups_policy(security.supplemental_groups_policy).into(),
        no_new_privs: security.no_new_privs,
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.readonly_paths.clone(),
        seccomp: security.seccomp.as_ref().map(profile),
        apparmor: security.apparmor.as_ref().map(profile),
        apparmor_profile: security.apparmor.as_ref().map(old_apparmor_profile).unwrap_or_default(),
        ..Default::default()
    }
}

fn int64(value: i64) -> proto::Int64Value {
    proto::Int64Value { value }
}

fn capabilities(capabilities: &Capabilities) -> Option<proto::Capability> {
    let given = !(capabilities.add.is_empty() && capabilities.drop.is_empty());
    given.then(|| proto::Capability {
        add_capabilities: capabilities.add.clone(),
        drop_capabilities: capabilities.drop.clone(),
        add_ambient_capabilities: Vec::new(),
    })
}

fn namespace_options(options: &NamespaceOptions) -> proto::NamespaceOption {
    proto::NamespaceOption {
        network: namespace_mode(options.network).into(),
        pid: namespace_mode(options.pid).into(),
        ipc: namespace_mode(options.ipc).into(),
        target_id: options.target_id.clone(),
        userns_options: Some(user_namespace(options.user_namespace.as_ref())),
    }
}

fn namespace_mode(mode: NamespaceMode) -> proto::NamespaceMode {
    match mode {
        NamespaceMode::Pod => proto::NamespaceMode::Pod,
        NamespaceMode::Container => proto::NamespaceMode::Container,
        NamespaceMode::Node => proto::NamespaceMode::Node,
        NamespaceMode::Target => proto::NamespaceMode::Target,
    }
}

fn user_namespace(own: Option<&UserNamespace>) -> proto::UserNamespace {
    match own {
        Some(own) => proto::UserNamespace {
            mode: proto::NamespaceMode::Pod.into(),
            uids: id_mappings(&own.uids),
            gids: id_mappings(&own.gids),
        },
        None => proto::UserNamespace { mode: proto::NamespaceMode::Node.into(), uids: vec![], gids: vec![] },
    }
}

/// Ranges of a user namespace.
pub(crate) fn id_mappings(mappings: &[IdMapping]) -> Vec<proto::IdMapping> {
    let one = |range: &IdMapping| proto::IdMapping {
        host_id: range.host_id,
        container_id: range.container_id,
        length: range.length,
    };
    mappings.iter().map(one).collect()
}

fn selinux_options(options: &SelinuxOptions) -> proto::SeLinuxOption {
    proto::SeLinuxOption {
        user: options.user.clone(),
        role: options.role.clone(),
        r#type: options.type_.clone(),
        level: options.level.clone(),
    }
}

fn groups_policy(policy: SupplementalGroupsPolicy) -> proto::SupplementalGroupsPolicy {
    match policy {
        SupplementalGroupsPolicy::Merge => proto::SupplementalGroupsPolicy::Merge,
        SupplementalGroupsPolicy::Strict => proto::SupplementalGroupsPolicy::Strict,
    }
}

fn profile(profile: &SeccompProfile) -> proto::SecurityProfile {
    let (profile_type, localhost_ref) = match profile {
        SeccompProfile::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
        SeccompProfile::Unconfined => (ProfileType::Unconfined, String::new()),
        SeccompProfile::Localhost(reference) => (ProfileType::Localhost, reference.clone()),
    };
    proto::SecurityProfile { profile_type: profile_type.into(), localhost_ref }
}

/// The annotation form that AppArmor profiles had before Kubernetes 1.30.
fn old_apparmor_profile(profile: &SeccompProfile) -> String {
    match profile {
        SeccompProfile::RuntimeDefault => "runtime/default".to_owned(),
        SeccompProfile::Unconfined => "unconfined".to_owned(),
        SeccompProfile::Localhost(name) => format!("localhost/{name}"),
    }
}
