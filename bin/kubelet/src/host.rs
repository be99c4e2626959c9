//! What the machine is and whether it can be used: facts for the agent's settings, checks that end the start, and the
//! directories below `--root-dir` that must exist before anything runs.
//!
//! Reads `/proc`, `/sys` and the network interfaces once, through `io-host`.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agent::{AppArmor, HostSummary};
use anyhow::{Context, Result, bail};
use core_config::{KubeletConfiguration, Options};
use core_node::settings::HugePages;
use core_node::{ExtendedResources, Machine};
use core_runtime::user_namespaces::SubordinateIds;
use io_host::{MachineInfo, NodeFacts};

/// Upstream's file of the kernel that lists swap areas below a heading.
const SWAPS: &str = "/proc/swaps";

/// What the device manager remembers, below the root directory. A machine without it is a fresh one.
const DEVICE_CHECKPOINT: &str = "device-plugins/kubelet_internal_checkpoint";

/// Why the machine cannot be told apart.
#[derive(Debug, thiserror::Error)]
#[error("no cgroup file system is mounted at /sys/fs/cgroup: mount one, pods cannot run without")]
pub(crate) struct NoCgroups;

/// Version of the cgroup hierarchies, in the terms of each part that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupVersion {
    V1,
    V2,
}

impl From<CgroupVersion> for core_config::CgroupVersion {
    fn from(version: CgroupVersion) -> Self {
        match version {
            CgroupVersion::V1 => Self::V1,
            CgroupVersion::V2 => Self::V2,
        }
    }
}

impl From<CgroupVersion> for core_cm::CgroupVersion {
    fn from(version: CgroupVersion) -> Self {
        match version {
            CgroupVersion::V1 => Self::V1,
            CgroupVersion::V2 => Self::V2,
        }
    }
}

/// Version of the machine's cgroup hierarchies.
pub(crate) fn cgroup_version(facts: &NodeFacts) -> Result<CgroupVersion, NoCgroups> {
    match facts.cgroup_version {
        Some(io_host::CgroupVersion::V1) => Ok(CgroupVersion::V1),
        Some(io_host::CgroupVersion::V2) => Ok(CgroupVersion::V2),
        None => Err(NoCgroups),
    }
}

/// Go's name of this build's architecture.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What upstream checks of the machine before it runs pods on it. What only makes some pods fail is logged.
pub(crate) fn check(kubelet: &KubeletConfiguration, cgroups: CgroupVersion) -> Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    if uid != 0 {
        tracing::error!(uid, "the kubelet needs to run as uid 0; it goes on, but most pods will not start");
    }
    if cgroups == CgroupVersion::V1 {
        tracing::warn!(
            "this host has cgroup v1: no swap limits, no memory QoS; it will not be supported for ever"
        );
        if kubelet.memory_swap.swap_behavior == "LimitedSwap" {
            bail!(
                "memorySwap.swapBehavior: LimitedSwap works with cgroup v2 only, and this host has cgroup v1"
            );
        }
    }
    let swaps = fs::read_to_string(SWAPS).unwrap_or_default();
    if let Some(area) = swap_area(&swaps) {
        if kubelet.fail_swap_on {
            bail!(
                "running with swap on is not supported, and {SWAPS} names {area}: switch swap off, or set failSwapOn \
                 (--fail-swap-on) to false"
            );
        }
        tracing::info!(area, "swap is on");
    }
    Ok(())
}

/// The first swap area of `/proc/swaps`.
fn swap_area(swaps: &str) -> Option<&str> {
    swaps.lines().nth(1)?.split_whitespace().next()
}

/// Directories of the agent below `--root-dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directories {
    /// `--root-dir` as an absolute path.
    pub(crate) root: PathBuf,
    /// Manifests of `podwright run`.
    pub(crate) local_manifests: PathBuf,
    /// The journal of events.
    pub(crate) events: PathBuf,
    /// Archives of containers (`/checkpoint`).
    pub(crate) checkpoints: PathBuf,
}

/// Directory of archives below the root, as upstream has it.
const CHECKPOINTS: &str = "checkpoints";

/// Makes the directories; the root is 0750 (CONTRACT 7.3). Archives hold the memory of containers, and what holds manifests
/// of the user, who may have put secrets
/// into them, is for root alone.
pub(crate) fn make_directories(root: &Path) -> Result<Directories> {
    let root = std::path::absolute(root).with_context(|| format!("--root-dir {}", root.display()))?;
    let local_manifests = root.join("podwright/manifests");
    let events = root.join("podwright/events");
    let checkpoints = root.join(CHECKPOINTS);
    let all = [(&root, 0o750), (&local_manifests, 0o700), (&events, 0o700), (&checkpoints, 0o700)];
    for (path, mode) in all {
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .with_context(|| format!("--root-dir: create directory {}", path.display()))?;
    }
    Ok(Directories { root, local_manifests, events, checkpoints })
}

/// Facts that the agent's settings depend on. Needs the root directory.
pub(crate) fn summary(
    options: &Options,
    root: &Path,
    facts: &NodeFacts,
    machine: &MachineInfo,
    cgroups: CgroupVersion,
) -> Result<HostSummary> {
    let root_fs = rustix::fs::statvfs(root)
        .map_err(io::Error::from)
        .with_context(|| format!("--root-dir: size of the file system of {}", root.display()))?;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let hugepages = machine.hugepages.iter().map(|pages| HugePages {
        page_bytes: signed(pages.page_size_kib.saturating_mul(1024)),
        count: signed(pages.num_pages),
    });
    let working_dir = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
    let home_dir = std::env::var("HOME").unwrap_or_default();
    Ok(HostSummary {
        node_name: node_name(&options.hostname_override, &facts.hostname)?,
        node_ips: node_ips(&options.node_ip, facts).iter().map(IpAddr::to_string).collect(),
        machine: Machine {
            machine_id: facts.machine_id.clone(),
            system_uuid: facts.system_uuid.clone(),
            boot_id: facts.boot_id.clone(),
            kernel_version: facts.kernel_version.clone(),
            os_image: facts.os_image.clone(),
            architecture: facts.architecture.to_owned(),
            cpu_count: signed(facts.cpus as u64),
            memory_bytes: signed(facts.memory_bytes),
            swap_bytes: signed(machine.swap_capacity),
            root_fs_bytes: signed(root_fs.f_frsize.saturating_mul(root_fs.f_blocks)),
            hugepages: hugepages.collect(),
        },
        extended_resources: match root.join(DEVICE_CHECKPOINT).exists() {
            true => ExtendedResources::Keep,
            false => ExtendedResources::Zero,
        },
        booted_at: facts.booted_at,
        version: crate::VERSION.to_owned(),
        cgroup_version: cgroups.into(),
        has_swap_controller: facts.has_swap_controller,
        page_bytes: signed(rustix::param::page_size() as u64),
        subordinate_ids: subordinate_ids()?,
        home_dir,
        working_dir,
        app_armor: app_armor(),
    })
}

/// Whether the kernel has AppArmor and it is switched on.
fn app_armor() -> AppArmor {
    let switch = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    match switch.starts_with('Y') && Path::new("/sys/kernel/security/apparmor").exists() {
        true => AppArmor::Enabled,
        false => AppArmor::Disabled,
    }
}

/// IDs that are set apart for pods. A file that is not there says nothing.
fn subordinate_ids() -> Result<Option<SubordinateIds>> {
    let [passwd, subuid, subgid] =
        ["/etc/passwd", "/etc/subuid", "/etc/subgid"].map(|path| match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            result => result.with_context(|| format!("read {path}")),
        });
    SubordinateIds::parse(&passwd?, &subuid?, &subgid?).context("/etc/subuid and /etc/subgid")
}

/// `--hostname-override`, else the host's name; trimmed and in lower case, as upstream does.
fn node_name(override_: &str, hostname: &str) -> Result<String> {
    let name = if override_.is_empty() { hostname } else { override_ }.trim().to_lowercase();
    if name.is_empty() {
        bail!("the node has no name: set --hostname-override, or give the host a name");
    }
    Ok(name)
}

/// `--node-ip`, else the address of the default route's interface (CONTRACT 1.1). An address that pods cannot use is left out
/// with an error in the log, as upstream goes on with a node that says so.
fn node_ips(wanted: &[IpAddr], facts: &NodeFacts) -> Vec<IpAddr> {
    let guess = |of_family: &dyn Fn(&IpAddr) -> bool| {
        let addresses: Vec<_> =
            facts.addresses.iter().filter(|address| of_family(&address.ip)).cloned().collect();
        facts.ip_guess.filter(of_family).or_else(|| io_host::machine::node_ip_guess(None, &addresses))
    };
    let mut found = Vec::new();
    for ip in wanted {
        if ip.is_unspecified() {
            found.extend(guess(&|other| other.is_ipv4() == ip.is_ipv4()));
        } else if let Some(problem) = unusable(ip) {
            tracing::error!(%ip, problem, "an address of --node-ip cannot be a node's address and is left out");
        } else {
            if !facts.addresses.iter().any(|address| address.ip == *ip) {
                tracing::warn!(%ip, "an address of --node-ip is on no interface of this host");
            }
            found.push(*ip);
        }
    }
    if found.is_empty() {
        found.extend(guess(&|_| true));
    }
    if found.is_empty() {
        tracing::warn!("this host has no address but loopback: pods on the host's network get none");
    }
    found
}

fn unusable(ip: &IpAddr) -> Option<&'static str> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        ip if ip.is_loopback() => Some("it is a loopback address"),
        ip if ip.is_multicast() => Some("it is a multicast address"),
        _ if link_local => Some("it is a link-local address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use io_host::machine::NetworkAddress;

    use super::*;

    #[test]
    fn swap_is_on_when_an_area_is_listed() {
        let heading = "Filename\tType\tSize\tUsed\tPriority\n";
        assert_eq!(swap_area(heading), None);
        assert_eq!(swap_area(""), None);
        assert_eq!(swap_area(&format!("{heading}/dev/sda2  partition 1 0 -2\n")), Some("/dev/sda2"));
    }

    #[test]
    fn the_node_has_the_given_or_the_hosts_name() {
        assert_eq!(node_name(" Node-1 ", "host").unwrap(), "node-1");
        assert_eq!(node_name("", "host").unwrap(), "host");
        assert!(node_name("", "").is_err());
        assert!(node_name("  ", "host").is_err());
    }

    #[test]
    fn addresses_are_the_given_ones_or_a_guess() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut facts = NodeFacts::read();
        let address = |text: &str| NetworkAddress { interface: "eth0".into(), ip: ip(text) };
        facts.addresses = vec![address("127.0.0.1"), address("192.0.2.1"), address("2001:db8::1")];
        facts.ip_guess = Some(ip("192.0.2.1"));
        let table: [(&[&str], &[&str]); 7] = [
            (&[], &["192.0.2.1"]),
            (&["192.0.2.9"], &["192.0.2.9"]),
            (&["2001:db8::1", "192.0.2.1"], &["2001:db8::1", "192.0.2.1"]),
            (&["::"], &["2001:db8::1"]),
            (&["0.0.0.0"], &["192.0.2.1"]),
            (&["127.0.0.1"], &["192.0.2.1"]),
            (&["169.254.0.1", "2001:db8::1"], &["2001:db8::1"]),
        ];
        for (wanted, want) in table {
            let wanted: Vec<_> = wanted.iter().map(|text| ip(text)).collect();
            let want: Vec<_> = want.iter().map(|text| ip(text)).collect();
            assert_eq!(node_ips(&wanted, &facts), want, "{wanted:?}");
        }
    }

    #[test]
    fn directories_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let made = make_directories(&temp.path().join("root")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let modes = [&made.root, &made.local_manifests, &made.events].map(|path| mode(path));
        assert_eq!(modes, [0o750, 0o700, 0o700]);
        assert_eq!(make_directories(&made.root).unwrap(), made);
    }
}
