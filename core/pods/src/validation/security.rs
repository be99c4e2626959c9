//! Security contexts of pods and containers, and sysctl names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use core_types::api::{PodSpec, SecurityContext};
use k8s_openapi::api::core::v1::{AppArmorProfile, SeccompProfile, Sysctl};

use super::container::validate_descending_path;
use super::{Errors, Path, names};

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// `spec.securityContext` and what hangs together with it.
pub(super) fn validate_pod(spec: &PodSpec, spec_path: &Path, errors: &mut Errors) {
    if let Some(context) = &spec.security_context {
        let path = spec_path.child("securityContext");
        validate_id(context.fs_group, &path.child("fsGroup"), errors);
        validate_id(context.run_as_user, &path.child("runAsUser"), errors);
        validate_id(context.run_as_group, &path.child("runAsGroup"), errors);
        for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
            validate_id(Some(*group), &path.child("supplementalGroups").index(index), errors);
        }
        validate_sysctls(
            context.sysctls.as_deref().unwrap_or_default(),
            spec,
            &path.child("sysctls"),
            errors,
        );
        let enums: [(&str, &Option<String>, &[&str]); 3] = [
            ("fsGroupChangePolicy", &context.fs_group_change_policy, &["Always", "OnRootMismatch"]),
            ("supplementalGroupsPolicy", &context.supplemental_groups_policy, &["Merge", "Strict"]),
            ("seLinuxChangePolicy", &context.se_linux_change_policy, &["MountOption", "Recursive"]),
        ];
        for (field, value, supported) in enums {
            if let Some(value) = value.as_deref().filter(|value| !supported.contains(value)) {
                errors.not_supported(&path.child(field), value, supported);
            }
        }
        validate_seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
        validate_app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    }
    if spec.host_users == Some(false) {
        // The names of the last two are upstream's.
        let host =
            [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
        for (field, _) in host.into_iter().filter(|(_, value)| *value == Some(true)) {
            errors.forbidden(&spec_path.child(field), "when `hostUsers` is false");
        }
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&spec_path.child("shareProcessNamespace"), true, detail);
    }
}

/// `securityContext` of a container.
pub(super) fn validate_container(
    context: &SecurityContext,
    spec: &PodSpec,
    path: &Path,
    errors: &mut Errors,
) {
    validate_id(context.run_as_user, &path.child("runAsUser"), errors);
    validate_id(context.run_as_group, &path.child("runAsGroup"), errors);
    if let Some(mount) = context.proc_mount.as_deref() {
        let field = path.child("procMount");
        if !matches!(mount, "Default" | "Unmasked") {
            errors.not_supported(&field, mount, &["Default", "Unmasked"]);
        }
        if mount == "Unmasked" && spec.host_users != Some(false) {
            errors.invalid(&field, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    validate_seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    validate_app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    if context.allow_privilege_escalation == Some(false) {
        let field = path.child("allowPrivilegeEscalation");
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(&field, false, detail);
        }
        let added =
            context.capabilities.iter().filter_map(|capabilities| capabilities.add.as_ref()).flatten();
        if added.into_iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(&field, false, detail);
        }
    }
}

fn validate_id(id: Option<i64>, path: &Path, errors: &mut Errors) {
    if let Some(id) = id {
        for message in names::user_or_group_id(id) {
            errors.invalid(path, id, message);
        }
    }
}

fn validate_seccomp(profile: Option<&SeccompProfile>, path: &Path, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    match profile.type_.as_str() {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        other if !PROFILE_TYPES.contains(&other) => {
            errors.not_supported(&path.child("type"), other, PROFILE_TYPES)
        }
        _ => {}
    }
    let field = path.child("localhostProfile");
    match profile.localhost_profile.as_deref() {
        None if profile.type_ == "Localhost" => {
            errors.required(&field, "must be set when seccomp type is Localhost");
        }
        Some(file) if profile.type_ == "Localhost" => validate_descending_path(file, &field, errors),
        Some(file) => errors.invalid(&field, file, "can only be set when seccomp type is Localhost"),
        None => {}
    }
}

fn validate_app_armor(profile: Option<&AppArmorProfile>, path: &Path, errors: &mut Errors) {
    /// PATH_MAX less the closing NUL.
    const MAX_PROFILE_BYTES: usize = 4095;
    let Some(profile) = profile else { return };
    let field = path.child("localhostProfile");
    let name = profile.localhost_profile.as_deref();
    match profile.type_.as_str() {
        "Localhost" => match name {
            None | Some("") => errors.required(&field, "must be set when AppArmor type is Localhost"),
            Some(name) if name.trim() != name => {
                errors.invalid(&field, name, "must not be padded with whitespace");
            }
            Some(name) if name.len() > MAX_PROFILE_BYTES => errors.too_long(&field, MAX_PROFILE_BYTES),
            Some(_) => {}
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(name) = name {
                errors.invalid(&field, name, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        other => errors.not_supported(&path.child("type"), other, PROFILE_TYPES),
    }
}

fn validate_sysctls(sysctls: &[Sysctl], spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let field = path.index(index).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.required(&field, "");
        } else if !is_sysctl_name(name) {
            let regex = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&field, name, format!("must have at most 253 characters and match regex {regex}"));
        } else if !seen.insert(name) {
            errors.duplicate(&field, name);
        }
        match sysctl_namespace(&normalize_sysctl(name)) {
            Some(SysctlNamespace::Net) if spec.host_network == Some(true) => {
                errors.invalid(&field, name, "may not be specified when 'hostNetwork' is true");
            }
            Some(SysctlNamespace::Ipc) if spec.host_ipc == Some(true) => {
                errors.invalid(&field, name, "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let lower_alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |text: &str| {
        let bytes = text.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last))
            if lower_alnum(first) && lower_alnum(last)
                && bytes.iter().all(|&b| lower_alnum(b) || matches!(b, b'-' | b'_')))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

/// The kernel namespace that a sysctl belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SysctlNamespace {
    Ipc,
    Net,
    Uts,
    User,
}

impl SysctlNamespace {
    /// Upstream's word for it in messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ipc => "IPC",
            Self::Net => "Net",
            Self::Uts => "UTS",
            Self::User => "User",
        }
    }
}

/// The namespace of a sysctl in dotted spelling, or of a pattern without its `*`; `None` when the kernel has only one
/// value for the whole node (CONTRACT 3.5).
pub(crate) fn sysctl_namespace(name: &str) -> Option<SysctlNamespace> {
    const IPC: &[&str] = &[
        "kernel.sem",
        "kernel.shm",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
    ];
    if name == "kernel.domainname" {
        Some(SysctlNamespace::Uts)
    } else if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(SysctlNamespace::Ipc)
    } else if name.starts_with("net.") {
        Some(SysctlNamespace::Net)
    } else if name.starts_with("user.") {
        Some(SysctlNamespace::User)
    } else {
        None
    }
}

/// The dotted spelling: a name whose first separator is `/` has its dots and slashes swapped.
pub(crate) fn normalize_sysctl(name: &str) -> Cow<'_, str> {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => {
            let swap = |c: char| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            Cow::Owned(name.chars().map(swap).collect())
        }
        _ => Cow::Borrowed(name),
    }
}
