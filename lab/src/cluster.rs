//! A cluster of one node: a private control plane, a private container runtime, and our kubelet between them.
//!
//! Guarantees: the node listens on the pod network's gateway address, which nothing outside this machine reaches; everything ends
//! with the value, and after a SIGKILL with the next sweep.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Agent, ContainerdVersion, ControlPlane, ControlPlaneParts, Instance, Parts, agent::Make, http};

/// Name of the node.
pub const NODE: &str = "podwright-lab";

/// A running cluster, whose kubelet can be stopped and started.
#[derive(Debug)]
pub struct Cluster {
    /// Our kubelet, which ends first.
    pub agent: Agent,
    instance: Instance,
    plane: ControlPlane,
}

impl Cluster {
    /// Starts the control plane and the runtime, and configures the kubelet without starting it.
    pub fn new(parts: &Parts, plane_parts: &ControlPlaneParts) -> Result<Self> {
        let plane = ControlPlane::new(plane_parts)?;
        let instance = Instance::new(parts, ContainerdVersion::V2_4)?;
        let agent = Self::joined(instance.agent()?, &instance, &plane)?;
        Ok(Self { agent, instance, plane })
    }

    /// Puts another kubelet in the place of ours, which must not run; it is not started.
    pub fn replace_agent(&mut self, make: Make, program: PathBuf) -> Result<()> {
        let agent = self.instance.agent_made_by(make, program)?;
        self.agent = Self::joined(agent, &self.instance, &self.plane)?;
        Ok(())
    }

    /// The kubelet, configured as a node of this cluster.
    fn joined(mut agent: Agent, instance: &Instance, plane: &ControlPlane) -> Result<Agent> {
        let address = instance.network().gateway();
        agent.config["address"] = json!(address);
        agent.config["authentication"] = json!({
            "anonymous": { "enabled": false },
            "webhook": { "enabled": false },
            "x509": { "clientCAFile": plane.ca_file() },
        });
        agent.flags = vec![
            format!("--kubeconfig={}", plane.node_kubeconfig(NODE)?.display()),
            format!("--node-ip={address}"),
        ];
        Ok(agent)
    }

    /// The control plane.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The control plane, to stop and start its API server.
    pub fn plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// The container runtime.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The container runtime, to stop and start it.
    pub fn instance_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }

    /// The Node object.
    pub fn node(&self) -> Result<Value> {
        let text = self.plane.kubectl(&["get", "node", NODE, "-o=json"])?;
        serde_json::from_str(&text).context("kubectl prints JSON")
    }

    /// Waits until the Node object has this condition, e.g. `Ready=True`.
    pub fn wait_node(&self, condition: &str, limit: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        let node = format!("node/{NODE}");
        self.plane.kubectl(&["wait", "--for=create", &node, &timeout])?;
        self.plane.kubectl(&["wait", &format!("--for=condition={condition}"), &node, &timeout])?;
        Ok(())
    }

    /// The agent's `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        self.page("/metrics")
    }

    /// A page of the agent's read-only port.
    pub fn page(&self, path: &str) -> Result<String> {
        let address = format!("{}:{}", self.instance.network().gateway(), self.agent.ports().read_only);
        let reply = http::get(&address, path)?;
        ensure!(reply.status == 200, "{path} of the agent: status {}", reply.status);
        Ok(reply.body)
    }

    /// Removes everything and says what could not be removed; dropping does the same but can only print it.
    pub fn close(self) -> Result<()> {
        let Self { agent, instance, plane } = self;
        drop(agent);
        instance.close()?;
        plane.close()
    }
}
