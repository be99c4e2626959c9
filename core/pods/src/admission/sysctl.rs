//! Which sysctls pods may set on this node (CONTRACT 3.5).

use core_types::api::PodSpec;

use crate::validation::{SysctlNamespace, normalize_sysctl, sysctl_namespace};

/// Version of the running kernel, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

/// Sysctls that concern one pod only, and the kernel from which on they do.
const SAFE: &[(&str, KernelVersion)] = &[
    ("kernel.shm_rmid_forced", KernelVersion { major: 0, minor: 0 }),
    ("net.ipv4.ip_local_port_range", KernelVersion { major: 0, minor: 0 }),
    ("net.ipv4.tcp_syncookies", KernelVersion { major: 0, minor: 0 }),
    ("net.ipv4.ping_group_range", KernelVersion { major: 0, minor: 0 }),
    ("net.ipv4.ip_unprivileged_port_start", KernelVersion { major: 0, minor: 0 }),
    ("net.ipv4.ip_local_reserved_ports", KernelVersion { major: 3, minor: 16 }),
    ("net.ipv4.tcp_keepalive_time", KernelVersion { major: 4, minor: 5 }),
    ("net.ipv4.tcp_keepalive_intvl", KernelVersion { major: 4, minor: 5 }),
    ("net.ipv4.tcp_keepalive_probes", KernelVersion { major: 4, minor: 5 }),
    ("net.ipv4.tcp_fin_timeout", KernelVersion { major: 4, minor: 6 }),
    ("net.ipv4.tcp_notsent_lowat", KernelVersion { major: 4, minor: 6 }),
    ("net.ipv4.tcp_rmem", KernelVersion { major: 4, minor: 15 }),
    ("net.ipv4.tcp_wmem", KernelVersion { major: 4, minor: 15 }),
    ("net.ipv4.tcp_slow_start_after_idle", KernelVersion { major: 4, minor: 15 }),
];

/// A pattern of `allowedUnsafeSysctls` that cannot be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "allowedUnsafeSysctls: {pattern:?} is not known to be namespaced: pods would change it for the whole node; remove it"
)]
pub struct SysctlPatternError {
    /// The pattern as configured.
    pub pattern: String,
}

#[derive(Clone, Debug)]
struct Allowed {
    name: String,
    is_prefix: bool,
    namespace: SysctlNamespace,
}

/// The sysctls that pods may set: the safe ones of the running kernel, and those the administrator added.
#[derive(Clone, Debug, Default)]
pub struct SysctlAllowList(Vec<Allowed>);

impl SysctlAllowList {
    /// The list for a kernel. `unsafe_patterns` (names, or prefixes that end in `*`) is `allowedUnsafeSysctls`.
    ///
    /// # Errors
    /// The first pattern that names no namespaced sysctl.
    pub fn new(kernel: KernelVersion, unsafe_patterns: &[String]) -> Result<Self, SysctlPatternError> {
        let safe = SAFE.iter().filter(|(_, since)| kernel >= *since).map(|(name, _)| *name);
        let patterns = safe.chain(unsafe_patterns.iter().map(String::as_str));
        patterns.map(allowed).collect::<Result<_, _>>().map(Self)
    }

    /// A message when the pod sets a sysctl that it may not set.
    pub(super) fn forbidden(&self, spec: &PodSpec) -> Option<String> {
        let sysctls = spec.security_context.as_ref()?.sysctls.as_ref()?;
        sysctls
            .iter()
            .find_map(|sysctl| self.refusal(&sysctl.name, spec))
            .map(|text| format!("forbidden sysctl: {text}"))
    }

    fn refusal(&self, name: &str, spec: &PodSpec) -> Option<String> {
        let name = normalize_sysctl(name);
        let matches = |allowed: &&Allowed| match allowed.is_prefix {
            true => name.starts_with(&allowed.name),
            false => *name == allowed.name,
        };
        let Some(allowed) = self.0.iter().find(matches) else {
            return Some(format!("{name:?} not allowlisted"));
        };
        let shared = match allowed.namespace {
            SysctlNamespace::Ipc => spec.host_ipc == Some(true),
            SysctlNamespace::Net => spec.host_network == Some(true),
            SysctlNamespace::User => spec.host_users != Some(false),
            SysctlNamespace::Uts => false,
        };
        shared.then(|| format!("{name:?} not allowed with host {} enabled", allowed.namespace.as_str()))
    }
}

fn allowed(pattern: &str) -> Result<Allowed, SysctlPatternError> {
    let normal = normalize_sysctl(pattern);
    let (name, is_prefix) = match normal.split_once('*') {
        Some((prefix, _)) => (prefix, true),
        None => (&*normal, false),
    };
    match sysctl_namespace(name) {
        Some(namespace) => Ok(Allowed { name: name.to_owned(), is_prefix, namespace }),
        None => Err(SysctlPatternError { pattern: pattern.to_owned() }),
    }
}
