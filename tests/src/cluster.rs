//! A node of ours in a real cluster: a control plane beside the private runtime, driven with kubectl.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lab::{Cluster, ControlPlane, ControlPlaneParts, Parts};
use serde_json::{Value, json};

use crate::{LATER, Node, eventually};

/// How long a start may take on a loaded machine.
pub const START: Duration = Duration::from_secs(120);

/// A control plane and a node that belongs to it.
#[derive(Debug)]
pub struct Member {
    /// The node. It comes first: it is dropped before the control plane that it talks to.
    pub node: Node,
    /// The control plane.
    pub plane: Arc<ControlPlane>,
    /// The node's name.
    pub name: String,
}

/// The control plane of this test program: one for all tests that run at a time, removed with the last of them.
#[track_caller]
pub fn shared_plane() -> Arc<ControlPlane> {
    static SHARED: Mutex<Weak<ControlPlane>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let plane = Arc::new(own_plane());
        *shared = Arc::downgrade(&plane);
        plane
    })
}

/// A control plane that only one test uses, so that it can be stopped.
#[track_caller]
pub fn own_plane() -> ControlPlane {
    ControlPlane::new(&ControlPlaneParts::ready().unwrap()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A cluster of its own with one node, which can be reached from the API server and does not run yet.
#[track_caller]
pub fn own_cluster() -> Cluster {
    Cluster::new(&Parts::ready().unwrap(), &ControlPlaneParts::ready().unwrap()).unwrap()
}

/// A cluster of its own whose node is ready.
#[track_caller]
pub fn running() -> Cluster {
    let mut cluster = own_cluster();
    cluster.agent.start().unwrap();
    cluster.wait_node("Ready=True", START).unwrap();
    cluster
}

/// A node that will join a cluster under `name`, and does not run yet.
#[track_caller]
pub fn prepared(plane: &ControlPlane, name: &str) -> Node {
    apply(plane, name, &json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } }));
    let kubeconfig = plane.node_kubeconfig(name).unwrap();
    let mut node = Node::prepared();
    node.agent.flags.push(format!("--kubeconfig={}", kubeconfig.display()));
    node.agent.flags.push(format!("--hostname-override={name}"));
    node
}

impl Member {
    /// A running node of the shared cluster.
    #[track_caller]
    pub fn started(name: &str) -> Self {
        let plane = shared_plane();
        let mut node = prepared(&plane, name);
        node.start();
        Self { node, plane, name: name.to_owned() }
    }

    /// Creates an object as the admin.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        apply(&self.plane, &self.name, object);
    }

    /// What kubectl prints; it has to succeed.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.plane.kubectl(args).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A pod as the API server has it.
    pub fn pod(&self, name: &str) -> Option<Value> {
        pod(&self.plane, name)
    }

    /// Waits until `holds` for a pod as the API server has it.
    #[track_caller]
    pub fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&self.plane, name, what, holds)
    }
}

/// Creates an object as the admin; `scope` keeps the files of tests apart that run at the same time.
#[track_caller]
pub fn apply(plane: &ControlPlane, scope: &str, object: &Value) {
    let file: PathBuf = plane.dir().join(format!("{scope}.json"));
    std::fs::write(&file, object.to_string()).unwrap();
    plane.kubectl(&["apply", "-f", &file.display().to_string()]).unwrap_or_else(|error| panic!("{error:#}"));
}

/// A pod of the namespace `default` as the API server has it.
pub fn pod(plane: &ControlPlane, name: &str) -> Option<Value> {
    let text = plane.kubectl(&["get", "pod", name, "--ignore-not-found", "-o=json"]).ok()?;
    serde_json::from_str(&text).ok()
}

/// Waits until `holds` for a pod as the API server has it.
#[track_caller]
pub fn until(plane: &ControlPlane, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("pod {name} at the API server to be {what}"), LATER, || match pod(plane, name) {
        Some(pod) if holds(&pod) => Ok(pod),
        Some(pod) => Err(pod["status"].to_string()),
        None => Err("there is no such pod".to_owned()),
    })
}

/// The spec of a pod that is bound to `node` and needs nothing that only a cluster has.
pub fn bound(node: &str, mut pod: Value) -> Value {
    pod["spec"]["nodeName"] = json!(node);
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    pod
}
