//! Cgroups as slices of systemd (CONTRACT 5.1): the `systemd` cgroup driver.
//!
//! systemd is the only one to make and stop units, so that nothing that it does later takes a limit or a cgroup away; files are
//! another implementation's of the port, which is given:
//!
//! ```text
//! ensure   no cgroup -> StartTransientUnit, wait for its job; one -> SetUnitProperties; then the files (what units cannot say)
//! destroy  the files (kill, remove); then StopUnit, wait for its job
//! others   the files
//! ```
//!
//! Reads: `JobRemoved` of `org.freedesktop.systemd1`. Writes: units of the agent's slices, for the time until the next boot.
//! Guarantees: each call ends in [`CALL_LIMIT`], each job in [`JOB_LIMIT`]; a connection that broke is made anew by the next call;
//! a unit that is there already, or gone already, is no error.

mod manager;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use core_cm::cgroup::{CgroupLimits, CgroupPath, CgroupValues};
use core_cm::systemd::{of_slice, of_values};
use core_cm::values::CgroupVersion;
use core_types::PodUid;
use ports::{CgroupError, Cgroups};

pub use manager::{Bus, CALL_LIMIT, JOB_LIMIT};
use manager::{Manager, Outcome};

/// What is there when systemd runs the machine, as `sd_booted` looks for it.
const BOOTED: &str = "/run/systemd/system";

/// Whether systemd runs this machine.
pub fn is_running() -> bool {
    Path::new(BOOTED).is_dir()
}

/// The cgroups below a root as slices.
pub struct SystemdCgroups {
    manager: Manager,
    files: Arc<dyn Cgroups>,
    root: String,
    version: CgroupVersion,
}

impl std::fmt::Debug for SystemdCgroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemdCgroups").field("root", &self.root).finish_non_exhaustive()
    }
}

impl SystemdCgroups {
    /// Slices of the systemd on that bus, below `root` (`cgroupRoot`). `files` are the same cgroups as directories.
    /// It connects with its first call.
    pub fn new(bus: Bus, root: &str, version: CgroupVersion, files: Arc<dyn Cgroups>) -> Self {
        Self { manager: Manager::new(bus), files, root: root.to_owned(), version }
    }

    fn slice(&self, path: &CgroupPath) -> CgroupPath {
        path.below_root(&self.root)
    }

    /// Makes the unit with its limits, or gives them to one that is there.
    async fn tell(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        let slice = self.slice(path);
        let unit = slice.systemd_unit();
        let limits = of_values(values, self.version);
        if !self.files.exists(path).await? {
            let mut properties = of_slice(&slice);
            properties.extend(limits.iter().cloned());
            let started = self.manager.start(&unit, &properties).await;
            match started.map_err(|problem| failed(path, format!("start the unit {unit}"), problem))? {
                Outcome::Done => return Ok(()),
                Outcome::NothingToDo => {}
            }
        }
        let told = self.manager.set(&unit, &limits).await;
        told.map_err(|problem| failed(path, format!("set the limits of the unit {unit}"), problem))
    }
}

#[async_trait]
impl Cgroups for SystemdCgroups {
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        self.tell(path, values).await?;
        self.files.ensure(path, values).await
    }

    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        self.files.exists(path).await
    }

    async fn limits(&self, path: &CgroupPath) -> Result<CgroupLimits, CgroupError> {
        self.files.limits(path).await
    }

    async fn memory_usage_bytes(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        self.files.memory_usage_bytes(path).await
    }

    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.files.destroy(path).await?;
        let unit = self.slice(path).systemd_unit();
        let stopped = self.manager.stop(&unit).await;
        stopped.map(drop).map_err(|problem| failed(path, format!("stop the unit {unit}"), problem))
    }

    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
        self.files.list_pods().await
    }
}

fn failed(path: &CgroupPath, doing: String, problem: String) -> CgroupError {
    CgroupError::Systemd { cgroup: path.cgroupfs(), doing, problem }
}
