//! What the machine is: the `MachineInfo` document of `/spec/`, and the facts that node status and start-up need.
//!
//! Read once at start from `/proc`, `/sys` and `/etc`; hot-plugged parts are seen after a restart, as upstream does. A file
//! that is missing leaves its field at zero or empty. Everything is read below a root directory, so that tests read a
//! made-up machine.

mod network;
mod topology;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use core_node::NetworkFacts;
use core_types::WallTime;
use serde::Serialize;

use crate::cgroups::{self, CgroupVersion};
use crate::mountinfo::{self, Mount};

pub use network::{NetworkAddress, node_ip_guess};
pub use topology::{Cache, Core, HugePages, NumaNode};

/// Facts for the node object, and for choosing defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Host name, lower case as node names are.
    pub hostname: String,
    /// Addresses of the interfaces that are up, in the kernel's order.
    pub addresses: Vec<NetworkAddress>,
    /// Upstream's first choice of a node address when none is configured: IPv4 of the interface of the default route,
    /// else the first address that is not a loopback's.
    pub ip_guess: Option<IpAddr>,
    /// Kernel release.
    pub kernel_version: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os_image: String,
    /// Go's name of the architecture, e.g. `amd64`.
    pub architecture: &'static str,
    /// Boot ID.
    pub boot_id: String,
    /// When the machine was booted.
    pub booted_at: Option<WallTime>,
    /// Machine ID.
    pub machine_id: String,
    /// System UUID; the machine ID where the firmware tells none.
    pub system_uuid: String,
    /// Processors that are online.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of a page in bytes.
    pub page_size_bytes: usize,
    /// Version of the cgroup hierarchies; `None` when there are none.
    pub cgroup_version: Option<CgroupVersion>,
    /// Whether the kernel can limit the swap of a cgroup.
    pub has_swap_controller: bool,
}

/// cAdvisor's API object `MachineInfo`, the body of `/spec/`. Field names are its JSON names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineInfo {
    timestamp: String,
    vendor_id: String,
    /// Logical processors.
    pub num_cores: usize,
    num_physical_cores: usize,
    num_sockets: usize,
    cpu_frequency_khz: u64,
    /// Memory in bytes.
    pub memory_capacity: u64,
    /// Swap in bytes.
    pub swap_capacity: u64,
    memory_by_type: BTreeMap<String, u64>,
    nvm: Nvm,
    /// Huge pages of the machine.
    pub hugepages: Vec<HugePages>,
    /// Machine ID.
    pub machine_id: String,
    /// System UUID.
    pub system_uuid: String,
    /// Boot ID.
    pub boot_id: String,
    filesystems: Vec<Filesystem>,
    disk_map: BTreeMap<String, Disk>,
    network_devices: Vec<NetworkDevice>,
    /// Memory nodes with their processors.
    pub topology: Vec<NumaNode>,
    cloud_provider: &'static str,
    instance_type: &'static str,
    instance_id: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Nvm {
    memory_mode_capacity: u64,
    #[serde(rename = "app direct_mode_capacity")]
    app_direct_mode_capacity: u64,
    avg_power_budget: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Filesystem {
    device: String,
    capacity: u64,
    #[serde(rename = "type")]
    fs_type: &'static str,
    inodes: u64,
    has_inodes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Disk {
    name: String,
    major: u64,
    minor: u64,
    size: u64,
    scheduler: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct NetworkDevice {
    name: String,
    mac_address: String,
    speed: i64,
    mtu: i64,
}

impl NodeFacts {
    /// Reads the facts of this node.
    pub fn read() -> Self {
        let files = Files::new(Path::new("/"));
        let system = rustix::system::uname();
        let hostname = system.nodename().to_string_lossy().trim().to_lowercase();
        let addresses = network::addresses();
        let default_interface = network::default_interface(&files.text("proc/net/route"));
        let machine_id = machine_id(&files);
        let cgroup_mount = Path::new("/sys/fs/cgroup");
        let cgroup_version = cgroups::cgroup_version(cgroup_mount).ok();
        let own_groups = files.text("proc/self/cgroup");
        Self {
            hostname,
            ip_guess: node_ip_guess(default_interface.as_deref(), &addresses),
            addresses,
            kernel_version: system.release().to_string_lossy().into_owned(),
            os_image: os_image(&files),
            architecture: go_architecture(std::env::consts::ARCH),
            boot_id: files.text("proc/sys/kernel/random/boot_id"),
            booted_at: booted_at(&files.text("proc/stat")),
            system_uuid: system_uuid(&files),
            machine_id,
            cpus: topology::read(&files).iter().map(NumaNode::threads).sum(),
            memory_bytes: files.meminfo_bytes("MemTotal"),
            page_size_bytes: rustix::param::page_size(),
            cgroup_version,
            has_swap_controller: cgroup_version
                .is_some_and(|version| cgroups::has_swap_controller(cgroup_mount, version, &own_groups)),
        }
    }
}

impl MachineInfo {
    /// Reads what this machine is. `now` becomes the document's time.
    pub fn read(now: WallTime) -> Self {
        let mounts = mountinfo::read().unwrap_or_default();
        Self::read_below(&Files::new(Path::new("/")), now, filesystems(&mounts))
    }

    fn read_below(files: &Files, now: WallTime, filesystems: Vec<Filesystem>) -> Self {
        let cpuinfo = files.text("proc/cpuinfo");
        let topology = topology::read(files);
        let cores = topology.iter().flat_map(|node| &node.cores);
        let or = |count: usize, other: usize| if count == 0 { other } else { count };
        let sockets =
            cores.clone().map(|core| core.socket_id).collect::<std::collections::BTreeSet<_>>().len();
        Self {
            timestamp: now.to_rfc3339_nano(),
            vendor_id: cpuinfo_values(&cpuinfo, "vendor_id").next().unwrap_or_default().to_owned(),
            num_cores: topology.iter().map(NumaNode::threads).sum(),
            num_physical_cores: or(distinct(&cpuinfo, "core id"), cores.count()),
            num_sockets: or(distinct(&cpuinfo, "physical id"), sockets),
            cpu_frequency_khz: cpu_frequency_khz(files, &cpuinfo),
            memory_capacity: files.meminfo_bytes("MemTotal"),
            swap_capacity: files.meminfo_bytes("SwapTotal"),
            memory_by_type: BTreeMap::new(),
            nvm: Nvm::default(),
            hugepages: topology::hugepages(files, "sys/kernel/mm/hugepages"),
            machine_id: machine_id(files),
            system_uuid: system_uuid(files),
            boot_id: files.text("proc/sys/kernel/random/boot_id"),
            filesystems,
            disk_map: disks(files),
            network_devices: network_devices(files),
            topology,
            cloud_provider: "Unknown",
            instance_type: "Unknown",
            instance_id: "",
        }
    }
}

/// Small files below a root directory.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Text without surrounding white space; empty when it cannot be read.
    fn text(&self, path: impl AsRef<Path>) -> String {
        let bytes = std::fs::read(self.root.join(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// A number; `None` when there is none.
    fn number<T: std::str::FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path).parse().ok()
    }

    /// Names in a directory, sorted.
    fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// A line of `/proc/meminfo` in bytes; 0 when it is missing.
    fn meminfo_bytes(&self, name: &str) -> u64 {
        meminfo_kib(&self.text("proc/meminfo"), name) * 1024
    }
}

/// The number in the line of a meminfo text that has this name.
pub(crate) fn meminfo_kib(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.split(' ').next_back() == Some(name)));
    value.and_then(|(_, value)| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The cgroup of this process, from the machine's root cgroup; empty when its CPU and memory are counted in two.
pub fn own_cgroup() -> String {
    own_cgroup_in(&Files::new(Path::new("/")).text("proc/self/cgroup"))
}

/// The same from the text of `/proc/self/cgroup`.
fn own_cgroup_in(text: &str) -> String {
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let of = |wanted: &str| {
        let found = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == wanted));
        // The unified hierarchy has no controllers in its line.
        found.or_else(|| lines().find(|(controllers, _)| controllers.is_empty())).map(|(_, path)| path)
    };
    of("cpu").filter(|path| of("memory") == Some(*path)).unwrap_or_default().to_owned()
}

/// The time of the boot in the text of `/proc/stat`.
fn booted_at(stat: &str) -> Option<WallTime> {
    let secs = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    secs.trim().parse().ok().map(WallTime::from_unix_secs)
}

/// Addresses as they are now: those of the interfaces, and one of each family for the default route.
pub(crate) fn network_facts() -> NetworkFacts {
    let addresses = network::addresses();
    let default = network::default_interface(&Files::new(Path::new("/")).text("proc/net/route"));
    let families = [IpAddr::is_ipv4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6];
    let of_family = |is_of: fn(&IpAddr) -> bool| {
        let own: Vec<_> = addresses.iter().filter(|address| is_of(&address.ip)).cloned().collect();
        node_ip_guess(default.as_deref(), &own)
    };
    NetworkFacts {
        interfaces: addresses.iter().map(|address| address.ip).collect(),
        default_route: families.into_iter().filter_map(of_family).collect(),
        ..NetworkFacts::default()
    }
}

fn cpuinfo_values<'a>(cpuinfo: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(move |(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn distinct(cpuinfo: &str, name: &str) -> usize {
    cpuinfo_values(cpuinfo, name).collect::<std::collections::BTreeSet<_>>().len()
}

fn cpu_frequency_khz(files: &Files, cpuinfo: &str) -> u64 {
    if let Some(khz) = files.number("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq") {
        return khz;
    }
    // "2300.000" MHz has always three decimals, so without the point it is kHz.
    let mhz = cpuinfo_values(cpuinfo, "cpu MHz").next().unwrap_or_default();
    let (whole, decimals) = mhz.split_once('.').unwrap_or((mhz, ""));
    let decimals: String = decimals.chars().chain("000".chars()).take(3).collect();
    format!("{whole}{decimals}").parse().unwrap_or(0)
}

fn machine_id(files: &Files) -> String {
    let first = files.text("etc/machine-id");
    if first.is_empty() { files.text("var/lib/dbus/machine-id") } else { first }
}

fn system_uuid(files: &Files) -> String {
    let sources = [
        "sys/class/dmi/id/product_uuid",
        "proc/device-tree/system-id",
        "proc/device-tree/vm,uuid",
        "etc/machine-id",
    ];
    let found = sources.iter().map(|path| files.text(path)).find(|uuid| !uuid.is_empty());
    found.unwrap_or_default().trim_end_matches('\0').to_owned()
}

fn os_image(files: &Files) -> String {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let text = files.text(path);
        if let Some(name) = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")) {
            return name.trim_matches(['"', '\'']).to_owned();
        }
    }
    "Linux".to_owned()
}

/// Go's name for an architecture, which is what the API uses.
fn go_architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Disks by `major:minor`; loop devices, RAM disks and hidden paths are no disks.
fn disks(files: &Files) -> BTreeMap<String, Disk> {
    let mut found = BTreeMap::new();
    for name in files.names("sys/block") {
        let dir = Path::new("sys/block").join(&name);
        let ignored = ["loop", "ram", "sr"].iter().any(|prefix| name.starts_with(prefix));
        if ignored || files.text(dir.join("hidden")) == "1" {
            continue;
        }
        let device = files.text(dir.join("dev"));
        let numbers = device
            .split_once(':')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some((major, minor)) = numbers else { continue };
        let scheduler = files.text(dir.join("queue/scheduler"));
        let chosen = scheduler
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or("none", |(name, _)| name);
        let size = files.number::<u64>(dir.join("size")).unwrap_or(0) * 512;
        found.insert(device, Disk { name, major, minor, size, scheduler: chosen.to_owned() });
    }
    found
}

/// Network devices without loopback and those of containers.
fn network_devices(files: &Files) -> Vec<NetworkDevice> {
    let names = files.names("sys/class/net").into_iter();
    let own = names
        .filter(|name| !["lo", "veth", "docker", "nerdctl"].iter().any(|prefix| name.starts_with(prefix)));
    let device = |name: String| {
        let dir = Path::new("sys/class/net").join(&name);
        NetworkDevice {
            mac_address: files.text(dir.join("address")),
            speed: files.number(dir.join("speed")).unwrap_or(0),
            mtu: files.number(dir.join("mtu")).unwrap_or(0),
            name,
        }
    };
    own.map(device).collect()
}

/// File systems on block devices, each device once, and the tmpfs on `/dev/shm`.
fn filesystems(mounts: &[Mount]) -> Vec<Filesystem> {
    let mut found: BTreeMap<String, Filesystem> = BTreeMap::new();
    for mount in mounts {
        let is_disk = mount.source.starts_with("/dev") && !mount.fs_type.starts_with("fuse");
        let is_shm = mount.fs_type == "tmpfs" && mount.mount_point == Path::new("/dev/shm");
        let device = if is_disk {
            mount.source.display().to_string()
        } else {
            mount.mount_point.display().to_string()
        };
        if !(is_disk || is_shm) || found.contains_key(&device) {
            continue;
        }
        // A network or FUSE file system may hang and is not asked; these kinds do not.
        if let Ok(stat) = rustix::fs::statvfs(&mount.mount_point) {
            let capacity = stat.f_frsize.saturating_mul(stat.f_blocks);
            let fs_type = "vfs";
            found.insert(
                device.clone(),
                Filesystem { device, capacity, fs_type, inodes: stat.f_files, has_inodes: true },
            );
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests;
