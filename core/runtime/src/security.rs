//! Security of sandboxes and containers: the pod's and the container's `securityContext` in CRI's terms (CONTRACT 3.21).
//!
//! The container's settings win over the pod's. A pod that asks for a user namespace of its own must not run without.

use core_types::api::{Container, Pod, PodSecurityContext, SecurityContext as ContainerContext};
use core_types::runtime::{
    Capabilities, Image, NamespaceMode, NamespaceOptions, SeccompProfile, SecurityContext, SelinuxOptions,
    SupplementalGroupsPolicy,
};
use core_types::{ContainerId, PodExt, keys};
use k8s_openapi::api::core::v1::{AppArmorProfile, SELinuxOptions, SeccompProfile as ApiSeccompProfile};

use crate::text::pod_text;
use crate::user_namespaces::PodUsers;

/// Largest user ID.
const MAX_UID: i64 = i32::MAX as i64;

/// Paths of `/proc` and `/sys` that containers do not see.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths of `/proc` that containers cannot write to.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the node adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSecurity {
    /// `seccompDefault`: containers without a profile get the runtime's.
    pub seccomp_default: bool,
    /// Directory of `Localhost` seccomp profiles.
    pub seccomp_root: String,
    /// `/sys/devices/system/cpu/cpu<n>/thermal_throttle` of every CPU that has it: masked too.
    pub thermal_throttle_paths: Vec<String>,
}

/// The user that an image names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUser {
    /// By number. Root where the image names none.
    Uid(i64),
    /// By name.
    Name(String),
}

impl ImageUser {
    /// The user of an image.
    pub fn of(image: &Image) -> Self {
        match (image.uid, image.username.as_str()) {
            (Some(uid), _) => Self::Uid(uid),
            (None, "") => Self::Uid(0),
            (None, name) => Self::Name(name.to_owned()),
        }
    }
}

/// Why a pod or container cannot run with the security it asks for. The text becomes the message of
/// `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// `runAsUser: 0` and `runAsNonRoot`.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunsAsRoot {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
    /// The image runs as root and the pod says `runAsNonRoot`.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageRunsAsRoot {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
    /// The image's user is a name, which cannot be checked.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root \
         (pod: {pod:?}, container: {container})"
    )]
    ImageUserNotNumeric {
        /// User.
        user: String,
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
    /// The image's user is out of range.
    #[error(
        "container has runAsNonRoot and image has an invalid user id ({uid}). (Must be 1-({MAX_UID})) \
         (pod: {pod:?}, container: {container})"
    )]
    ImageUserInvalid {
        /// User.
        uid: i64,
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
    /// A `Localhost` seccomp profile without a file.
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    SeccompWithoutFile,
    /// A `Localhost` AppArmor profile without a name.
    #[error("missing localhost apparmor profile name")]
    AppArmorWithoutName,
    /// An AppArmor profile of unknown type.
    #[error("unknown apparmor profile type: {0:?}")]
    AppArmorType(String),
    /// A policy that does not exist.
    #[error("unsupported supplementalGroupsPolicy: {0}")]
    GroupsPolicy(String),
    /// `hostUsers: false`.
    #[error(
        "the pod asks for a user namespace of its own (hostUsers: false), and none was made for it; it cannot start"
    )]
    UserNamespace,
}

/// Security of the pod's sandbox.
pub fn sandbox_security(pod: &Pod, users: &PodUsers) -> Result<SecurityContext, SecurityError> {
    let context = pod_context(pod);
    let privileged = pod.container_refs().iter().any(|container| {
        let context = container.spec.security_context.as_ref();
        context.and_then(|context| context.privileged).unwrap_or(false)
    });
    Ok(SecurityContext {
        privileged,
        namespaces: namespaces(pod, users)?,
        selinux: context.se_linux_options.as_ref().map(selinux),
        run_as_user: context.run_as_user,
        run_as_group: context.run_as_group,
        supplemental_groups: groups(&context),
        supplemental_groups_policy: groups_policy(&context)?,
        // The pause process needs no more than the default profile, whatever the containers have.
        seccomp: Some(SeccompProfile::RuntimeDefault),
        ..SecurityContext::default()
    })
}

/// Security of one container.
pub fn container_security(
    pod: &Pod,
    container: &Container,
    image_user: &ImageUser,
    users: &PodUsers,
    node: &NodeSecurity,
) -> Result<SecurityContext, SecurityError> {
    let of_pod = pod_context(pod);
    let none = ContainerContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    check_non_root(pod, container, image_user)?;
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    let (run_as_user, run_as_username) = match (run_as_user, image_user) {
        (Some(uid), _) => (Some(uid), String::new()),
        (None, ImageUser::Uid(uid)) => (Some(*uid), String::new()),
        (None, ImageUser::Name(name)) => (None, name.clone()),
    };
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |defaults: &[&str]| defaults.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let (masked_paths, readonly_paths) = if unmasked {
        (Vec::new(), Vec::new())
    } else {
        let mut masked = paths(&MASKED_PATHS);
        masked.extend(node.thermal_throttle_paths.iter().cloned());
        (masked, paths(&READONLY_PATHS))
    };
    let capabilities = own.capabilities.as_ref();
    Ok(SecurityContext {
        capabilities: Capabilities {
            add: capabilities.and_then(|capabilities| capabilities.add.clone()).unwrap_or_default(),
            drop: capabilities.and_then(|capabilities| capabilities.drop.clone()).unwrap_or_default(),
        },
        privileged: own.privileged.unwrap_or(false),
        namespaces: namespaces(pod, users)?,
        selinux: own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref()).map(selinux),
        run_as_user,
        run_as_username,
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod)?,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths,
        readonly_paths,
        seccomp: Some(seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()), node)?),
        apparmor: apparmor(pod, container)?,
    })
}

fn pod_context(pod: &Pod) -> PodSecurityContext {
    pod.spec_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default()
}

fn check_non_root(pod: &Pod, container: &Container, image_user: &ImageUser) -> Result<(), SecurityError> {
    let own = container.security_context.as_ref();
    let of_pod = pod_context(pod);
    if !own.and_then(|own| own.run_as_non_root).or(of_pod.run_as_non_root).unwrap_or(false) {
        return Ok(());
    }
    let (pod, container) = (pod_text(pod), container.name.clone());
    match (own.and_then(|own| own.run_as_user).or(of_pod.run_as_user), image_user) {
        (Some(0), _) => Err(SecurityError::RunsAsRoot { pod, container }),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Name(user)) => {
            Err(SecurityError::ImageUserNotNumeric { user: user.clone(), pod, container })
        }
        (None, ImageUser::Uid(0)) => Err(SecurityError::ImageRunsAsRoot { pod, container }),
        (None, ImageUser::Uid(uid)) if !(0..=MAX_UID).contains(uid) => {
            Err(SecurityError::ImageUserInvalid { uid: *uid, pod, container })
        }
        (None, ImageUser::Uid(_)) => Ok(()),
    }
}

/// Whose processes an ephemeral container sees beside its own (`targetContainerName`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinedProcesses<'a> {
    /// Nobody's.
    None,
    /// Those of this container.
    Of(&'a ContainerId),
}

impl JoinedProcesses<'_> {
    /// Has the container see the processes of its target, unless it shares those of the pod or the host anyway.
    pub fn apply(&self, context: &mut SecurityContext) {
        if let Self::Of(target) = self
            && context.namespaces.pid == NamespaceMode::Container
        {
            context.namespaces.pid = NamespaceMode::Target;
            context.namespaces.target_id = target.to_string();
        }
    }
}

fn namespaces(pod: &Pod, users: &PodUsers) -> Result<NamespaceOptions, SecurityError> {
    let spec = pod.spec_ref();
    let is_set = |value: Option<Option<bool>>| value.flatten().unwrap_or(false);
    let user_namespace = match (spec.and_then(|spec| spec.host_users), users) {
        (Some(false), PodUsers::OfHost) => return Err(SecurityError::UserNamespace),
        (Some(false), PodUsers::Own(own)) => Some(own.clone()),
        _ => None,
    };
    let node_or_pod = |is_host: bool| if is_host { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = if is_set(spec.map(|spec| spec.host_pid)) {
        NamespaceMode::Node
    } else if is_set(spec.map(|spec| spec.share_process_namespace)) {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    Ok(NamespaceOptions {
        network: node_or_pod(pod.is_host_network()),
        pid,
        ipc: node_or_pod(is_set(spec.map(|spec| spec.host_ipc))),
        user_namespace,
        ..NamespaceOptions::default()
    })
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.fs_group.into_iter().chain(context.supplemental_groups.iter().flatten().copied()).collect()
}

fn groups_policy(context: &PodSecurityContext) -> Result<SupplementalGroupsPolicy, SecurityError> {
    match context.supplemental_groups_policy.as_deref() {
        None | Some("Merge") => Ok(SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(SupplementalGroupsPolicy::Strict),
        Some(other) => Err(SecurityError::GroupsPolicy(other.to_owned())),
    }
}

fn selinux(options: &SELinuxOptions) -> SelinuxOptions {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    SelinuxOptions {
        user: text(&options.user),
        role: text(&options.role),
        type_: text(&options.type_),
        level: text(&options.level),
    }
}

fn seccomp(
    profile: Option<&ApiSeccompProfile>,
    node: &NodeSecurity,
) -> Result<SeccompProfile, SecurityError> {
    let Some(profile) = profile else {
        let default = node.seccomp_default;
        return Ok(if default { SeccompProfile::RuntimeDefault } else { SeccompProfile::Unconfined });
    };
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(SeccompProfile::RuntimeDefault),
        "Localhost" => {
            let file = profile.localhost_profile.as_deref().filter(|file| !file.is_empty());
            let file = file.ok_or(SecurityError::SeccompWithoutFile)?;
            let root = node.seccomp_root.trim_end_matches('/');
            Ok(SeccompProfile::Localhost(format!("{root}/{}", file.trim_start_matches('/'))))
        }
        _ => Ok(SeccompProfile::Unconfined),
    }
}

fn apparmor(pod: &Pod, container: &Container) -> Result<Option<SeccompProfile>, SecurityError> {
    let own = container.security_context.as_ref().and_then(|own| own.app_armor_profile.clone());
    let annotation = || {
        let value = pod.annotation(&format!("{}{}", keys::APPARMOR_ANNOTATION_PREFIX, container.name))?;
        let (type_, name) = match (value, value.strip_prefix("localhost/")) {
            ("runtime/default", _) => ("RuntimeDefault", None),
            ("unconfined", _) => ("Unconfined", None),
            (_, Some(name)) => ("Localhost", Some(name.to_owned())),
            _ => return None,
        };
        Some(AppArmorProfile { type_: type_.to_owned(), localhost_profile: name })
    };
    let Some(profile) = own.or_else(annotation).or_else(|| pod_context(pod).app_armor_profile) else {
        return Ok(None);
    };
    match (profile.type_.as_str(), profile.localhost_profile) {
        ("RuntimeDefault", _) => Ok(Some(SeccompProfile::RuntimeDefault)),
        ("Unconfined", _) => Ok(Some(SeccompProfile::Unconfined)),
        ("Localhost", Some(name)) if !name.is_empty() => Ok(Some(SeccompProfile::Localhost(name))),
        ("Localhost", _) => Err(SecurityError::AppArmorWithoutName),
        (other, _) => Err(SecurityError::AppArmorType(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use core_types::runtime::{IdMapping, UserNamespace};
    use serde_json::{Value, json};

    fn security(of_pod: Value, own: Value, user: ImageUser) -> Result<SecurityContext, SecurityError> {
        let pod = pod_with(
            json!({"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}),
        );
        let node =
            NodeSecurity { seccomp_root: "/var/lib/kubelet/seccomp/".to_owned(), ..Default::default() };
        container_security(&pod, &pod.spec.as_ref().unwrap().containers[0], &user, &PodUsers::OfHost, &node)
    }

    #[test]
    fn the_container_wins_over_the_pod_over_the_image() {
        for (of_pod, own, user, uid, name) in [
            (json!({}), json!({}), ImageUser::Uid(7), Some(7), ""),
            (json!({}), json!({}), ImageUser::Name("nginx".to_owned()), None, "nginx"),
            (json!({"runAsUser": 1}), json!({}), ImageUser::Name("nginx".to_owned()), Some(1), ""),
            (json!({"runAsUser": 1}), json!({"runAsUser": 2}), ImageUser::Uid(7), Some(2), ""),
        ] {
            let context = security(of_pod, own, user).unwrap();
            assert_eq!((context.run_as_user, context.run_as_username.as_str()), (uid, name));
        }
        assert_eq!(ImageUser::of(&Image::default()), ImageUser::Uid(0));
    }

    #[test]
    fn run_as_non_root_is_checked_against_spec_and_image() {
        let non_root = json!({"runAsNonRoot": true});
        let end = "(pod: \"web_shop(uid-1)\", container: c)";
        for (own, user, text) in [
            (json!({"runAsUser": 0}), ImageUser::Uid(7), "container's runAsUser breaks non-root policy"),
            (json!({}), ImageUser::Uid(0), "container has runAsNonRoot and image will run as root"),
            (
                json!({}),
                ImageUser::Name("nginx".to_owned()),
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root",
            ),
            (
                json!({}),
                ImageUser::Uid(-1),
                "container has runAsNonRoot and image has an invalid user id (-1). (Must be 1-(2147483647))",
            ),
        ] {
            let error = security(non_root.clone(), own, user).unwrap_err();
            assert_eq!(error.to_string(), format!("{text} {end}"));
        }
        assert!(security(non_root.clone(), json!({}), ImageUser::Uid(5)).is_ok());
        assert!(security(non_root.clone(), json!({"runAsUser": 5}), ImageUser::Uid(0)).is_ok());
        assert!(security(non_root, json!({"runAsNonRoot": false}), ImageUser::Uid(0)).is_ok());
    }

    #[test]
    fn privileges_capabilities_and_paths_follow_the_container() {
        let user = || ImageUser::Uid(0);
        let plain = security(json!({}), json!({}), user()).unwrap();
        assert!(!plain.privileged && !plain.no_new_privs && !plain.readonly_rootfs);
        assert_eq!(plain.masked_paths.len(), 12);
        assert_eq!(plain.readonly_paths, READONLY_PATHS);
        let full = security(
            json!({"fsGroup": 5, "supplementalGroups": [6, 7], "supplementalGroupsPolicy": "Strict",
                "seLinuxOptions": {"level": "s0"}}),
            json!({"privileged": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "procMount": "Unmasked", "runAsGroup": 3,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}),
            user(),
        )
        .unwrap();
        assert!(full.privileged && full.no_new_privs && full.readonly_rootfs);
        assert_eq!(
            (full.capabilities.add, full.capabilities.drop),
            (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()])
        );
        assert!(full.masked_paths.is_empty() && full.readonly_paths.is_empty());
        assert_eq!(full.supplemental_groups, [5, 6, 7]);
        assert_eq!(full.supplemental_groups_policy, SupplementalGroupsPolicy::Strict);
        assert_eq!((full.run_as_group, full.selinux.unwrap().level), (Some(3), "s0".to_owned()));
    }

    #[test]
    fn profiles_are_chosen_container_first() {
        let seccomp = |of_pod: Value, own: Value| security(of_pod, own, ImageUser::Uid(0)).map(|c| c.seccomp);
        let default = json!({"seccompProfile": {"type": "RuntimeDefault"}});
        let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}});
        assert_eq!(seccomp(json!({}), json!({})), Ok(Some(SeccompProfile::Unconfined)));
        assert_eq!(seccomp(default.clone(), json!({})), Ok(Some(SeccompProfile::RuntimeDefault)));
        let path = SeccompProfile::Localhost("/var/lib/kubelet/seccomp/a/b.json".to_owned());
        assert_eq!(seccomp(default, local), Ok(Some(path)));
        let empty = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": ""}});
        assert_eq!(seccomp(json!({}), empty), Err(SecurityError::SeccompWithoutFile));
        let apparmor = |own: Value| security(json!({}), own, ImageUser::Uid(0)).map(|c| c.apparmor);
        let named = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}});
        assert_eq!(apparmor(named), Ok(Some(SeccompProfile::Localhost("p".to_owned()))));
        let unnamed = json!({"appArmorProfile": {"type": "Localhost"}});
        assert_eq!(apparmor(unnamed), Err(SecurityError::AppArmorWithoutName));
        let mut pod = pod_with(json!({"containers": [{"name": "c"}]}));
        let key = "container.apparmor.security.beta.kubernetes.io/c".to_owned();
        pod.metadata.annotations = Some([(key, "localhost/x".to_owned())].into_iter().collect());
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        let context = container_security(
            &pod,
            &container,
            &ImageUser::Uid(0),
            &PodUsers::OfHost,
            &NodeSecurity { seccomp_default: true, ..Default::default() },
        )
        .unwrap();
        assert_eq!(context.apparmor, Some(SeccompProfile::Localhost("x".to_owned())));
        assert_eq!(context.seccomp, Some(SeccompProfile::RuntimeDefault));
    }

    #[test]
    fn namespaces_follow_the_pod() {
        use NamespaceMode::{Container, Node, Pod};
        for (spec, network, pid, ipc) in [
            (json!({}), Pod, Container, Pod),
            (json!({"hostNetwork": true, "hostIPC": true, "hostPID": true}), Node, Node, Node),
            (json!({"shareProcessNamespace": true}), Pod, Pod, Pod),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([{"name": "c", "securityContext": {"privileged": true}}]);
            let context = sandbox_security(&pod_with(spec), &PodUsers::OfHost).unwrap();
            assert_eq!(context.namespaces.user_namespace, None);
            let options = &context.namespaces;
            assert_eq!((options.network, options.pid, options.ipc), (network, pid, ipc));
            assert!(context.privileged);
            assert_eq!(context.seccomp, Some(SeccompProfile::RuntimeDefault));
        }
        let pod = pod_with(json!({"hostUsers": false, "containers": []}));
        assert_eq!(sandbox_security(&pod, &PodUsers::OfHost), Err(SecurityError::UserNamespace));
        let mapping = IdMapping { host_id: 65536, container_id: 0, length: 65536 };
        let own = UserNamespace { uids: vec![mapping], gids: vec![mapping] };
        let users = PodUsers::Own(own.clone());
        let context = sandbox_security(&pod, &users).unwrap();
        assert_eq!(context.namespaces.user_namespace, Some(own));
        for host in [json!({"containers": []}), json!({"hostUsers": true, "containers": []})] {
            let context = sandbox_security(&pod_with(host), &users).unwrap();
            assert_eq!(context.namespaces.user_namespace, None, "only who asks for it has one");
        }
    }
}
