//! What a kubelet asks the runtime for a pod, made by the kubelet's own functions: the floor differs from it in nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use core_runtime::config::{ContainerInput, SandboxInput, container_config, sandbox_config};
use core_runtime::security::{ImageUser, NodeSecurity, container_security};
use core_runtime::user_namespaces::PodUsers;
use core_types::StopSignals;
use core_types::api::Pod;
use core_types::runtime::{ContainerConfig, DnsConfig, LinuxResources, SandboxConfig};
use serde_json::{Value, json};

use crate::session::CLUSTER_DNS;

/// Shares of a container that asks for nothing.
const LEAST_CPU_SHARES: i64 = 2;
/// The same for the score by which the kernel picks whom to kill.
const BEST_EFFORT_OOM_SCORE: i64 = 1000;

/// What the pods have in common.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Parent of the pods' cgroups.
    cgroup: String,
    /// A directory for logs and for the files that are mounted.
    dir: PathBuf,
}

impl Place {
    /// Pods below the cgroup, with their files below the directory.
    pub(super) fn new(cgroup: String, dir: PathBuf) -> Self {
        Self { cgroup, dir }
    }

    /// The configurations of pod `name`, which has one container.
    pub(super) fn pod(&self, name: &str, spec: &Value) -> Result<(SandboxConfig, ContainerConfig)> {
        let metadata = json!({ "name": name, "namespace": "floor", "uid": name });
        let mut spec = spec.clone();
        // As the API server sets it where nothing is said.
        spec["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
        let pod: Pod = serde_json::from_value(json!({ "metadata": metadata, "spec": spec }))?;
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).context("a container")?;
        let resources = LinuxResources {
            cpu_shares: LEAST_CPU_SHARES,
            oom_score_adj: BEST_EFFORT_OOM_SCORE,
            ..LinuxResources::default()
        };
        let sandbox = sandbox_config(SandboxInput {
            pod: &pod,
            attempt: 0,
            hostname: name,
            dns: DnsConfig { servers: vec![CLUSTER_DNS.to_owned()], ..DnsConfig::default() },
            pod_logs_dir: &self.dir.to_string_lossy(),
            cgroup_parent: &format!("{}/pod{name}", self.cgroup),
            resources: LinuxResources::default(),
            overhead: LinuxResources::default(),
            users: &PodUsers::OfHost,
        })?;
        let node = NodeSecurity::default();
        let security = container_security(&pod, container, &ImageUser::Uid(0), &PodUsers::OfHost, &node)?;
        let container = container_config(ContainerInput {
            pod: &pod,
            container,
            restart_count: 0,
            stop_signals: StopSignals::OfContainers,
            image_ref: lab::images::BUSYBOX,
            envs: Vec::new(),
            volume_mounts: Vec::new(),
            etc_hosts: Some(&self.file(name, "hosts")?),
            termination_log: Some(&self.file(name, "termination-log")?),
            resources,
            security,
        })?;
        Ok((sandbox, container))
    }

    /// An empty file for pod `name`.
    fn file(&self, name: &str, file: &str) -> Result<String> {
        let dir = self.dir.join(name);
        make_file(&dir, file).with_context(|| format!("{}", dir.display()))?;
        Ok(dir.join(file).to_string_lossy().into_owned())
    }
}

fn make_file(dir: &Path, file: &str) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(file), "")
}
