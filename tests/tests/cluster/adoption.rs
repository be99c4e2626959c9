//! A node of a cluster changes from upstream's kubelet to ours and back while its pods run: nobody notices.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

use lab::agent::{Make, is_ready};
use lab::{Agent, ControlPlane};
use serde_json::{Value, json};
use tests::cluster::{apply, bound, prepared, shared_plane, until};
use tests::{LATER, Node, SOON, eventually, manifest, status};

const NODE: &str = "swap-1";
const PODS: [&str; 2] = ["swap-whole", "swap-plain"];

/// A pod with everything that a kubelet must find again: init containers, a sidecar, probes of each kind, volumes from objects.
fn whole() -> Value {
    let exec =
        |command: &str| json!({ "exec": { "command": ["/bin/sh", "-c", command] }, "periodSeconds": 1 });
    let sidecar = manifest::with(
        manifest::shell("proxy", manifest::IDLE),
        json!({ "restartPolicy": "Always", "startupProbe": exec("true") }),
    );
    let main = manifest::with(
        manifest::shell("main", &format!("cp /from/objects/* /tmp; {}", manifest::IDLE)),
        json!({
            "readinessProbe": exec("test -e /tmp/page"), "livenessProbe": exec("true"), "startupProbe": exec("true"),
            "env": [{ "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "swap-secret", "key": "word" } } }],
            "volumeMounts": [
                { "name": "objects", "mountPath": "/from/objects" }, { "name": "scratch", "mountPath": "/tmp" },
                { "name": "secret", "mountPath": "/from/secret" },
            ],
        }),
    );
    let objects = json!([
        { "configMap": { "name": "swap-map" } },
        { "secret": { "name": "swap-secret" } },
        { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
        { "serviceAccountToken": { "path": "token" } },
    ]);
    let mut pod = manifest::pod(
        "swap-whole",
        json!({
            "initContainers": [manifest::shell("first", "true"), sidecar],
            "containers": [main],
            "volumes": [
                { "name": "objects", "projected": { "sources": objects } }, { "name": "scratch", "emptyDir": {} },
                { "name": "secret", "secret": { "secretName": "swap-secret" } },
            ],
        }),
    );
    pod["spec"]["nodeName"] = json!(NODE);
    pod
}

/// What a watcher sees of a pod, but for times and what a kubelet may say at any time.
fn look(pod: &Value) -> Value {
    let containers: Vec<Value> = status::containers(pod)
        .iter()
        .map(|c| json!([c["name"], c["containerID"], c["restartCount"], c["ready"], c["started"]]))
        .collect();
    json!([pod["status"]["phase"], status::verdicts(pod), containers])
}

/// Sees every state that the API server has of the pods of the node.
struct Watcher<'plane> {
    plane: &'plane ControlPlane,
    kubectl: Child,
    file: PathBuf,
    /// How the pods looked at first.
    before: [Value; PODS.len()],
    /// States of each pod that were taken.
    taken: [usize; PODS.len()],
}

impl<'plane> Watcher<'plane> {
    fn start(plane: &'plane ControlPlane) -> Self {
        let before = PODS.map(|name| look(&until(plane, name, "ready", is_ready)));
        let file = plane.dir().join("swap-watch.json");
        let selector = format!("--field-selector=spec.nodeName={NODE}");
        let kubectl = plane
            .kubectl_command(plane.admin_kubeconfig(), &["get", "pods", &selector, "-o=json", "--watch"])
            .stdout(File::create(&file).unwrap())
            .spawn()
            .unwrap();
        Self { plane, kubectl, file, before, taken: [0; PODS.len()] }
    }

    /// The states of each pod that were not taken yet, up to the one that the API server has now.
    fn take(&mut self) -> [Vec<Value>; PODS.len()] {
        let seen = PODS.map(|name| self.seen(name));
        let lengths = seen.each_ref().map(Vec::len);
        let mut taken = std::mem::replace(&mut self.taken, lengths).into_iter();
        seen.map(|mut states| states.split_off(taken.next().unwrap_or(0)))
    }

    fn assert_nothing_changed(&mut self) {
        for (states, before) in self.take().iter().zip(&self.before) {
            for pod in states {
                assert_eq!(look(pod), *before, "{pod:#}");
            }
        }
    }

    fn wait_until_as_before(&self) {
        for (name, before) in PODS.into_iter().zip(&self.before) {
            until(self.plane, name, "as before", |pod| look(pod) == *before);
        }
    }

    fn seen(&self, name: &str) -> Vec<Value> {
        let version = until(self.plane, name, "there", |_| true)["metadata"]["resourceVersion"].clone();
        eventually(&format!("the watcher to see version {version} of {name}"), SOON, || {
            let text = std::fs::read_to_string(&self.file).unwrap();
            // The last document may be cut off.
            let all = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
            let states: Vec<Value> = all.filter(|pod| pod["metadata"]["name"] == name).collect();
            let is_present = states.iter().any(|pod| pod["metadata"]["resourceVersion"] == version);
            if is_present { Ok(states) } else { Err(format!("{} states", states.len())) }
        })
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// Upstream's kubelet in the place of ours, with the same flags.
fn upstream(node: &Node) -> Agent {
    let program = lab::parts::upstream_kubelet().unwrap();
    let mut theirs = node.instance.agent_made_by(Make::Upstream, program).unwrap();
    theirs.flags.clone_from(&node.agent.flags);
    theirs.config["syncFrequency"] = node.agent.config["syncFrequency"].clone();
    theirs
}

#[test]
fn a_node_changes_to_our_kubelet_and_back_and_nobody_notices() {
    let plane = shared_plane();
    let mut node = prepared(&plane, NODE);
    // Upstream's kubelet looks at volumes at each sync.
    node.agent.config["syncFrequency"] = json!("5s");
    for object in [
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "swap-map" }, "data": { "page": "one" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "swap-secret" }, "stringData": { "word": "sealed" } }),
    ] {
        apply(&plane, NODE, &object);
    }
    let mut theirs = upstream(&node);
    theirs.start().unwrap();
    apply(&plane, NODE, &whole());
    apply(&plane, NODE, &bound(NODE, manifest::idle("swap-plain")));
    let mut watcher = Watcher::start(&plane);
    let ids = node.cri.running_ids();

    theirs.stop(SOON).unwrap();
    watcher.take();
    node.start();
    goes_on(&node, "sealed", "two", &plane);
    node.agent.stop(SOON).unwrap();
    watcher.assert_nothing_changed();

    let mut theirs = upstream(&node);
    theirs.start().unwrap();
    goes_on(&node, "sealed", "three", &plane);
    // Upstream's kubelet may take a container for one that has not started until its startup probe has answered.
    watcher.wait_until_as_before();
    theirs.stop(SOON).unwrap();
    watcher.take();

    node.start();
    goes_on(&node, "sealed", "four", &plane);
    watcher.assert_nothing_changed();
    assert_eq!(node.cri.running_ids(), ids, "no container was restarted");
    plane.kubectl(&["delete", "pod", "swap-whole", "swap-plain", "--timeout=60s"]).unwrap();
    for name in PODS {
        node.cri.wait_removed(name);
    }
    let volumes = node.agent.root_dir().join("pods");
    eventually("nothing of the pods to be left", LATER, || {
        let left: Vec<_> = std::fs::read_dir(&volumes).unwrap().map(|entry| entry.unwrap().path()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

/// The kubelet that runs now keeps the pods as they are: a changed object reaches its volume, and probes are made.
fn goes_on(node: &Node, word: &str, page: &str, plane: &ControlPlane) {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "swap-map" }, "data": { "page": page } });
    apply(plane, NODE, &map);
    eventually(&format!("page {page} in the volume"), LATER, || {
        let text = node.cri.sh("swap-whole", "main", "cat /from/objects/page /from/secret/word");
        if text == format!("{page}{word}") { Ok(()) } else { Err(text) }
    });
}
