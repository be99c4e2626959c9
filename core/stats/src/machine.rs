//! `machine_*` and `cadvisor_version_info`: facts that do not change while the agent runs. They carry no time, so a
//! scraper takes that of its scrape.

use core_metrics::{Exposition, Kind};
use serde::Deserialize;

/// The part of cAdvisor's `MachineInfo` (the body of `/spec/`) that has metrics. What is missing is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MachineFacts {
    /// Logical processors.
    pub num_cores: u64,
    /// Physical cores.
    pub num_physical_cores: u64,
    /// Sockets.
    pub num_sockets: u64,
    /// Books (s390x).
    pub num_books: u64,
    /// Drawers (s390x).
    pub num_drawers: u64,
    /// Memory in bytes.
    pub memory_capacity: u64,
    /// Swap in bytes.
    pub swap_capacity: u64,
    nvm: Nvm,
    /// Machine ID.
    pub machine_id: String,
    /// System UUID.
    pub system_uuid: String,
    /// Boot ID.
    pub boot_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Nvm {
    memory_mode_capacity: u64,
    // cAdvisor's name has this blank.
    #[serde(rename = "app direct_mode_capacity")]
    app_direct_mode_capacity: u64,
    avg_power_budget: u64,
}

/// Labels of `cadvisor_version_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionFacts {
    /// Kernel release.
    pub kernel_version: String,
    /// Name of the operating system.
    pub os_version: String,
}

impl MachineFacts {
    /// Appends the families, sorted by name.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let ids = [
            ("boot_id", self.boot_id.as_str()),
            ("machine_id", self.machine_id.as_str()),
            ("system_uuid", self.system_uuid.as_str()),
        ];
        let mut one = |name, help, value: u64| {
            text.family(name, help, Kind::Gauge);
            text.sample(name, &ids, value as f64);
        };
        one("machine_cpu_books", "Number of CPU books.", self.num_books);
        one("machine_cpu_cores", "Number of logical CPU cores.", self.num_cores);
        one("machine_cpu_drawers", "Number of CPU drawers.", self.num_drawers);
        one("machine_cpu_physical_cores", "Number of physical CPU cores.", self.num_physical_cores);
        one("machine_cpu_sockets", "Number of CPU sockets.", self.num_sockets);
        one("machine_memory_bytes", "Amount of memory installed on the machine.", self.memory_capacity);
        one("machine_nvm_avg_power_budget_watts", "NVM power budget.", self.nvm.avg_power_budget);
        let name = "machine_nvm_capacity";
        text.family(
            name,
            "NVM capacity value labeled by NVM mode (memory mode or app direct mode).",
            Kind::Gauge,
        );
        let modes = [
            ("app_direct_mode", self.nvm.app_direct_mode_capacity),
            ("memory_mode", self.nvm.memory_mode_capacity),
        ];
        for (mode, value) in modes {
            text.sample(name, &[ids[0], ids[1], ("mode", mode), ids[2]], value as f64);
        }
        let name = "machine_scrape_error";
        text.family(name, "1 if there was an error while getting machine metrics, 0 otherwise.", Kind::Gauge);
        text.sample(name, &[], 0.0);
        let name = "machine_swap_bytes";
        text.family(name, "Amount of swap memory available on the machine.", Kind::Gauge);
        text.sample(name, &ids, self.swap_capacity as f64);
    }
}

impl VersionFacts {
    /// Appends the family. There is no cAdvisor and no Docker here, so their labels are empty.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let name = "cadvisor_version_info";
        text.family(
            name,
            "A metric with a constant '1' value labeled by kernel version, OS version, docker version, \
             cadvisor version & cadvisor revision.",
            Kind::Gauge,
        );
        let labels = [
            ("cadvisorRevision", ""),
            ("cadvisorVersion", ""),
            ("dockerVersion", ""),
            ("kernelVersion", self.kernel_version.as_str()),
            ("osVersion", self.os_version.as_str()),
        ];
        text.sample(name, &labels, 1.0);
    }
}
