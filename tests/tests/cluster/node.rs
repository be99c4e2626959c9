//! The Node object and its Lease: registered, true, kept alive, and left alone when nothing has changed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use lab::Cluster;
use lab::cluster::NODE;
use serde_json::{Value, json};
use tests::cluster::{START, own_cluster};
use tests::{LATER, SOON, eventually};

fn condition(node: &Value, type_: &str) -> Value {
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or(Value::Null)
}

fn lease(cluster: &Cluster) -> Result<Value, String> {
    let args = ["get", "lease", "-n", "kube-node-lease", NODE, "-o=json"];
    let text = cluster.plane().kubectl(&args).map_err(|error| format!("{error:#}"))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn renewed_at(cluster: &Cluster) -> Result<String, String> {
    lease(cluster).map(|lease| lease["spec"]["renewTime"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the lease is renewed again.
fn wait_for_renewal(cluster: &Cluster) {
    let before = renewed_at(cluster).unwrap_or_default();
    eventually("the lease to be renewed", SOON, || match renewed_at(cluster)? {
        time if time == before => Err(time),
        time => Ok(time),
    });
}

#[test]
fn a_node_is_registered_described_kept_alive_and_taken_over() {
    let mut cluster = own_cluster();
    cluster.agent.flags.push("--node-labels=example.com/disk=ssd,topology.kubernetes.io/zone=z1".to_owned());
    cluster.agent.config["registerWithTaints"] =
        json!([{ "key": "example.com/new", "value": "yes", "effect": "PreferNoSchedule" }]);
    cluster.agent.config["kubeReserved"] = json!({ "cpu": "250m", "memory": "100Mi" });
    cluster.agent.config["maxPods"] = json!(33);
    cluster.agent.start().unwrap();
    cluster.wait_node("Ready=True", START).unwrap();
    let node = cluster.node().unwrap();
    identity_is_as_configured(&cluster, &node);
    status_tells_the_machine(&cluster, &node);

    let lease = eventually("the lease", SOON, || lease(&cluster));
    assert_eq!(lease["spec"]["holderIdentity"], NODE);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);
    wait_for_renewal(&cluster);
    let described = cluster.plane().kubectl(&["describe", "node", NODE]).unwrap();
    for line in ["KubeletReady", "kubelet is posting ready status", "HolderIdentity:", "Non-terminated Pods:"]
    {
        assert!(described.contains(line), "{line} is missing in\n{described}");
    }
    let metrics = cluster.metrics().unwrap();
    for name in ["kubelet_node_name{node=\"podwright-lab\"} 1", "kubelet_node_startup_duration_seconds "] {
        assert!(metrics.contains(name), "{name} is missing");
    }
    a_restart_flips_nothing(&mut cluster);
    an_object_that_is_there_is_taken_over(&mut cluster);
    a_deleted_node_stays_away_until_the_next_start(&mut cluster);
    cluster.close().unwrap();
}

fn identity_is_as_configured(cluster: &Cluster, node: &Value) {
    let labels = &node["metadata"]["labels"];
    for (name, value) in [
        ("kubernetes.io/hostname", NODE),
        ("kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/os", "linux"),
        ("example.com/disk", "ssd"),
        ("topology.kubernetes.io/zone", "z1"),
    ] {
        assert_eq!(labels[name], value, "{labels}");
    }
    let taints = node["spec"]["taints"].as_array().unwrap();
    let own = json!({ "key": "example.com/new", "value": "yes", "effect": "PreferNoSchedule" });
    assert!(taints.contains(&own), "{taints:?}");
    let annotations = &node["metadata"]["annotations"];
    assert_eq!(annotations["volumes.kubernetes.io/controller-managed-attach-detach"], "true");
    let addresses = json!([
        { "type": "InternalIP", "address": cluster.instance().network().gateway() },
        { "type": "Hostname", "address": NODE },
    ]);
    assert_eq!(node["status"]["addresses"], addresses);
}

fn status_tells_the_machine(cluster: &Cluster, node: &Value) {
    let status = &node["status"];
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let meminfo = read("/proc/meminfo");
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap().trim();
    assert_eq!(status["capacity"]["memory"], total.replace(" kB", "Ki"));
    assert_eq!(status["capacity"]["pods"], "33");
    let milli = |text: &Value| text.as_str().unwrap().parse::<core_types::Quantity>().unwrap().milli_value();
    let cpus = i64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    assert_eq!(milli(&status["capacity"]["cpu"]), cpus * 1000);
    assert_eq!(milli(&status["allocatable"]["cpu"]), cpus * 1000 - 250);
    let memory = |list: &str| milli(&status[list]["memory"]) / 1000;
    // 100Mi are reserved, and the default eviction threshold takes as much.
    assert_eq!(memory("capacity") - memory("allocatable"), 200 << 20);
    let info = &status["nodeInfo"];
    assert_eq!(info["bootID"], read("/proc/sys/kernel/random/boot_id").trim());
    assert_eq!(info["kubeletVersion"], "v1.37.2");
    assert_eq!(info["kernelVersion"], read("/proc/sys/kernel/osrelease").trim());
    let runtime = info["containerRuntimeVersion"].as_str().unwrap();
    assert!(runtime.starts_with("containerd://"), "{runtime}");
    let port = cluster.agent.config["port"].clone();
    assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], port);
    let handlers = status["runtimeHandlers"].as_array().unwrap();
    let named = |name: &str| handlers.iter().any(|handler| handler["name"] == name);
    assert!(named("runc") && named("test-handler"), "{status}");
    assert!(status["features"]["supplementalGroupsPolicy"].is_boolean(), "{status}");
    let images: Vec<i64> = status["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["sizeBytes"].as_i64().unwrap())
        .collect();
    assert!(images.len() > 1 && images.is_sorted_by(|a, b| a >= b), "{images:?}");
    for (type_, reason) in [
        ("MemoryPressure", "KubeletHasSufficientMemory"),
        ("DiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "KubeletHasSufficientPID"),
    ] {
        let condition = condition(node, type_);
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!(reason)));
    }
}

/// Stopped, the lease is not renewed; started again, no watcher sees a condition change.
fn a_restart_flips_nothing(cluster: &mut Cluster) {
    let before = cluster.node().unwrap();
    cluster.agent.stop(SOON).unwrap();
    let last = renewed_at(cluster).unwrap();
    let plane = cluster.plane();
    let mut watch = plane
        .kubectl_command(plane.admin_kubeconfig(), &["get", "node", NODE, "-o=json", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    lab::wait::let_pass(Duration::from_secs(13));
    assert_eq!(renewed_at(cluster).unwrap(), last, "somebody renews the lease of a node that is stopped");
    cluster.agent.start().unwrap();
    wait_for_renewal(cluster);
    wait_for_renewal(cluster);
    watch.kill().unwrap();
    let mut seen = String::new();
    watch.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    watch.wait().unwrap();
    // The last document may be cut off.
    let documents = serde_json::Deserializer::from_str(&seen).into_iter::<Value>().map_while(Result::ok);
    let ready: BTreeSet<String> =
        documents.map(|node| condition(&node, "Ready")["status"].to_string()).collect();
    assert_eq!(ready, BTreeSet::from(["\"True\"".to_owned()]));
    let after = cluster.node().unwrap();
    for type_ in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let [before, after] =
            [&before, &after].map(|node| condition(node, type_)["lastTransitionTime"].clone());
        assert_eq!(before, after, "{type_}");
    }
}

/// Default labels are put right, others and what the admin did stay.
fn an_object_that_is_there_is_taken_over(cluster: &mut Cluster) {
    cluster.agent.stop(SOON).unwrap();
    let plane = cluster.plane();
    plane
        .kubectl(&["label", "node", NODE, "kubernetes.io/hostname-", "example.com/disk=hdd", "--overwrite"])
        .unwrap();
    plane.kubectl(&["cordon", NODE]).unwrap();
    cluster.agent.start().unwrap();
    eventually("the default label to be back", LATER, || {
        let node = cluster.node().map_err(|error| format!("{error:#}"))?;
        match &node["metadata"]["labels"]["kubernetes.io/hostname"] {
            Value::Null => Err("it is missing".to_owned()),
            _ => Ok(()),
        }
    });
    let node = cluster.node().unwrap();
    assert_eq!(node["metadata"]["labels"]["example.com/disk"], "hdd");
    assert_eq!(node["spec"]["unschedulable"], true);
    cluster.plane().kubectl(&["uncordon", NODE]).unwrap();
    eventually("the agent to see that", SOON, || match cluster.agent.log() {
        log if log.contains("status is now: NodeSchedulable") => Ok(()),
        _ => Err("its log does not say it".to_owned()),
    });
}

fn a_deleted_node_stays_away_until_the_next_start(cluster: &mut Cluster) {
    let old = cluster.node().unwrap()["metadata"]["uid"].clone();
    cluster.plane().kubectl(&["delete", "node", NODE]).unwrap();
    eventually("the agent to see that", SOON, || match cluster.agent.log() {
        log if log.contains("the Node object was deleted") => Ok(()),
        _ => Err("its log does not say it".to_owned()),
    });
    lab::wait::let_pass(Duration::from_secs(2));
    assert!(cluster.node().is_err(), "the node came back by itself");
    cluster.agent.stop(SOON).unwrap();
    cluster.agent.start().unwrap();
    cluster.wait_node("Ready=True", START).unwrap();
    let new = cluster.node().unwrap()["metadata"]["uid"].clone();
    assert_ne!(old, new);
    eventually("a lease of the new node", LATER, || {
        let owner = lease(cluster)?["metadata"]["ownerReferences"][0]["uid"].clone();
        if owner == new { Ok(()) } else { Err(format!("its owner is {owner}")) }
    });
}

#[test]
fn a_runtime_or_an_api_server_that_goes_away_is_told_and_survived() {
    let mut cluster = own_cluster();
    // Without an API server the node starts, and registers when there is one.
    cluster.plane_mut().stop_api_server().unwrap();
    cluster.agent.start().unwrap();
    eventually("a first attempt", SOON, || match cluster.agent.log() {
        log if log.contains("the node cannot be registered") => Ok(()),
        _ => Err("its log does not say it".to_owned()),
    });
    cluster.plane_mut().start_api_server().unwrap();
    cluster.wait_node("Ready=True", START).unwrap();

    cluster.instance_mut().containerd_mut().kill().unwrap();
    cluster.wait_node("Ready=False", START).unwrap();
    let ready = condition(&cluster.node().unwrap(), "Ready");
    assert_eq!(ready["reason"], "KubeletNotReady");
    assert_eq!(ready["message"], "container runtime is down");
    cluster.instance_mut().containerd_mut().start().unwrap();
    cluster.wait_node("Ready=True", START).unwrap();
    eventually("the events of all that", LATER, || {
        let told = cluster.plane().kubectl(&["get", "events", "--field-selector=involvedObject.kind=Node"]);
        let told = told.map_err(|error| format!("{error:#}"))?;
        match ["NodeNotReady", "NodeReady"].iter().all(|reason| told.contains(reason)) {
            true => Ok(()),
            false => Err(told),
        }
    });

    cluster.plane_mut().stop_api_server().unwrap();
    eventually("the lease to fail", LATER, || match cluster.agent.log() {
        log if log.contains("the node's lease cannot be renewed") => Ok(()),
        _ => Err("its log does not say it".to_owned()),
    });
    cluster.plane_mut().start_api_server().unwrap();
    wait_for_renewal(&cluster);
    cluster.wait_node("Ready=True", START).unwrap();
    cluster.close().unwrap();
}
