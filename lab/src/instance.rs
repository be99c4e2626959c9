//! One private runtime on this machine: containerd, network, images and a cgroup root, under one number and one folder.
//!
//! The number names everything (`/var/tmp/podwright-lab/<n>`, bridge `pwbr<n>`, subnet `10.88.<n>.0/24`, cgroup
//! `/podwright-test-<n>`). Whoever holds the lock on `<n>.lock` owns it; the kernel drops the lock with the owner, so an unlocked
//! folder is left over from a killed run and is swept away.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{
    Agent, Containerd, ContainerdVersion, Parts,
    agent::{Ports, own_program},
    cgroups::CgroupRoot,
    images,
    network::Network,
    registry::{Access, Registry},
    sweep::{cgroup_name, sweep},
};

/// A short path: sockets below it must fit into 107 bytes.
const BASE: &str = "/var/tmp/podwright-lab";

/// How many instances may live at once; each takes a /24 of 10.88.0.0/16.
const NUMBERS: std::ops::Range<u8> = 0..100;

/// A running private runtime; closing or dropping it removes all of it.
#[derive(Debug)]
pub struct Instance {
    parts: Parts,
    claim: Claim,
    containerd: Containerd,
    cgroups: CgroupRoot,
    network: Network,
}

impl Instance {
    /// Starts a containerd with the images of [`images`] imported. Leftovers of killed runs are removed first.
    pub fn new(parts: &Parts, version: ContainerdVersion) -> Result<Self> {
        sweep_stale()?;
        let claim = claim()?;
        let dir = claim.dir.clone();
        let network = Network::new(claim.number);
        network.create(&dir.join("cni"), &dir.join("ipam"))?;
        let cgroups = CgroupRoot::create(&cgroup_name(claim.number))?;
        let mut containerd = Containerd::configure(parts, version, &dir)?;
        containerd.start()?;
        for archive in images::build_all(parts, &dir.join("images"))? {
            containerd.import(&archive)?;
        }
        Ok(Self { parts: parts.clone(), claim, containerd, cgroups, network })
    }

    /// Our kubelet, configured for this runtime but not started. One at a time may run.
    pub fn agent(&self) -> Result<Agent> {
        self.agent_of(own_program("kubelet")?)
    }

    /// Like [`Self::agent`] with another build of the kubelet.
    pub fn agent_of(&self, program: PathBuf) -> Result<Agent> {
        let ports = Ports::free()?;
        let dir = self.claim.dir.join("kubelet");
        let config = self.agent_config(ports, &dir);
        Agent::new(program, dir, ports, config)
    }

    /// Starts a registry below this instance's folder.
    pub fn registry(&self, access: Access) -> Result<Registry> {
        let name = match access {
            Access::Open => "registry",
            Access::SignIn => "registry-sign-in",
        };
        Registry::start(&self.parts, &self.claim.dir.join(name), access)
    }

    /// The containerd.
    #[must_use]
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// The containerd, to stop, kill or start it.
    pub fn containerd_mut(&mut self) -> &mut Containerd {
        &mut self.containerd
    }

    /// The cgroup root that pods live below.
    #[must_use]
    pub fn cgroups(&self) -> &CgroupRoot {
        &self.cgroups
    }

    /// The pod network.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.claim.dir
    }

    /// Removes everything and says what could not be removed; dropping does the same but can only print it.
    pub fn close(mut self) -> Result<()> {
        self.containerd.kill()?;
        self.claim.release()
    }

    fn agent_config(&self, ports: Ports, dir: &Path) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "staticPodPath": dir.join("manifests"),
            "podLogsDir": dir.join("pod-logs"),
            "address": "127.0.0.1",
            "port": ports.secure,
            "readOnlyPort": ports.read_only,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": ports.healthz,
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroups.path(),
            "failCgroupV1": false,
            "failSwapOn": false,
            "containerRuntimeEndpoint": self.containerd.endpoint(),
            "volumePluginDir": dir.join("volume-plugins"),
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of containerd's log:\n{}", self.containerd.log_tail(20));
        }
    }
}

/// An instance's number and folder, held by a lock.
#[derive(Debug)]
struct Claim {
    number: u8,
    dir: PathBuf,
    held: Option<File>,
}

impl Claim {
    fn release(&mut self) -> Result<()> {
        if self.held.is_some() {
            sweep(self.number, &self.dir)?;
            self.held = None;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("cannot clean up {}: {error:#}", self.dir.display());
        }
    }
}

/// Removes what killed runs left behind; instances that are in use stay. Returns the folders removed.
pub fn sweep_stale() -> Result<Vec<PathBuf>> {
    let mut swept = Vec::new();
    for number in NUMBERS {
        let dir = instance_dir(number);
        if !dir.exists() {
            continue;
        }
        if let Some(_held) = try_lock(number)? {
            sweep(number, &dir).with_context(|| format!("leftovers in {}", dir.display()))?;
            swept.push(dir);
        }
    }
    Ok(swept)
}

fn claim() -> Result<Claim> {
    fs::create_dir_all(BASE).with_context(|| format!("cannot make {BASE}"))?;
    for number in NUMBERS {
        if Network::new(number).is_taken()? {
            continue;
        }
        if let Some(held) = try_lock(number)? {
            let dir = instance_dir(number);
            // From here on, dropping the claim sweeps.
            let claim = Claim { number, dir, held: Some(held) };
            fs::create_dir(&claim.dir).with_context(|| format!("cannot make {}", claim.dir.display()))?;
            return Ok(claim);
        }
    }
    bail!("all {} instances of {BASE} are in use", NUMBERS.len())
}

fn instance_dir(number: u8) -> PathBuf {
    Path::new(BASE).join(number.to_string())
}

fn try_lock(number: u8) -> Result<Option<File>> {
    let path = Path::new(BASE).join(format!("{number}.lock"));
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}", path.display())),
    }
}
