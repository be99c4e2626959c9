//! One private runtime on this machine: containerd, network, images and a cgroup root, under one number and one folder.
//!
//! The number names everything (`/var/tmp/podwright-lab/<n>`, bridge `pwbr<n>`, a /22 from 10.88.0.0 on as subnet, cgroup
//! `/podwright-test-<n>`). A [`Claim`] holds the number and has everything swept away at the end.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    Agent, Containerd, ContainerdVersion, Parts,
    agent::{Make, Ports, own_program},
    cgroups::CgroupRoot,
    claim::{Claim, INSTANCES, sweep_stale},
    images,
    network::Network,
    registry::{Access, Registry},
    sweep::cgroup_name,
};

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
        let claim = Claim::take(&INSTANCES, |number| Ok(!Network::new(number).is_taken()?))?;
        let dir = claim.dir().to_owned();
        let network = Network::new(claim.number());
        network.create(&dir.join("cni"), &dir.join("ipam"))?;
        let cgroups = CgroupRoot::create(&cgroup_name(claim.number()))?;
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
        self.agent_made_by(Make::Podwright, program)
    }

    /// Like [`Self::agent_of`], also for upstream's kubelet ([`crate::parts::upstream_kubelet`]), on the same state.
    pub fn agent_made_by(&self, make: Make, program: PathBuf) -> Result<Agent> {
        let ports = Ports::free()?;
        let dir = self.claim.dir().join("kubelet");
        let config = self.agent_config(ports, &dir);
        Agent::new((program, make), dir, ports, config)
    }

    /// Starts a registry below this instance's folder.
    pub fn registry(&self, access: Access) -> Result<Registry> {
        let name = match access {
            Access::Open => "registry",
            Access::SignIn => "registry-sign-in",
        };
        Registry::start(&self.parts, &self.claim.dir().join(name), access)
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
        self.claim.dir()
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
            // A machine that is used for other things too is full for their sake: tests of shortage make one of their own.
            "evictionHard": { "memory.available": "100Mi" },
            "imageGCHighThresholdPercent": 100,
            // The packet filter belongs to the whole machine; the test of these chains has a network namespace for them.
            "makeIPTablesUtilChains": false,
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
